"""Shapes of JSON values as data, and the check of a value against its shape.

A shape is one of: words joined by ``|`` (``string``, ``text`` = a non-empty string, ``int`` = an integer ≥ 0,
``number``, ``boolean``, ``array``, ``object``, ``null``, ``any``); a frozenset of allowed values; a list of one shape,
for an array; a mapping of members to shapes, for an object. A member whose name ends in ``?`` may be absent.
"""

import base64
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeAlias

import msgspec

from streams.surrogates import NOT_JSON

Shape: TypeAlias = "str | frozenset[Any] | list[Any] | Mapping[str, Any]"

_MAX_SHOWN = 60  # characters of a value in a report

WORDS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "text": lambda value: isinstance(value, str) and value != "",
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
    "any": lambda value: True,
}


def find_misfit(value: Any, shape: Shape, at: str = "") -> str | None:
    """Return the first difference of ``value`` from ``shape`` (``usage.input_tokens is null, not int``), or
    ``None``."""
    if (found := _find_difference(value, shape)) is None:
        return None
    path, said = found
    return f"{(at + path).removeprefix('.') or 'it'} {said}"


def _find_difference(value: Any, shape: Shape) -> tuple[str, str] | None:
    """Return the path of a difference (``.choices[0].index``) and its description. Most values fit, and then no path is
    built."""
    if isinstance(shape, str):
        for good in _parse_checks(shape):
            if good(value):
                return None
        return "", f"is {show(value)}, not {shape.replace('|', ' or ')}"
    if isinstance(shape, frozenset):
        if isinstance(value, str | int | None) and value in shape:
            return None
        return "", f"is {show(value)}, not one of {', '.join(sorted(map(show, shape)))}"
    if isinstance(shape, list):
        return _array_difference(value, shape[0])
    return _object_difference(value, shape)


def _array_difference(value: Any, shape: Shape) -> tuple[str, str] | None:
    if not isinstance(value, list):
        return "", f"is {show(value)}, not array"
    for i, one in enumerate(value):
        if (found := _find_difference(one, shape)) is not None:
            return f"[{i}]{found[0]}", found[1]
    return None


def _object_difference(value: Any, shape: Mapping[str, Any]) -> tuple[str, str] | None:
    if not isinstance(value, dict):
        return "", f"is {show(value)}, not object"
    for name, inner in shape.items():
        member, needed = _parse_member(name)
        if member not in value:
            if needed:
                return f".{member}", "is missing"
        elif (found := _find_difference(value[member], inner)) is not None:
            return f".{member}{found[0]}", found[1]
    return None


@cache
def _parse_checks(words: str) -> tuple[Callable[[Any], bool], ...]:
    return tuple(WORDS[word] for word in words.split("|"))


@cache
def _parse_member(name: str) -> tuple[str, bool]:
    """Return the member name for a name in a shape, and whether it is required."""
    return name.removesuffix("?"), not name.endswith("?")


def one_of(*values: Any) -> frozenset[Any]:
    return frozenset(values)


def parse_json(data: bytes | str) -> Any:
    """Return the JSON value in ``data``. Raises ``ValueError`` for invalid or too deeply nested JSON."""
    try:
        return msgspec.json.decode(data)
    except NOT_JSON as error:
        raise ValueError(str(error)) from None


def parse_object(data: bytes) -> dict[str, Any] | None:
    """Return the JSON object in ``data``, ``None`` for anything else."""
    try:
        value = parse_json(data)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def is_object(text: str) -> bool:
    """Return whether ``text`` is a JSON object, as a function's arguments must be."""
    try:
        return isinstance(parse_json(text), dict)
    except ValueError:
        return False


def show(value: Any) -> str:
    """Return ``value`` as JSON, shortened."""
    text = msgspec.json.encode(value).decode("utf-8", "replace")
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def string_or_empty(value: Any) -> str:
    return value if isinstance(value, str) else ""


def is_base64(value: Any) -> bool:
    """Return whether a string is base64; an absent one counts as empty."""
    try:
        base64.b64decode(string_or_empty(value), validate=True)
    except ValueError:
        return False
    return True


def members(value: Any) -> Mapping[str, Any]:
    """Return ``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def elements(value: Any) -> list[Any]:
    """Return ``value`` if it is an array, else an empty one."""
    return value if isinstance(value, list) else []
