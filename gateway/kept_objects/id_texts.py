"""Where ids of kept objects stand in JSON, and the same JSON with other ids: every other byte stays as it was.

The text is read token by token and not decoded: of two members with one name a provider may take the other one
(RFC 8259, section 4), so each is looked at, however its name is spelled.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

import attrs
import msgspec

_STRUCTURE: Final = re.compile(rb'["{}\[\]:,]')
_PIECE: Final = 2**20  # bytes that are searched at once
_DEEPEST: Final = 2000
"""More than any decoder follows: a path of each depth below would take quadratic time."""
_LONGEST_NAME: Final = 64
_LONGEST_ID: Final = 4096  # bytes between the quotes, of an address too: nobody's id is longer

FREE: Final = frozenset(
    (
        "arguments", "args", "attributes", "filters", "functioncall", "functionresponse", "input_schema", "json_schema",
        "metadata", "parameters", "schema", "function_response",
    )
)  # fmt: skip
"""Members, in lower case, whose objects hold whatever programs and models put there: no id of an API."""

FREE_OBJECTS: Final = frozenset(("input",))
"""Members that are free where their value is an object: what a model gives to a tool. A list under this name is a
conversation."""


@attrs.frozen
class IdText:
    """A text in JSON. ``path`` are the names of the members that it is in, in lower case, lists not counted; ``start``
    and ``end`` are where its bytes stand, with the quotes; ``text`` is what they say."""

    path: tuple[str, ...]
    start: int
    end: int
    text: str


@attrs.frozen
class IdPlaces:
    """Where ids stand: in members of these ``names`` anywhere, and in those at these ``paths``, from the top. ``ends``
    are the last two names of a path. In members called as in ``addresses`` an id stands at the end of an address."""

    names: frozenset[str] = frozenset()
    paths: frozenset[tuple[str, ...]] = frozenset()
    ends: frozenset[tuple[str, str]] = frozenset()
    addresses: frozenset[str] = frozenset()

    def has(self, path: tuple[str, ...]) -> bool:
        return path[-1] in self.names or path in self.paths or path[-2:] in self.ends or path[-1] in self.addresses


def id_texts(body: bytes, places: IdPlaces) -> Iterator[IdText]:
    """The texts of ``body`` that stand where ids do. What is no JSON ends it early: whoever reads it refuses it."""
    stack: list[tuple[str, ...]] = []  # the path of each open object or list
    path: tuple[str, ...] = ()  # that of the value which comes next
    lists: list[bool] = []
    free = 0  # of the open ones, from which on nothing is an id
    at = 0
    while len(stack) <= _DEEPEST and (found := _next(body, at)) is not None:
        at = found.end()
        mark = found[0]
        if mark == b'"':
            end = _end_of_text(body, at)
            if end < 0:
                return
            if lists and not lists[-1] and _is_name(body, end):
                path = (*stack[-1], _name(body, at, end))
            elif path and not free and places.has(path):
                yield IdText(path, at - 1, end, _text(body, at, end))
            at = end
        elif mark in (b"{", b"["):
            member = mark == b"{" and not (lists and lists[-1])
            stack.append(path)
            lists.append(mark == b"[")
            if not free and path and (path[-1] in FREE or (member and path[-1] in FREE_OBJECTS)):
                free = len(stack)
        elif mark in (b"}", b"]"):
            if not stack:
                return
            if free == len(stack):
                free = 0
            stack.pop()
            lists.pop()
        elif mark == b"," and lists and lists[-1]:
            path = stack[-1]


def with_texts(body: bytes, changes: Iterable[tuple[IdText, str]]) -> bytes:
    """``body`` with other texts in the places of some, which are in the order in which they stand there."""
    parts: list[bytes] = []
    done = 0
    for place, text in changes:
        parts += (body[done : place.start], msgspec.json.encode(text))
        done = place.end
    return b"".join((*parts, body[done:])) if parts else body


def _next(body: bytes, at: int) -> re.Match[bytes] | None:
    """The next token from ``at`` on. One search of megabytes of spaces would hold the interpreter's lock."""
    while at < len(body):
        if (found := _STRUCTURE.search(body, at, at + _PIECE)) is not None:
            return found
        at += _PIECE
    return None


def _end_of_text(body: bytes, at: int) -> int:
    """The end of the text whose first byte is ``at``, behind its closing quote; -1 where it has none."""
    while (end := body.find(b'"', at)) >= 0:
        back = end - 1
        while body[back] == 0x5C and back >= at:
            back -= 1
        if (end - back) % 2:
            return end + 1
        at = end + 1
    return -1


def _is_name(body: bytes, at: int) -> bool:
    while body[at : at + 1] in (b" ", b"\t", b"\r", b"\n"):
        at += 1
    return body[at : at + 1] == b":"


def _name(body: bytes, at: int, end: int) -> str:
    return _text(body, at, end, _LONGEST_NAME * 6).casefold()


def _text(body: bytes, at: int, end: int, most: int = _LONGEST_ID) -> str:
    """The text between the quotes; "" of one that is too long to be what is looked for, or no text."""
    if end - at > most:
        return ""
    try:
        return msgspec.json.decode(body[at - 1 : end], type=str)
    except msgspec.DecodeError:
        return ""
