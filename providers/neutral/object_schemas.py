"""Tools' schemas for APIs that accept only an object at the root of a schema.

Anthropic rejects every request with a tool whose schema has ``anyOf``, ``oneOf`` or ``allOf`` at its root
(anthropics/claude-code#40075, windoze95/cantinarr#497). Amazon's Nova models know only ``type``, ``properties`` and
``required`` there. OpenAPI and zod generate such schemas, and other providers accept them.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from providers.neutral.fields import Drops, join_path

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


def object_schema(schema: Any, at: str, drops: Drops) -> Any:
    """Return ``schema`` as the schema of an object with a type, and report the keywords that this loses.

    If its root combines other schemas, the object has the properties of all of them. Alternatives require only what
    all of them require.
    """
    if not isinstance(schema, dict):
        return {"type": "object", "properties": {}}
    typed = schema if "type" in schema else {"type": "object", **schema}
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
