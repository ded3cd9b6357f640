"""Schemas in Google's words (a part of OpenAPI 3.0, types in capitals), read as JSON Schema.

Source: ``Schema`` in the API's reference, and what the google-genai package makes of Python types.
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.gemini.spellings import snake

_SCHEMAS: Final = frozenset(("items", "additionalProperties"))
_LISTS: Final = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_MAPS: Final = frozenset(("properties", "$defs", "defs", "definitions"))
_COUNTS: Final = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"))
_UNSAID: Final = frozenset(("propertyOrdering", "nullable"))
"""Members that JSON Schema has no word for; ``nullable`` becomes a type."""

_NAMES: Final[Mapping[str, str]] = {snake(name): name for name in (*_SCHEMAS, *_LISTS, *_COUNTS, *_UNSAID)}
_OTHER_NAMES: Final[Mapping[str, str]] = {"example": "examples", "defs": "$defs", "ref": "$ref"}


def json_schema(schema: Any) -> Any:
    """``schema`` as JSON Schema. What is JSON Schema already stays as it is; anything but an object, too."""
    if not isinstance(schema, Mapping):
        return schema
    said: dict[str, Any] = {_NAMES.get(name, name): value for name, value in schema.items() if value is not None}
    found: dict[str, Any] = {}
    for name, value in said.items():
        if name not in _UNSAID:
            found[_OTHER_NAMES.get(name, name)] = _member(name, value)
    if said.get("nullable") is True:
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
