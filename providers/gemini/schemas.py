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

_ANYTHING: Final[Schema] = {"type": "object"}


def reduce_schema(schema: Any) -> tuple[Schema, tuple[str, ...]]:
    """Return ``schema`` in Google's form, and the removed keywords, each once."""
    reduction = _Reduction(schema)
    return reduction.schema(schema, ()), tuple(reduction.removed)


class _Reduction:
    """The reduction of one schema: its definitions and the keywords removed so far."""

    def __init__(self, root: Any) -> None:
        self.removed: dict[str, None] = {}
        self._root = root
        self._schemas_left = _MAX_SCHEMAS
        self._bytes_left = _MAX_EXPANDED
        self._sizes: dict[str, int] = {}  # sizes of definitions by reference

    def schema(self, value: Any, inside: tuple[str, ...]) -> Schema:
        """Return the subschema ``value`` in Google's form; ``inside`` are the references that led to it."""
        self._schemas_left -= 1
        if not isinstance(value, dict) or self._schemas_left < 0:
            return dict(_ANYTHING) if value is not True else {}
        if isinstance(reference := value.get("$ref"), str):
            found = None if reference in inside else self._resolve(reference)
            if found is None:  # a cycle, or an external schema
                self.removed["$ref"] = None
                return _title_and_description(value) | _ANYTHING
            rest = {name: one for name, one in value.items() if name != "$ref"}
            return self.schema({**found, **rest}, (*inside, reference))
        value, inside = self._merge_all_of(value, inside)
        out: Schema = {}
        for name, one in value.items():
            self._take(out, name, one, inside)
        _make_consistent(out)
        return out

    def _take(self, out: Schema, name: str, one: Any, inside: tuple[str, ...]) -> None:
        match name:
            case "properties" if isinstance(one, dict):
                out["properties"] = {key: self.schema(inner, inside) for key, inner in one.items()}
            case "items":
                out["items"] = self.schema(one, inside)
            case "anyOf" | "oneOf" if isinstance(one, list):
                self._alternatives(out, one, inside)
            case "const":
                out.setdefault("enum", [one])
            case "type" if isinstance(one, list):
                self._types(out, one)
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

    def _types(self, out: Schema, types: Sequence[Any]) -> None:
        if "null" in types:
            out["nullable"] = True
        named = [one for one in types if one != "null"]
        if named:
            out["type"] = named[0]
        if len(named) > 1:
            self.removed["type"] = None

    def _alternatives(self, out: Schema, schemas: Sequence[Any], inside: tuple[str, ...]) -> None:
        kept = [one for one in schemas if not (isinstance(one, dict) and one.get("type") == "null")]
        if len(kept) < len(schemas):
            out["nullable"] = True
        if len(kept) == 1:
            out |= {name: one for name, one in self.schema(kept[0], inside).items() if name not in out}
        elif kept:
            out["anyOf"] = [*out.get("anyOf", ()), *(self.schema(one, inside) for one in kept)]

    def _merge_all_of(
        self, value: Mapping[str, Any], inside: tuple[str, ...]
    ) -> tuple[Mapping[str, Any], tuple[str, ...]]:
        """Return ``value`` with the members of its ``allOf`` merged in, and the references that led to them."""
        waiting = [one for one in _all_of(value) if isinstance(one, dict)]
        out: dict[str, Any] = {}
        _add_member(out, value)
        names = dict.fromkeys(inside)
        while waiting and self._schemas_left > 0:
            self._schemas_left -= 1
            member = waiting.pop(0)
            if isinstance(reference := member.get("$ref"), str):
                found = None if reference in names else self._resolve(reference)
                names[reference] = None
                if found is None:
                    self.removed["$ref"] = None
                    continue
                member = {**found, **{name: one for name, one in member.items() if name != "$ref"}}
            waiting[:0] = [one for one in _all_of(member) if isinstance(one, dict)]
            _add_member(out, member)
        return out, tuple(names)

    def _resolve(self, reference: str) -> Mapping[str, Any] | None:
        """Return the schema that an internal reference refers to, or ``None``."""
        if not reference.startswith("#"):
            return None
        found: Any = self._root
        for step in reference[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            found = found.get(step) if isinstance(found, dict) else None
        return found if isinstance(found, dict) and self._has_room(reference, found) else None

    def _has_room(self, reference: str, found: Mapping[str, Any]) -> bool:
        """Return whether the size limit allows another copy of ``found``."""
        if (size := self._sizes.get(reference)) is None:
            size = self._sizes[reference] = len(msgspec.json.encode(found))
        if size > self._bytes_left:
            return False
        self._bytes_left -= size
        return True


def _all_of(value: Mapping[str, Any]) -> Sequence[Any]:
    """Return the schemas of ``allOf``."""
    schemas = value.get("allOf")
    return schemas if isinstance(schemas, list) else ()


def _add_member(out: dict[str, Any], member: Mapping[str, Any]) -> None:
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
            found[_OTHER_NAMES.get(name, name)] = _member(name, value)
    if members.get("nullable") is True:
        _make_nullable(found)
    return found


def _member(name: str, value: Any) -> Any:
    if name == "type":
        return _type(value)
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


def _type(value: Any) -> Any:
    if isinstance(value, list):
        return [_type(one) for one in value]
    return value.lower() if isinstance(value, str) else value


def _make_nullable(schema: dict[str, Any]) -> None:
    kind = schema.get("type")
    if isinstance(kind, str) and kind != "null":
        schema["type"] = [kind, "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    elif isinstance(schema.get("anyOf"), list) and {"type": "null"} not in schema["anyOf"]:
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
