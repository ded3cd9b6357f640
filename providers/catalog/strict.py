"""The subset of JSON Schema that OpenAI enforces under ``strict``, in Chat and Responses.

Source: OpenAI's guide to structured outputs ("Supported schemas"). A schema with unlisted keywords is sent without
``strict``, because OpenAI rejects them with it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from providers.neutral.fields import Drops
from providers.neutral.request import Tool
from streams.events import Api

MAX_DEPTH = 10

_TYPES = frozenset(("string", "number", "integer", "boolean", "null", "object", "array"))
_SCHEMAS_BY_NAME = ("properties", "$defs", "definitions")
_KEYWORDS = frozenset(
    (
        "$schema", "$ref", "title", "description", "type", "enum", "const", "pattern", "format", "multipleOf",
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems", "required",
        "additionalProperties", "items", "anyOf", *_SCHEMAS_BY_NAME,
    )
)  # fmt: skip


def provider_strict(tool: Tool, api: Api, drops: Drops) -> bool | None:
    """Return ``strict`` for an OpenAI-like provider, for the tool of a client of ``api``.

    Anthropic's strict tools may have optional parameters, OpenAI's may not: theirs are dropped and reported.
    """
    if tool.strict and api == "messages" and not fits_strict(tool.schema):
        drops.add(f"{tool.at}.strict")
        return None
    return tool.strict


def fits_strict(schema: Any) -> bool:
    """Return whether ``schema`` is valid with ``strict: true``: an object whose nested objects are all closed and have
    only required properties."""
    if not isinstance(schema, dict) or schema.get("type") != "object" or "anyOf" in schema:
        return False
    level: list[Any] = [schema]
    for _ in range(MAX_DEPTH + 1):
        if not all(isinstance(one, dict) and _is_supported(one) for one in level):
            return False
        level = [inner for one in level for inner in _subschemas(one)]
        if not level:
            return True
    return False


def _is_supported(schema: Mapping[str, Any]) -> bool:
    kinds = schema.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if not (schema.keys() <= _KEYWORDS and all(isinstance(kind, str) and kind in _TYPES for kind in kinds)):
        return False
    return _is_closed(schema) if "object" in kinds or "properties" in schema else True


def _is_closed(schema: Mapping[str, Any]) -> bool:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if schema.get("additionalProperties") is not False or not isinstance(properties, dict):
        return False
    return isinstance(required, list) and properties.keys() <= {name for name in required if isinstance(name, str)}


def _subschemas(schema: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the direct subschemas of ``schema``, valid or not."""
    for name in _SCHEMAS_BY_NAME:
        inner = schema.get(name, {})
        yield from inner.values() if isinstance(inner, dict) else [inner]
    if "items" in schema:
        yield schema["items"]
    several = schema.get("anyOf", [])
    yield from several if isinstance(several, list) else [several]
