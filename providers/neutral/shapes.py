"""Shapes of whole answers: a member of a wrong type is a failure, not an empty success.

A shape is a table of the read members: a type; a dict of members, for an object; a list of one shape, for an array; a
tuple of alternatives; or ``ByType``. Other members are free, and any member may be missing, null or an empty array, as
providers write empty values. No shape has the usage: without readable counts, the answer's text is still an answer.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import attrs

from streams.errors import GatewayError


@attrs.frozen(repr=False)
class ByType:
    """Shapes of an object by its member ``type``; unknown types have none."""

    shapes: Mapping[str, "Shape"]


Shape: TypeAlias = type | dict[str, Any] | list[Any] | tuple[Any, ...] | ByType

_NAMES: Mapping[type, str] = {str: "a string", dict: "an object", list: "an array"}


def check_answer(value: Any, shape: Shape, at: str = "") -> None:
    """Raise a 502 ``GatewayError`` with the first member of ``value`` that differs from ``shape``."""
    if value is None or value == []:  # PHP's empty object
        return
    kinds = _types_of(shape)
    if not isinstance(value, kinds):
        wanted = " or ".join(_NAMES[kind] for kind in kinds)
        message = f"the provider's answer is malformed: {at or 'it'} is not {wanted}"
        raise GatewayError("upstream", message, reason="bad_answer")
    for alternative in shape if isinstance(shape, tuple) else (shape,):
        _check_inside(value, alternative, at)


def _types_of(shape: Shape) -> tuple[type, ...]:
    match shape:
        case type():
            return (shape,)
        case tuple():
            return tuple(kind for one in shape for kind in _types_of(one))
        case list():
            return (list,)
        case _:
            return (dict,)


def _check_inside(value: Any, shape: Shape, at: str) -> None:
    if isinstance(shape, ByType) and isinstance(value, dict):
        kind = value.get("type")
        shape = shape.shapes.get(kind, {}) if isinstance(kind, str) else {}
    if isinstance(shape, dict) and isinstance(value, dict):
        for name, inner in shape.items():
            check_answer(value.get(name), inner, f"{at}.{name}" if at else name)
    elif isinstance(shape, list) and isinstance(value, list):
        for i, item in enumerate(value):
            check_answer(item, shape[0], f"{at}[{i}]")
