"""The JSON Schemas inside a JSON Schema."""

from collections.abc import Callable
from typing import Any, Final

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
