"""Conversion of JSON Schema to Google's own form and back.

Google's form is a subset of OpenAPI 3.0 with types in capitals, the only one that some servers know (``parameters``,
``responseSchema``). Source: ``Schema`` of the Gemini API, its rejections (pizza-bot-app/pizza-bot#62,
router-for-me/CLIProxyAPI#97, promptfoo/promptfoo#6902), and the schemas that google-genai makes of Python types.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from providers.gemini.spellings import snake

Schema: TypeAlias = dict[str, Any]

_KNOWN: Final = frozenset(
    (
        "type", "format", "title", "description", "nullable", "enum", "items", "minItems", "maxItems", "properties",
        "required", "propertyOrdering", "anyOf", "minimum", "maximum", "minLength", "maxLength", "pattern",
        "minProperties", "maxProperties",
    )
)  # fmt: skip
_FORMATS: Final = frozenset(("date-time", "enum", "float", "double", "int32", "int64"))
_DEFINITIONS: Final = ("$defs", "definitions")
_MAX_SCHEMAS: Final = 20_000
"""Limit of subschemas after references are expanded, which can multiply a few into very many."""

_MAX_EXPANDED: Final = 2**20
"""Limit of bytes of expanded references, counted for each expansion, because a text or ``enum`` may be megabytes."""

_MAX_MEASURED: Final = 4 * _MAX_EXPANDED
"""Limit of bytes of definitions whose sizes are determined: each is encoded once, and they may contain each other."""

_ANYTHING: Final[Schema] = {"type": "object"}


def reduce_schema(schema: Any) -> tuple[Schema, tuple[str, ...]]:
    """Return ``schema`` in Google's form, and the removed keywords, each once."""
    reduction = _Reduction(schema)
    return reduction.reduce(schema), tuple(reduction.removed)


