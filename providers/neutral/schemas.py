"""JSON Schemas inside a schema, and schemas without the keywords that some providers reject.

- Tools' schemas for APIs that accept only an object at the root. Anthropic rejects every request with a tool whose
  schema has ``anyOf``, ``oneOf`` or ``allOf`` at its root (anthropics/claude-code#40075, windoze95/cantinarr#497).
  Amazon's Nova models know only ``type``, ``properties`` and ``required`` there. OpenAPI and zod generate such schemas,
  and other providers accept them.
- Structured output and strict tools for Anthropic, which rejects limits such as ``minimum`` (laravel/ai#715,
  BerriAI/litellm#20813, #29624) and ``oneOf`` (vercel/ai#12876). Its SDKs move limits into descriptions, so that the
  model still reads them.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from providers.neutral.draft import Draft, Edit
from providers.neutral.fields import Drops, join_path
from providers.neutral.quirks import Quirks
from providers.neutral.request import Request
from streams.surrogates import NOT_JSON, decode_or

_INNER: Final = ("items", "not")
_LISTS: Final = ("anyOf", "allOf", "oneOf", "prefixItems")
_MAPS: Final = ("properties", "$defs", "definitions")


def inner_schemas(schema: dict[str, Any]) -> list[Any]:
    """Return the schemas directly inside ``schema``."""
    inner = [schema.get(name) for name in _INNER]
    for name in _LISTS:
        inner += found if isinstance(found := schema.get(name), list) else []
    for name in _MAPS:
        inner += found.values() if isinstance(found := schema.get(name), dict) else []
    return inner


def map_schemas(schema: Any, change: Callable[[dict[str, Any]], None]) -> Any:
    """Return a copy of ``schema`` after ``change`` has edited each copied object in it, the inner ones first."""
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    for name in _INNER:
        if name in found:
            found[name] = map_schemas(found[name], change)
    for name in _LISTS:
        if isinstance(found.get(name), list):
            found[name] = [map_schemas(item, change) for item in found[name]]
    for name in _MAPS:
        if isinstance(found.get(name), dict):
            found[name] = {key: map_schemas(value, change) for key, value in found[name].items()}
    change(found)
    return found


_ALTERNATIVES: Final = ("anyOf", "oneOf")
_COMBINATIONS: Final = ("allOf", *_ALTERNATIVES)
_DEFINITIONS: Final = ("$defs", "definitions")
_MAX_SCHEMAS: Final = 1_000
"""Limit of merged schemas, because a few definitions may refer to each other very often."""

_MAX_NAMES: Final = 10_000
"""Limit of required names that are compared."""

_MAX_DEPTH: Final = 32
"""Limit of combinations inside each other."""


def is_combined(schema: Any) -> bool:
    """Return whether the root of ``schema`` combines other schemas."""
    return isinstance(schema, dict) and any(name in schema for name in _COMBINATIONS)


def typed_root(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a tool's ``schema`` with the type of an object, unless its root has one type or refers to other schemas.

    Google rejects tools without it (BerriAI/litellm#19103, diegosouzapw/OmniRoute#3360).
    """
    return schema if "$ref" in schema or is_combined(schema) else typed_object(schema)


