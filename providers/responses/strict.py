"""Which JSON Schemas OpenAI takes with ``strict: true``: the subset in which every object is closed and every property
is required. Source: OpenAI's guide to structured outputs, "Supported schemas"."""

from typing import Any

MAX_DEPTH = 10

_TYPES = frozenset(("string", "number", "integer", "boolean", "null", "object", "array"))
_PLAIN = frozenset(
    (
        "type", "title", "description", "enum", "const", "pattern", "format", "multipleOf", "minimum", "maximum",
        "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "required", "additionalProperties", "$schema",
    )
)  # fmt: skip
_NESTED = frozenset(("properties", "items", "anyOf", "$defs", "definitions", "$ref"))


def fits_strict(schema: Any) -> bool:
    """Whether ``schema`` may be sent with ``strict: true`` as it is. Its root must be an object."""
    return isinstance(schema, dict) and schema.get("type") == "object" and _fits(schema, MAX_DEPTH)


def _fits(schema: Any, depth: int) -> bool:
    if not isinstance(schema, dict) or depth < 0 or not schema.keys() <= _PLAIN | _NESTED:
        return False
    if not isinstance(schema.get("$ref", ""), str) or not _known_type(schema.get("type")):
        return False
    if ("properties" in schema or _is_object(schema)) and not _is_closed(schema):
        return False
    return all(_fits(inner, depth - 1) for inner in _inner(schema))


def _known_type(type: Any) -> bool:
    return type is None or all(isinstance(one, str) and one in _TYPES for one in _listed(type))


def _is_object(schema: dict[str, Any]) -> bool:
    return "object" in _listed(schema.get("type"))


def _is_closed(schema: dict[str, Any]) -> bool:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if schema.get("additionalProperties") is not False or not isinstance(properties, dict):
        return False
    return isinstance(required, list) and all(name in required for name in properties)


def _inner(schema: dict[str, Any]) -> list[Any]:
    """All schemas directly inside; a member of the wrong type counts as one that does not fit."""
    found: list[Any] = []
    for name in ("properties", "$defs", "definitions"):
        value = schema.get(name, {})
        found += value.values() if isinstance(value, dict) else [None]
    if "items" in schema:
        found.append(schema["items"])
    if "anyOf" in schema:
        found += schema["anyOf"] if isinstance(schema["anyOf"], list) else [None]
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
