"""Types of text that variables changed."""

import copy
from collections.abc import Iterable
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar

import attrs

T = TypeVar("T")


class Expanded(str):
    """Text with the value of an environment variable in it; messages never repeat it."""

    __slots__ = ()


class Unresolved(Expanded):
    """Text with a variable that has no value, or was not looked up."""

    __slots__ = ()


def without_marks(value: T) -> T:
    """Return ``value`` with every ``Expanded`` in it as plain text, because encoders reject types derived from ``str``.

    Other subclasses stay. Values without such text are returned unchanged, also within others.
    """
    return _Unmarking().value(value)  # type: ignore[no-any-return]


class _Unmarking:
    """One walk through a value; ``_done`` has each visited object with its result, by the object's id."""

    def __init__(self) -> None:
        self._done: dict[int, tuple[Any, Any]] = {}

    def value(self, value: Any) -> Any:
        kind: Any = type(value)
        if kind is Expanded:
            return str(value)
        if kind in _PLAIN or not ((names := _attribute_names(kind)) or kind in _CONTAINERS):
            return value
        if (found := self._done.get(id(value))) is None:
            made = self._mapping(value) if kind in _MAPPINGS else self._object(value, names)
            found = self._done[id(value)] = (value, made)
        return found[1]

    def _object(self, value: Any, names: tuple[str, ...]) -> Any:
        if not names:
            items = self._items(value)
            return value if items is None else type(value)(items)
        members = [getattr(value, name) for name in names]
        if (found := self._items(members)) is None:
            return value
        made = copy.copy(value)  # a new one would be validated and compiled again
        for name, member in zip(names, found, strict=True):
            object.__setattr__(made, name, member)
        return made

    def _mapping(self, value: Any) -> Any:
        keys, members = self._items(value), self._items(value.values())
        if keys is None and members is None:
            return value
        made = dict(zip(value if keys is None else keys, value.values() if members is None else members, strict=True))
        return made if type(value) is dict else MappingProxyType(made)

    def _items(self, items: Iterable[Any]) -> list[Any] | None:
        """Return the results of ``items``, ``None`` if none of them changed."""
        before = list(items)
        after = [self.value(one) for one in before]
        return after if any(one is not two for one, two in zip(before, after, strict=True)) else None


_PLAIN = frozenset((str, int, float, bool, bytes, type(None)))
_MAPPINGS = frozenset((dict, MappingProxyType))
_CONTAINERS = _MAPPINGS | {list, tuple, set, frozenset}


@cache
def _attribute_names(kind: Any) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(kind)) if attrs.has(kind) else ()
