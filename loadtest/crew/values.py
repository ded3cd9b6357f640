"""Frozen values as data, to be sent to another process: nothing in them is run where they are read."""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import attrs

_KIND: Final = ""  # the member that says what a mapping stands for; names of fields are never empty
_TUPLE, _MAPPING, _PATH = "()", "{}", "/"
_OURS: Final = "loadtest."
"""Only classes of the load tester are made of what another process says, and only those that are plain values."""


class NoValue(ValueError):
    """Something that cannot be sent as data, or data that stands for nothing that may be made."""


def packed(value: Any) -> Any:
    """``value`` as the lists, mappings and scalars that MessagePack knows. Raises ``NoValue`` for what is none."""
    match value:
        case None | bool() | int() | float() | str() | bytes():
            return value
        case tuple() | frozenset() | set():
            return {_KIND: _TUPLE, "of": [packed(item) for item in value]}
        case list():
            return [packed(item) for item in value]
        case Path():
            return {_KIND: _PATH, "of": str(value)}
        case _ if hasattr(value, "items"):
            return {_KIND: _MAPPING, "of": [[packed(key), packed(item)] for key, item in value.items()]}
        case _ if attrs.has(type(value)) and type(value).__module__.startswith(_OURS):
            return _packed_fields(value)
    raise NoValue(f"{type(value).__qualname__} is no plain value")


def _packed_fields(value: Any) -> dict[str, Any]:
    kind = type(value)
    fields = {field.alias: packed(getattr(value, field.name)) for field in attrs.fields(kind) if field.init}
    return {_KIND: f"{kind.__module__}:{kind.__qualname__}", **fields}


def paths(data: Any) -> Iterator[Path]:
    """The paths in what ``packed`` has made."""
    if isinstance(data, dict) and data.get(_KIND) == _PATH:
        yield Path(data["of"])
    elif isinstance(data, dict | list):
        for item in data.values() if isinstance(data, dict) else data:
            yield from paths(item)


def _same(path: Path) -> Path:
    return path


def unpacked(data: Any, place: Callable[[Path], Path] = _same) -> Any:
    """The value that ``packed`` made ``data`` of; what was a path is now at its ``place``. Raises ``NoValue``."""
    if isinstance(data, list):
        return [unpacked(item, place) for item in data]
    if not isinstance(data, dict):
        return data
    try:
        return _made(data.get(_KIND), data, place)
    except (TypeError, KeyError, AttributeError, ImportError) as error:
        raise NoValue("this stands for no value of this version") from error


def _made(kind: Any, data: dict[str, Any], place: Callable[[Path], Path]) -> Any:
    match kind:
        case "()":
            return tuple(unpacked(item, place) for item in data["of"])
        case "{}":
            return {unpacked(key, place): unpacked(item, place) for key, item in data["of"]}
        case "/":
            return place(Path(data["of"]))
    module, _, name = str(kind).partition(":")
    found = getattr(importlib.import_module(module), name) if module.startswith(_OURS) else None
    if not (isinstance(found, type) and attrs.has(found)):
        raise NoValue("this stands for no value of this version")
    return found(**{field: unpacked(item, place) for field, item in data.items() if field != _KIND})
