"""A JSON document as a tree of decoded values, and the positions of its values, which only edits need.

The decoder is C, and keeps duplicate members. It decodes long documents value by value, so that no call takes long."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from gateway.features.steps.json_texts import document_at, raw_text, read_items, read_members, string_text

Route: TypeAlias = tuple[int, ...]
"""The position of a value in a document: the index of the member or item at each level."""

LONGEST_DECODED: Final = 64 * 1024
"""Bytes of the longest value that one call decodes."""

_NOT_DECODED: Final = (ValueError, RecursionError, StopIteration)

_scan = json.JSONDecoder(object_pairs_hook=tuple, strict=False, parse_int=float).scan_once  # type: ignore[attr-defined]


class Undecoded:
    """A value between two positions that is too long to be decoded by one call, or that the decoder does not read."""

    __slots__ = ("end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end


class JsonDocument:
    """The tree of ``data``. An object is a tuple of its names and values, with duplicates."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._elements: dict[Route, Sequence[Any]] = {}

    def root(self) -> Any:
        """Return the whole document. Raises ``NotJson``."""
        return self.value(*document_at(self.data))

    def value(self, start: int, end: int) -> Any:
        """Return the value between two positions."""
        if end - start <= LONGEST_DECODED:
            text = raw_text(self.data[start:end])
            try:
                value, last = _scan(text, 0)
            except _NOT_DECODED:
                return Undecoded(start, end)
            if last == len(text):
                return value
        return Undecoded(start, end)

    def first_byte(self, value: Any) -> bytes:
        """Return the first byte of a value, for a number its first digit or sign."""
        if type(value) is Undecoded:
            return self.data[value.start : value.start + 1]
        return _FIRST.get(type(value), b"")

    def members(self, value: Any) -> Sequence[tuple[str, Any]]:
        """Return the names and values of an object. Raises ``NotJson``."""
        if type(value) is not Undecoded:
            return value  # type: ignore[no-any-return]
        return [(one.name, self.value(one.start, one.end)) for one in read_members(self.data, value.start, value.end)]

    def items(self, value: Any) -> Sequence[Any]:
        """Return the items of an array. Raises ``NotJson``."""
        if type(value) is not Undecoded:
            return value  # type: ignore[no-any-return]
        return [self.value(*span) for span in read_items(self.data, value.start, value.end)]

    def text(self, value: Any) -> str:
        if type(value) is not Undecoded:
            return value  # type: ignore[no-any-return]
        return string_text(self.data[value.start + 1 : value.end - 1])

    def span(self, route: Route) -> tuple[int, int]:
        """Return the start and end of the value at ``route``. Raises ``NotJson``."""
        if not route:
            return document_at(self.data)
        found = self.elements(route[:-1])[route[-1]]
        return found[-2:]  # type: ignore[no-any-return]

    def elements(self, route: Route) -> Sequence[Any]:
        """Return each ``Member`` of the object at ``route``, or the start and end of each item of an array."""
        if (known := self._elements.get(route)) is None:
            start, end = self.span(route)
            read = read_members if self.data[start : start + 1] == b"{" else read_items
            known = self._elements[route] = read(self.data, start, end)
        return known


_FIRST: Final[Mapping[type, bytes]] = {str: b'"', tuple: b"{", list: b"[", float: b"0"}