class _Reduction:
    """The reduction of one schema: its definitions and the keywords removed so far."""

    def __init__(self, root: Any) -> None:
        self.removed: dict[str, None] = {}
        self._root = root
        self._schemas_left = _MAX_SCHEMAS
        self._bytes_left = _MAX_EXPANDED
        self._measurable_left = _MAX_MEASURED
        self._sizes: dict[int, int] = {}  # sizes of definitions by identity, because one has many spellings
        self._open: dict[int, None] = {}  # the definitions that led to the present subschema, as a stack

    def reduce(self, value: Any) -> Schema:
        """Return the subschema ``value`` in Google's form."""
        self._schemas_left -= 1
        if not isinstance(value, dict) or self._schemas_left < 0:
            return dict(_ANYTHING) if value is not True else {}
        open_before = len(self._open)
        value, is_whole = self._follow_references(value)
        if is_whole:
            out: Schema = {}
            for name, one in self._merge_all_of(value).items():
                self._copy_keyword(out, name, one)
            _make_consistent(out)
        else:  # a cycle, or an external schema
            out = _title_and_description(value) | _ANYTHING
        while len(self._open) > open_before:
            self._open.popitem()
        return out

    def _follow_references(self, value: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
        """Return ``value`` merged with the chain of schemas that it refers to, and whether all of them exist.

        Merges once at the end of the chain: merging at each reference would copy the members again each time."""
        layers = [value]
        while isinstance(reference := layers[-1].get("$ref"), str) and (found := self._resolve(reference)) is not None:
            layers.append(found)
        if reference is None and len(layers) == 1:
            return value, True
        merged: dict[str, Any] = {}
        for layer in reversed(layers):
            merged |= layer
        del merged["$ref"]
        if reference is not None:
            self.removed["$ref"] = None
        return merged, not isinstance(reference, str)

    def _copy_keyword(self, out: Schema, name: str, one: Any) -> None:
        match name:
            case "properties" if isinstance(one, dict):
                out["properties"] = {key: self.reduce(inner) for key, inner in one.items()}
            case "items":
                out["items"] = self.reduce(one)
            case "anyOf" | "oneOf" if isinstance(one, list):
                self._copy_alternatives(out, one)
            case "const":
                out.setdefault("enum", [one])
            case "type" if isinstance(one, list):
                self._copy_types(out, one)
            case "format" if not (isinstance(one, str) and one in _FORMATS):
                self.removed[name] = None
            case "anyOf":  # not a list
                self.removed[name] = None
            case _ if name in _DEFINITIONS:
                pass  # expanded where they are referred to
            case _ if name in _KNOWN:
                out[name] = one
            case _:
                self.removed[name] = None

    def _copy_types(self, out: Schema, types: Sequence[Any]) -> None:
        if "null" in types:
            out["nullable"] = True
        named = [one for one in types if one != "null"]
        if named:
            out["type"] = named[0]
        if len(named) > 1:
            self.removed["type"] = None

    def _copy_alternatives(self, out: Schema, schemas: Sequence[Any]) -> None:
        kept = [one for one in schemas if not (isinstance(one, dict) and one.get("type") == "null")]
        if len(kept) < len(schemas):
            out["nullable"] = True
        if len(kept) == 1:
            out |= {name: one for name, one in self.reduce(kept[0]).items() if name not in out}
        elif kept:
            out["anyOf"] = [*out.get("anyOf", ()), *(self.reduce(one) for one in kept)]

    def _merge_all_of(self, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return ``value`` with the members of its ``allOf`` merged in."""
        waiting = _all_of(value)[::-1]
        out: dict[str, Any] = {}
        _merge_member(out, value)
        while waiting and self._schemas_left > 0:
            self._schemas_left -= 1
            if not isinstance(one := waiting.pop(), dict):
                continue
            member, is_whole = self._follow_references(one)
            if is_whole:
                waiting += reversed(_all_of(member))
                _merge_member(out, member)
        return out

    def _resolve(self, reference: str) -> Mapping[str, Any] | None:
        """Return the schema that an internal reference refers to, or ``None``, also for one that led here."""
        if not reference.startswith("#"):
            return None
        found: Any = self._root
        for step in reference[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            found = found.get(step) if isinstance(found, dict) else None
        if not isinstance(found, dict) or id(found) in self._open or not self._has_room(found):
            return None
        self._open[id(found)] = None
        return found

    def _has_room(self, found: Mapping[str, Any]) -> bool:
        """Return whether the size limit allows another copy of ``found``."""
        if (size := self._sizes.get(id(found))) is None:
            if self._measurable_left < 0:
                return False
            size = self._sizes[id(found)] = len(msgspec.json.encode(found))
            self._measurable_left -= size
        if size > self._bytes_left:
            return False
        self._bytes_left -= size
        return True


def _all_of(value: Mapping[str, Any]) -> list[Any]:
    schemas = value.get("allOf")
    return schemas if isinstance(schemas, list) else []


def _merge_member(out: dict[str, Any], member: Mapping[str, Any]) -> None:
    """Merge ``member`` of an ``allOf`` into ``out``, whose own members take precedence. ``member`` stays unchanged."""
    for name, one in member.items():
        held = out.get(name)
        if name == "properties" and isinstance(one, dict) and isinstance(held, dict):
            for key, inner in one.items():
                held.setdefault(key, inner)
        elif name == "required" and isinstance(one, list) and isinstance(held, list):
            held += one
        elif name != "allOf" and name not in out:
            out[name] = one.copy() if isinstance(one, dict | list) else one


def _title_and_description(value: Mapping[str, Any]) -> Schema:
    return {name: value[name] for name in ("title", "description") if isinstance(value.get(name), str)}


def _make_consistent(out: Schema) -> None:
    """Make ``out`` consistent: only strings in ``enum``, ``items`` in every array, only existing properties in
    ``required``."""
    if isinstance(values := out.pop("enum", None), list):
        if None in values:
            out["nullable"] = True
        if texts := [_as_text(one) for one in values if isinstance(one, str | int | float)]:
            out |= {"type": "string", "enum": texts}
            out.pop("format", None)
    if out.get("type") == "array":
        out.setdefault("items", {"type": "string"})
    required, properties = out.get("required"), out.get("properties")
    if isinstance(required, list):
        known = properties if isinstance(properties, dict) else {}
        kept = list(dict.fromkeys(name for name in required if isinstance(name, str) and name in known))
        out["required"] = kept
        if not kept:
            del out["required"]
    if isinstance(properties, dict) and "type" not in out:
        out["type"] = "object"


def _as_text(value: str | int | float | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()


_SCHEMAS: Final = frozenset(("items", "additionalProperties"))
_LISTS: Final = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_MAPS: Final = frozenset(("properties", "$defs", "defs", "definitions"))
_COUNTS: Final = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"))
_WITHOUT_COUNTERPART: Final = frozenset(("propertyOrdering", "nullable"))
"""Members without a counterpart in JSON Schema; ``nullable`` becomes a type."""

_NAMES: Final[Mapping[str, str]] = {snake(name): name for name in (*_SCHEMAS, *_LISTS, *_COUNTS, *_WITHOUT_COUNTERPART)}
_OTHER_NAMES: Final[Mapping[str, str]] = {"example": "examples", "defs": "$defs", "ref": "$ref"}


def json_schema(schema: Any) -> Any:
    """Return ``schema`` as JSON Schema. Valid JSON Schema and values other than objects stay unchanged."""
    if not isinstance(schema, Mapping):
        return schema
    members: dict[str, Any] = {_NAMES.get(name, name): value for name, value in schema.items() if value is not None}
    found: dict[str, Any] = {}
    for name, value in members.items():
        if name not in _WITHOUT_COUNTERPART:
            found[_OTHER_NAMES.get(name, name)] = _json_schema_member(name, value)
    if members.get("nullable") is True:
        _make_nullable(found)
    return found


def _json_schema_member(name: str, value: Any) -> Any:
    if name == "type":
        return _json_schema_type(value)
    if name in _SCHEMAS:
        return json_schema(value)
    if name in _LISTS and isinstance(value, list):
        return [json_schema(one) for one in value]
    if name in _MAPS and isinstance(value, Mapping):
        return {key: json_schema(one) for key, one in value.items()}
    if name == "example":
        return [value]
    # 64-bit integers are strings in Protocol Buffers' JSON.
    return int(value) if name in _COUNTS and isinstance(value, str) and value.isdecimal() else value


def _json_schema_type(value: Any) -> Any:
    if isinstance(value, list):
        return [_json_schema_type(one) for one in value]
    return value.lower() if isinstance(value, str) else value


def _make_nullable(schema: dict[str, Any]) -> None:
    kind = schema.get("type")
    if isinstance(kind, str) and kind != "null":
        schema["type"] = [kind, "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    elif isinstance(schema.get("anyOf"), list) and {"type": "null"} not in schema["anyOf"]:
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
