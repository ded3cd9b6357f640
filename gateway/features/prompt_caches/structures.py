"""Bases of structures that many requests make: msgspec creates them faster than Python's own classes.

They show none of their members in logs and tracebacks, because some of them are texts. The garbage collector does not
scan them, unless a class requests it: for attributes that are computed later, or members that refer to each other."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class Structure(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A structure that does not change."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class MutableStructure(msgspec.Struct, eq=False, gc=False):
    """A structure whose members change."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class once_property(Generic[T]):  # a decorator
    """A property that is computed at its first use, without the lock of ``functools.cached_property``.

    Two threads may compute it simultaneously, with the same result."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self._name = compute.__name__
        self.__doc__ = compute.__doc__

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        value = instance.__dict__[self._name] = self._compute(instance)
        return value