def typed_object(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a tool's ``schema`` with the type of an object, unless its root has one type.

    Generators write ``null``, or list ``null`` as a type (kirodotdev/Kiro#11026)."""
    if isinstance(schema.get("type"), str):
        return schema
    return {"type": "object"} | {name: value for name, value in schema.items() if name != "type"}


def object_schema(schema: Any, at: str, drops: Drops) -> Any:
    """Return ``schema`` as the schema of an object with a type, and report the keywords that this loses.

    If its root combines other schemas, the object has the properties of all of them. Alternatives require only what
    all of them require.
    """
    if not isinstance(schema, dict):
        return {"type": "object", "properties": {}}
    typed = typed_object(schema)
    if not is_combined(schema):
        return typed
    drops.add(*(join_path(at, name) for name in _COMBINATIONS if name in schema))
    out = {name: value for name, value in typed.items() if name not in _COMBINATIONS}
    return out | _Merge(schema).members()


class _Merge:
    """The merge of all schemas that a root combines: their properties, each with its distinct definitions."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._properties: dict[str, dict[str, Any]] = {}
        self._required: dict[int, dict[str, None]] = {}  # by the identity of the schema
        self._names_left = _MAX_NAMES
        self._is_complete = True

    def members(self) -> dict[str, Any]:
        """Return the members ``properties`` and ``required`` of the object, or none if the merge is too large."""
        required = self._merge(self._root, 0)
        if not self._is_complete:
            return {}
        properties = {name: _any_of(list(found.values())) for name, found in self._properties.items()}
        return {"properties": properties, **({"required": list(required)} if required else {})}

    def _merge(self, schema: Any, depth: int) -> dict[str, None]:
        """Add the properties of ``schema``, and return the names that it requires."""
        schema = self._resolve(schema)
        if not isinstance(schema, dict):
            return {}
        if (known := self._required.get(id(schema))) is not None:
            return known
        if depth > _MAX_DEPTH or len(self._required) >= _MAX_SCHEMAS or self._names_left < 0:
            self._is_complete = False
            return {}
        self._required[id(schema)] = {}  # ends a cycle
        if isinstance(properties := schema.get("properties"), dict):
            for name, definition in properties.items():
                self._properties.setdefault(name, {})[json.dumps(definition)] = definition
        names = dict.fromkeys(name for name in _list_in(schema, "required") if isinstance(name, str))
        for required in self._merge_parts(schema, "allOf", depth):
            names |= required
        for keyword in _ALTERNATIVES:
            names |= _common(self._merge_parts(schema, keyword, depth))
        self._names_left -= len(names)
        self._required[id(schema)] = names
        return names

    def _merge_parts(self, schema: Mapping[str, Any], keyword: str, depth: int) -> list[dict[str, None]]:
        """Merge the parts of a combination, and return the names that each distinct part requires."""
        required = [self._merge(part, depth + 1) for part in _list_in(schema, keyword)]
        return list({id(names): names for names in required}.values())

    def _resolve(self, schema: Any) -> Any:
        """Return the definition that ``schema`` refers to, or ``schema`` itself."""
        for _ in range(_MAX_DEPTH):
            reference = schema.get("$ref") if isinstance(schema, dict) else None
            if not isinstance(reference, str):
                break
            start, _, name = reference.rpartition("/")
            known = self._root.get(start.removeprefix("#/")) if start.removeprefix("#/") in _DEFINITIONS else None
            if not isinstance(known, dict) or name not in known:
                break
            schema = known[name]
        return schema


def _list_in(schema: Mapping[str, Any], keyword: str) -> list[Any]:
    return found if isinstance(found := schema.get(keyword), list) else []


def _any_of(definitions: list[Any]) -> Any:
    return definitions[0] if len(definitions) == 1 else {"anyOf": definitions}


def _common(required: list[dict[str, None]]) -> dict[str, None]:
    """Return the names that all alternatives require."""
    return {name: None for name in required[0] if all(name in names for names in required[1:])} if required else {}


TOOLS: Final = ("tools", "toolConfig")
FORMATS: Final[Mapping[str, tuple[str, ...]]] = {
    "output_config": ("format", "schema"),
    "output_format": ("schema",),
    "outputConfig": ("textFormat", "structure", "jsonSchema", "schema"),
    "response_format": ("json_schema", "schema"),
    "text": ("format", "schema"),
}
"""The members with the schema of an answer in each API, and the schema's path inside."""

_PLACES: Final[Mapping[str, str]] = {
    "tools": "tools[]",
    "toolConfig": "toolConfig.tools[]",
    "output_config": "output_config.format",
    "outputConfig": "outputConfig.textFormat",
    "text": "text.format",
}
"""The places that edits of these members report."""

_LIMITS: Final = frozenset(
    (
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
        "maxItems", "uniqueItems", "minContains", "maxContains", "minProperties", "maxProperties", "discriminator",
    )
)  # fmt: skip
_TEXT_FORMATS: Final = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
)
_COMPLEX_PATTERN: Final = re.compile(r"\(\?[=!<]|\\[bB1-9]")


def describe_limits(schema: Any) -> Any:
    """Return ``schema`` with all limits in descriptions, and alternatives in ``anyOf``."""
    return map_schemas(schema, _describe)


def _describe(schema: dict[str, Any]) -> None:
    limits = {name: value for name, value in schema.items() if _is_limit(name, value)}
    for name in limits:
        del schema[name]
    if "minItems" in limits:
        schema["minItems"] = 1  # the API accepts 0 and 1
    if isinstance(schema.get("oneOf"), list) and "anyOf" not in schema:
        schema["anyOf"] = schema.pop("oneOf")
    if limits:
        own = schema.get("description")
        text = f"Limits (JSON Schema): {msgspec.json.encode(limits).decode()}"
        schema["description"] = f"{own}\n\n{text}" if isinstance(own, str) and own else text


def _is_limit(name: str, value: Any) -> bool:
    match name:
        case "minItems":
            return value not in (0, 1)
        case "format":
            return not isinstance(value, str) or value not in _TEXT_FORMATS
        case "pattern":
            return isinstance(value, str) and _COMPLEX_PATTERN.search(value) is not None
    return name in _LIMITS


def describe_limits_in(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changed members of ``body``: the schema of its answer and those of strict tools."""
    found = {name: _change_at(body[name], path, describe_limits) for name, path in FORMATS.items() if name in body}
    if isinstance(tools := body.get("tools"), list):
        found["tools"] = [_change_tool(tool) for tool in tools]
    if isinstance(config := body.get("toolConfig"), dict) and isinstance(tools := config.get("tools"), list):
        found["toolConfig"] = {**config, "tools": [_change_tool(tool) for tool in tools]}
    return {name: value for name, value in found.items() if value != body[name]}


def answer_schema(body: Mapping[str, Any], name: str) -> Any:
    """Return the schema of the answer in the member ``name`` of ``body``, ``None`` without one."""
    schema: Any = body.get(name)
    for step in FORMATS[name]:
        schema = schema.get(step) if isinstance(schema, dict) else None
    if not isinstance(schema, str):  # Converse's form is JSON
        return schema
    return decode_or(msgspec.json.decode, schema, None)


def _change_at(value: Any, path: tuple[str, ...], change: Callable[[Any], Any]) -> Any:
    if not path:
        return _change_text(value, change) if isinstance(value, str) else change(value)
    if not isinstance(value, dict) or path[0] not in value:
        return value
    return {**value, path[0]: _change_at(value[path[0]], path[1:], change)}


def _change_text(text: str, change: Callable[[Any], Any]) -> str:
    """Return the changed JSON of a schema, Converse's form; other texts unchanged."""
    try:
        schema = msgspec.json.decode(text)
    except NOT_JSON:
        return text
    changed = change(schema)
    return text if changed == schema else msgspec.json.encode(changed).decode()


def _change_tool(tool: Any) -> Any:
    if not isinstance(tool, dict):
        return tool
    holder = next((name for name in ("function", "toolSpec") if isinstance(tool.get(name), dict)), None)
    if holder is not None:
        return {**tool, holder: _change_tool(tool[holder])}
    if tool.get("strict") is not True:
        return tool
    for path in (("input_schema",), ("parameters",), ("inputSchema", "json")):
        tool = _change_at(tool, path, describe_limits)
    return tool


def describe_edit(name: str, _: Any = None) -> Edit:
    """Return the edit of the changed member ``name``."""
    return Edit(f"{_PLACES.get(name, name)}.schema", lost=False, form="=described")


def adapt_schemas(draft: Draft, quirks: Quirks) -> None:
    """Move the limits in a client's own request for a model that rejects them."""
    if quirks.schemas != "without_limits":
        return
    names = [name for name in FORMATS if name in draft]
    names += [name for name in TOOLS if (raw := draft.raw(name)) is not None and b'"strict"' in bytes(raw)]
    if names:
        for name, value in describe_limits_in({name: draft.value(name) for name in names}).items():
            draft.put(name, value)
            draft.note(describe_edit(name))


def write_without_limits(body: dict[str, Any], request: Request, quirks: Quirks) -> Iterable[Edit]:
    """Move the limits in ``body``, which is written for a model that rejects them. Return the edits of ``request``."""
    if quirks.schemas != "without_limits":
        return ()
    if request.format is None and not any(getattr(tool, "strict", False) for tool in request.tools):
        return ()
    changes = describe_limits_in(body)
    body |= changes
    at = "" if request.format is None else request.format.at
    return [describe_edit("tools" if name in TOOLS else at) for name in changes]
