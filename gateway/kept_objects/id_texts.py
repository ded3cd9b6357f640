"""Functions that find and replace ids of stored objects in JSON without changing any other byte.

The text is tokenised rather than decoded: of duplicate members, a provider may use either (RFC 8259, section 4), so
each is examined, however its name is escaped."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import attrs
import msgspec

from streams.surrogates import NOT_JSON

_STRUCTURE: Final = re.compile(rb'["{}\[\]:,]')
_SEARCH_BYTES: Final = 2**20  # bytes searched per step
_MAX_DEPTH: Final = 2000
"""Deeper than any decoder of ours accepts."""
_LONGEST_PATH: Final = 8
"""Names in a path. A body may have many strings at a great depth, so longer paths would take quadratic time."""
_MAX_NAME: Final = 64
_MAX_ID: Final = 4096  # bytes between the quotes, also of a URL; real ids are shorter

FREE_FORM_MEMBERS: Final = frozenset(
    (
        "arguments", "args", "attributes", "filters", "functioncall", "functionresponse", "input_schema", "json_schema",
        "metadata", "parameters", "schema", "function_response",
    )
)  # fmt: skip
"""Members, in lower case, that contain arbitrary data of programs and models, in which nothing is an id."""

FREE_FORM_OBJECTS: Final = frozenset(("input", "json", "result"))
"""Members that contain arbitrary data if their value is an object: a tool's input or result; a list is a
conversation."""


@attrs.frozen(eq=False, repr=False)
class IdText:
    """A string found in JSON, which may be an id.

    ``path`` has the lower-case names of the innermost enclosing members, without lists. ``start`` and ``end`` delimit
    the string with its quotes in the body. ``text`` is the decoded string."""

    path: tuple[str, ...]
    start: int
    end: int
    text: str


@attrs.frozen(eq=False, repr=False)
class IdPlaces:
    """The positions of ids in JSON.

    They are members with these ``names`` anywhere, members at these ``paths`` from the top, and paths that end with
    these ``ends``. Members in ``addresses`` contain a URL that ends with an id."""

    names: frozenset[str] = frozenset()
    paths: frozenset[tuple[str, ...]] = frozenset()
    ends: frozenset[tuple[str, str]] = frozenset()
    addresses: frozenset[str] = frozenset()

    def contain(self, path: Sequence[str]) -> bool:
        last = path[-1]
        if last in self.names or last in self.addresses or tuple(path[-2:]) in self.ends:
            return True
        return len(path) <= _LONGEST_PATH and tuple(path) in self.paths


def id_texts(body: bytes, places: IdPlaces) -> Iterator[IdText]:
    """Yield the strings in the JSON ``body`` at ``places``.

    Invalid JSON ends the search early; later checks reject it."""
    stack: list[int] = []  # the length of the path of each open object or list
    path: list[str] = []  # the path of the next value
    lists: list[bool] = []
    free_depth = 0  # the depth from which on nothing is an id
    at = 0
    while len(stack) <= _MAX_DEPTH and (found := _next_token(body, at)) is not None:
        at = found.end()
        mark = found[0]
        if mark == b'"':
            end = _end_of_string(body, at)
            if end < 0:
                return
            if lists and not lists[-1] and _is_member_name(body, end):
                del path[stack[-1] :]
                path.append(_decode_string(body, at, end, _MAX_NAME * 6).casefold())
            elif path and not free_depth and places.contain(path):
                yield IdText(tuple(path[-_LONGEST_PATH:]), at - 1, end, _decode_string(body, at, end))
            at = end
        elif mark in (b"{", b"["):
            member = mark == b"{" and not (lists and lists[-1])
            stack.append(len(path))
            lists.append(mark == b"[")
            if (
                not free_depth
                and path
                and (path[-1] in FREE_FORM_MEMBERS or (member and path[-1] in FREE_FORM_OBJECTS))
            ):
                free_depth = len(stack)
        elif mark in (b"}", b"]"):
            if not stack:
                return
            if free_depth == len(stack):
                free_depth = 0
            del path[stack.pop() :]
            lists.pop()


def replace_texts(body: bytes, changes: Iterable[tuple[IdText, str]]) -> bytes:
    """Return ``body`` with new strings; ``changes`` are in the order of the body."""
    parts: list[bytes] = []
    done = 0
    for place, text in changes:
        parts += (body[done : place.start], msgspec.json.encode(text))
        done = place.end
    return b"".join((*parts, body[done:])) if parts else body


def _next_token(body: bytes, at: int) -> re.Match[bytes] | None:
    """Return the next token at or after ``at``, searching in steps because a search of megabytes blocks the process."""
    while at < len(body):
        if (found := _STRUCTURE.search(body, at, at + _SEARCH_BYTES)) is not None:
            return found
        at += _SEARCH_BYTES
    return None


def _end_of_string(body: bytes, at: int) -> int:
    """Return the position after the closing quote of the string that starts at ``at``, -1 without one."""
    while (end := body.find(b'"', at)) >= 0:
        before_backslashes = end - 1
        while body[before_backslashes] == 0x5C and before_backslashes >= at:
            before_backslashes -= 1
        if (end - before_backslashes) % 2:
            return end + 1
        at = end + 1
    return -1


def _is_member_name(body: bytes, at: int) -> bool:
    while body[at : at + 1] in (b" ", b"\t", b"\r", b"\n"):
        at += 1
    return body[at : at + 1] == b":"


def _decode_string(body: bytes, at: int, end: int, most: int = _MAX_ID) -> str:
    """Decode the JSON string from ``at`` to ``end``; return "" if it is too long or invalid."""
    if end - at > most:
        return ""
    try:
        return msgspec.json.decode(body[at - 1 : end], type=str)
    except NOT_JSON:
        return ""
