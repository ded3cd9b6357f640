"""Typed access to a client's JSON, with errors at a path, and a list of unread members.

``null`` counts as absent, as in the OpenAI SDKs. Unread members are unknown to the translation and reported in
``x-trigate-dropped``.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any, Self, TypeVar

import msgspec

from providers.neutral.hints import is_loss
from streams.errors import GatewayError, invalid
from streams.surrogates import NOT_JSON, describe_json_error, find_lone_surrogate

T = TypeVar("T")

_JSON_NAMES = {
    dict: "an object", list: "an array", str: "a string", bool: "a boolean", int: "an integer", float: "a number",
    type(None): "null",
}  # fmt: skip


def join_path(at: str, name: str | int) -> str:
    """Return the path of a member (``a.b``) or an element (``a[0]``) of the value at ``at``."""
    if isinstance(name, int):
        return f"{at}[{name}]"
    return f"{at}.{name}" if at else name


def expect(value: Any, kind: type[T], at: str) -> T:
    """Return ``value`` if it is a ``kind``. Raises a 400 with ``at`` and both types otherwise."""
    if type(value) is kind or (isinstance(value, kind) and not (kind in (int, float) and isinstance(value, bool))):
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return value  # type: ignore[return-value]  # an integer is a number; it keeps its spelling
    name = "a number" if kind is float else _JSON_NAMES[kind]
    raise invalid(f"{at} must be {name}, not {_JSON_NAMES.get(type(value), 'that')}", at)


class Fields:
    """One JSON object of a request; every accessor marks its member as read.

    Accessors return ``None`` for absent or ``null`` members, and raise a 400 for the wrong type.
    """

    __slots__ = ("_unread", "at", "data")

    def __init__(self, data: Mapping[str, Any], at: str = "") -> None:
        self.data = data
        self.at = at
        self._unread = dict.fromkeys(data)

    @classmethod
    def of(cls, value: Any, at: str) -> Self:
        return cls(expect(value, dict, at), at)

    def _read_member(self, name: str, kind: type[T]) -> T | None:
        if name not in self.data:
            return None
        self._unread.pop(name, None)
        value = self.data[name]
        if value is None or type(value) is kind:  # almost always, and then the path is not needed
            return value
        return expect(value, kind, join_path(self.at, name))

    def value(self, name: str) -> Any:
        if name not in self.data:
            return None
        self._unread.pop(name, None)
        return self.data[name]

    def string(self, name: str) -> str | None:
        return self._read_member(name, str)

    def integer(self, name: str) -> int | None:
        return self._read_member(name, int)

    def number(self, name: str) -> float | None:
        return self._read_member(name, float)

    def boolean(self, name: str) -> bool | None:
        return self._read_member(name, bool)

    def array(self, name: str) -> list[Any] | None:
        return self._read_member(name, list)

    def object(self, name: str) -> Self | None:
        value = self._read_member(name, dict)
        return None if value is None else type(self)(value, self.path(name))

    def objects(self, name: str) -> Iterator[Self]:
        """Yield the elements of an array of objects, each with its path."""
        if values := self._read_member(name, list):
            at = self.path(name)
            for i, value in enumerate(values):
                yield self.of(value, join_path(at, i))

    def need(self, name: str, kind: type[T]) -> T:
        """Return a required member: ``need("role", str)``."""
        value = self._read_member(name, kind)
        if value is None:
            at = self.path(name)
            raise invalid(f"{at} is required", at)
        return value

    def need_word(self, name: str, words: Container[str], listed: str) -> str:
        """Return a required text that is one of ``words``; an error has them as ``listed``."""
        word = self.need(name, str)
        if word not in words:
            at = self.path(name)
            raise invalid(f'{at} must be {listed}, not "{word}"', at)
        return word

    def path(self, name: str) -> str:
        return join_path(self.at, name)

    def ignore(self, *names: str) -> None:
        """Mark members as read that do not affect the answer, so that they are not reported."""
        for name in names:
            self._unread.pop(name, None)

    def unread(self) -> list[str]:
        """Return the paths of unread members in order, without ``null`` ones."""
        if not self._unread:
            return []
        return [join_path(self.at, name) for name in self._unread if self.data[name] is not None]


MAX_PATHS = 1000
"""The most paths of losses, and again as many of those that strict mode refuses, so that one is always listed. Clients
choose names and number."""
LONGEST = 200  # characters of a path


class Drops:
    """The paths of losses in order, each once, with ``[]`` for array indices. Their number and length are limited."""

    __slots__ = ("_paths",)

    def __init__(self, paths: Iterable[str] = ()) -> None:
        self._paths: dict[str, None] = {}
        if paths:
            self.add(*paths)

    def add(self, *paths: str) -> None:
        for path in filter(None, paths):  # a member that the gateway added has none
            path, count = generic_path(path[:LONGEST]), len(self._paths)
            if count < MAX_PATHS or (count < 2 * MAX_PATHS and is_loss(path)):
                self._paths[path] = None

    def add_unread(self, fields: Fields) -> None:
        if paths := fields.unread():
            self.add(*paths)

    def remove_members(self, body: dict[str, Any], names: Iterable[str]) -> None:
        """Remove the members ``names`` from ``body``, and add the present ones."""
        self.add(*(name for name in names if body.pop(name, None) is not None))

    def paths(self) -> tuple[str, ...]:
        return tuple(self._paths)


_INDEX = re.compile(r"\[\d+\]")


def generic_path(path: str) -> str:
    """Return a path with ``[]`` for array indices, as in the report: ``messages[].content[]``."""
    return _INDEX.sub("[]", path) if "[" in path else path


def too_deep_error() -> GatewayError:
    """Return the error for JSON that is nested too deeply.

    The limit depends on the caller's own depth, so that every reader expects it.
    """
    return invalid("the request body is nested too deeply")


def malformed_error(error: Exception, body: bytes = b"") -> GatewayError:
    """Return the 400 for a decoding ``error``, with the position of half a surrogate pair in ``body``."""
    if isinstance(error, RecursionError):
        return too_deep_error()
    if (place := find_lone_surrogate(body)) is not None:
        half = body[place : place + 6].decode("ascii")
        return invalid(
            f"the request body has half of a surrogate pair ({half} at byte {place}), which is not "
            "valid text: remove it"
        )
    return invalid(f"the request body is not valid JSON: {describe_json_error(error)}")


def parse_json(data: bytes | msgspec.Raw, kind: type[T]) -> T:
    """Decode JSON of a client's request. Raises ``GatewayError`` (400) if it is invalid."""
    try:
        return msgspec.json.decode(data, type=kind)
    except NOT_JSON as error:
        raise malformed_error(error) from None
