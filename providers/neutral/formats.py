"""Structured output where an API has no word for it, or one with conditions of its own."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from providers.neutral.request import Format

_JSON: Final = "Answer with a single JSON object and nothing else: no explanation and no code fence."
_SCHEMA: Final = (
    "Answer with JSON that is valid against this JSON Schema, and nothing else: no explanation, no code fence."
)
_INNER: Final = ("items", "not")
_LISTS: Final = ("anyOf", "allOf", "oneOf", "prefixItems")
_MAPS: Final = ("properties", "$defs", "definitions")


def in_words(format: Format) -> str:
    """Return ``format`` as an instruction, for where nothing enforces it."""
    return _JSON if format.kind == "json_object" else f"{_SCHEMA}\n\n{msgspec.json.encode(described(format)).decode()}"


def described(format: Format) -> Any:
    """Return the schema, with the description that OpenAI has beside it."""
    schema = format.schema if isinstance(format.schema, Mapping) else {}
    return {"description": format.description, **schema} if format.description else schema


def can_be_closed(format: Format) -> bool:
    """Return whether every object of the schema may be closed without another meaning: who says ``strict`` means that,
    for others an object whose members nobody has named could then only be empty."""
    return format.kind == "json_schema" and (format.strict is True or not _open(format.schema))


def _open(schema: Any) -> bool:
    """Return whether some object in ``schema`` is to have members that it does not name."""
    if not isinstance(schema, dict):
        return False
    nameless = not schema.get("properties")
    if schema.get("type") == "object" and schema.get("additionalProperties", nameless) is not False:
        return True
    inner = [schema.get(name) for name in _INNER]
    for name in _LISTS:
        inner += found if isinstance(found := schema.get(name), list) else []
    for name in _MAPS:
        inner += found.values() if isinstance(found := schema.get(name), dict) else []
    return any(map(_open, inner))


def closed(schema: Any) -> Any:
    """Return ``schema`` with ``additionalProperties: false`` in every object that says nothing of it: Anthropic wants
    that."""
    if not isinstance(schema, dict):
        return schema
    found = dict(schema)
    for name in _INNER:
        if name in found:
            found[name] = closed(found[name])
    for name in _LISTS:
        if isinstance(found.get(name), list):
            found[name] = [closed(item) for item in found[name]]
    for name in _MAPS:
        if isinstance(found.get(name), dict):
            found[name] = {key: closed(value) for key, value in found[name].items()}
    if found.get("type") == "object":
        found.setdefault("additionalProperties", False)
    return found
