"""Shapes of JSON values, written as data, and the first place where a value does not have its shape.

A shape is one of: words joined by ``|`` (``string``, ``text`` = a string that is not empty, ``int`` = an integer ≥ 0,
``number``, ``boolean``, ``array``, ``object``, ``null``, ``any``); a frozenset of the values that are allowed; a list
of one shape, for an array; a mapping of members to shapes, for an object. A member whose name ends in ``?`` may be
absent.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

Shape: TypeAlias = "str | frozenset[Any] | list[Any] | Mapping[str, Any]"

_SHOWN = 60  # characters of a value in a report

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


def misfit(value: Any, shape: Shape, at: str = "") -> str | None:
    """The first difference of ``value`` from ``shape`` (``usage.input_tokens is null, not int``); ``None`` if it
    fits."""
    if isinstance(shape, str):
        good = any(WORDS[word](value) for word in shape.split("|"))
        return None if good else f"{at or 'it'} is {show(value)}, not {shape.replace('|', ' or ')}"
    if isinstance(shape, frozenset):
        good = isinstance(value, str | int | None) and value in shape
        return None if good else f"{at or 'it'} is {show(value)}, not one of {', '.join(sorted(map(show, shape)))}"
    if isinstance(shape, list):
        return _misfit_array(value, shape[0], at)
    return _misfit_object(value, shape, at)


def _misfit_array(value: Any, shape: Shape, at: str) -> str | None:
    if not isinstance(value, list):
        return f"{at or 'it'} is {show(value)}, not array"
    return next((wrong for i, one in enumerate(value) if (wrong := misfit(one, shape, f"{at}[{i}]"))), None)


def _misfit_object(value: Any, shape: Mapping[str, Any], at: str) -> str | None:
    if not isinstance(value, dict):
        return f"{at or 'it'} is {show(value)}, not object"
    for name, inner in shape.items():
        member = name.removesuffix("?")
        path = f"{at}.{member}" if at else member
        if member not in value:
            if member == name:
                return f"{path} is missing"
        elif wrong := misfit(value[member], inner, path):
            return wrong
    return None


def one_of(*values: Any) -> frozenset[Any]:
    return frozenset(values)


def parsed(data: bytes | str) -> Any:
    """The JSON value in ``data``; raises ``ValueError`` for anything else, however deep it is nested."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from None


def is_object(text: str) -> bool:
    """True if ``text`` is a JSON object: what the arguments of a function must be."""
    try:
        return isinstance(parsed(text), dict)
    except ValueError:
        return False


def show(value: Any) -> str:
    """``value`` as JSON, shortened."""
    text = msgspec.json.encode(value).decode("utf-8", "replace")
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def strings(value: Any) -> str:
    """A string, "" for anything else."""
    return value if isinstance(value, str) else ""


def members(value: Any) -> Mapping[str, Any]:
    """An object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def elements(value: Any) -> list[Any]:
    """An array, an empty one for anything else."""
    return value if isinstance(value, list) else []
