"""Framings of Gemini streams: server-sent events with CR LF line ends, and one JSON array for clients that do not
request events.

Google's own clients support neither comments nor ``event:`` lines. google-genai for Python parses every line without
``data:`` as JSON; its JavaScript clients never get past such a line, and the older one not past an empty line either. A
keep-alive is therefore an empty piece of an answer.
"""

import re
from typing import Any, Final

import attrs

from streams import sse
from streams.framing import EventSplitter, EventTooComplex, EventTooLarge, Framing
from streams.structure import MAX_ELEMENTS, has_more_elements

_PREFIX: Final = b"data: "
_END: Final = b"\r\n\r\n"
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


def event(value: Any) -> bytes:
    """Return an event with ``value`` as its JSON data."""
    return b"data: %b\r\n\r\n" % sse.dump(value)


def error_parts(data: bytes) -> tuple[bytes, ...]:
    """Return the end of a failed stream in parts: the bare JSON of its error apart from the rest.

    Google's SDKs for JavaScript from 1.0 to 2.0 recognize it only if they read nothing else at the same time
    (googleapis/js-genai#461)."""
    at = data.rfind(_PREFIX + b'{"error"')  # a text within JSON has no such quotation mark
    bare = data[at + len(_PREFIX) :]
    if at < 0 or not data[:at].endswith(bare):
        return (data,)
    return tuple(filter(None, (data[: at - len(bare)], bare, data[at:])))


KEEP_ALIVE: Final = event({"candidates": [{"content": {"role": "model", "parts": [{"text": ""}]}, "index": 0}]})


def parse(raw: bytes) -> tuple[str, bytes] | None:
    """Return the name and data of an event, like ``streams.sse.parse``, with a fast path for the usual shape."""
    if raw.startswith(_PREFIX) and raw.endswith(_END) and raw.find(b"\r", 6, -4) < 0 and raw.find(b"\n", 6, -4) < 0:
        return ("", raw[6:-4]) if len(raw) > 10 else None
    return sse.parse(raw)


def complete(rest: bytes) -> bytes:
    """Return ``rest`` as a whole event or nothing, like ``streams.sse.complete``, with CR LF line ends for clients that
    require them."""
    whole = sse.complete(rest)
    return whole.rstrip(b"\r\n") + _END if whole.strip() else whole


class CrlfSplitter(EventSplitter):
    """A splitter like ``streams.sse.Splitter`` that never splits between the CR and LF of a line.

    A keep-alive between them would hide the end of the event from JavaScript clients.
    """

    def __init__(self, limit: int = 16 * 2**20) -> None:
        self._inner = sse.Splitter(limit)
        self._pending_cr = b""  # a CR whose LF may follow

    def feed(self, data: bytes) -> list[bytes]:
        """Return the events that ``data`` completes. See ``EventSplitter.feed``."""
        if self._pending_cr:
            data = self._pending_cr + data
        elif (
            data.endswith(_END)
            and data.find(b"\r") == len(data) - 4
            and data.find(b"\n") == len(data) - 3
            and not self._inner.is_within_event
        ):
            return [data]  # exactly one event of one line, like most reads of a stream
        self._pending_cr = data[-1:] if data.endswith(b"\r") else b""
        return self._inner.feed(data[:-1] if self._pending_cr else data)

    def close(self) -> bytes:
        """Return the unfinished rest. See ``EventSplitter.close``."""
        pending, self._pending_cr = self._pending_cr, b""
        return self._inner.close() + pending


class CrlfEvents:
    """A writer of server-sent events whose lines end with CR LF."""

    def event(self, name: str, data: bytes) -> bytes:
        return b"".join(b"data: %b\r\n" % line for line in _LINE_END.split(data)) + b"\r\n"

    def close(self) -> bytes:
        return b""


CRLF_SSE: Final = attrs.evolve(
    sse.SSE,
    splitter=CrlfSplitter,
    parse=parse,
    complete=complete,
    writer=CrlfEvents,
    comment=KEEP_ALIVE,
    is_plain=lambda raw, name, data: True,
)  # fmt: skip

# JSON array


_BRACKETS: Final = re.compile(rb'["{}\[\]]')
_IN_STRING: Final = re.compile(rb'["\\]')
_SEPARATORS: Final = b" \t\r\n,"


class ArraySplitter(EventSplitter):
    """A splitter of a JSON array into its objects, each including the bytes before it.

    The end of the array is a separate piece. An object without an array is one piece. Every byte is scanned once.
    """

    def __init__(self, limit: int = 16 * 2**20) -> None:
        self._limit = limit
        self._held: list[bytes] = []
        self._size = 0
        self._depth = 0
        self._base = 0  # the depth at which objects end: 1 inside an array
        self._in_string = False
        self._is_escaped = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the objects that ``data`` completes. Raises ``EventTooLarge`` and ``EventTooComplex``."""
        events: list[bytes] = []
        start = at = 0
        while at < len(data):
            if self._in_string:
                at = self._skip_string(data, at)
                continue
            found = _BRACKETS.search(data, at)
            if found is None:
                break
            at = found.end()
            if self._handle_bracket(found[0]):
                events.append(self._complete_object(data[start:at]))
                start = at
        if start < len(data):
            self._store_bytes(data[start:])
        return events

    def close(self) -> bytes:
        rest = b"".join(self._held)
        self._held.clear()
        self._size = 0
        return rest

    def _skip_string(self, data: bytes, at: int) -> int:
        """Return the position after the string, or where scanning it continues."""
        if self._is_escaped:
            self._is_escaped = False
            return at + 1
        found = _IN_STRING.search(data, at)
        if found is None:
            return len(data)
        self._is_escaped = found[0] == b"\\"
        self._in_string = self._is_escaped
        return found.end()

    def _handle_bracket(self, mark: bytes) -> bool:
        """Return whether ``mark`` ends an object or the array."""
        if mark == b'"':
            self._in_string = True
        elif mark in b"{[":
            self._base = 1 if self._depth == 0 and mark == b"[" else self._base
            self._depth += 1
        else:
            self._depth = max(self._depth - 1, 0)
            return self._depth == 0 or (mark == b"}" and self._depth == self._base)
        return False

    def _complete_object(self, last: bytes) -> bytes:
        self._store_bytes(last)
        whole = self.close()
        if len(whole) > MAX_ELEMENTS and has_more_elements(whole, MAX_ELEMENTS):
            raise EventTooComplex
        return whole

    def _store_bytes(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            raise EventTooLarge
        self._held.append(data)


def parse_element(raw: bytes) -> tuple[str, bytes] | None:
    """Return the data of one piece of an array, or ``None`` for its end."""
    data = raw.lstrip(_SEPARATORS + b"\xef\xbb\xbf").removeprefix(b"[").strip(_SEPARATORS)
    return ("", data) if data.startswith(b"{") else None


def complete_element(rest: bytes) -> bytes:
    """Return nothing, because the rest is the array's end or an incomplete object."""
    return b""


_SEPARATOR: Final = b",\r\n"


def join_array(data: bytes, is_first: bool) -> bytes:
    """Return the elements in ``data`` as the first of an array, or as those after elements of another writer.

    Keep-alives and the answers of several targets have writers of their own, and a keep-alive may overtake an element
    that is held."""
    if is_first:
        return b"[" + data[len(_SEPARATOR) :] if data.startswith(_SEPARATOR) else data
    if data.startswith(b"["):
        return b"]" if data == b"[]" else _SEPARATOR + data[1:]
    return data


class ArrayElements:
    """A writer of one JSON array with an element for each event, sent immediately.

    An event that repeats an error, for clients that recognize only one of its two forms, is no element."""

    def __init__(self) -> None:
        self._has_elements = False
        self._error = b""

    def event(self, name: str, data: bytes) -> bytes:
        if data.startswith(b'{"error"'):
            if data == self._error:
                return b""
            self._error = data
        before, self._has_elements = (_SEPARATOR if self._has_elements else b"["), True
        return before + data

    def close(self) -> bytes:
        return b"]" if self._has_elements else b"[]"


ARRAY: Final = Framing(
    media_type="application/json",
    content_type="application/json; charset=UTF-8",
    splitter=ArraySplitter,
    parse=parse_element,
    complete=complete_element,
    writer=ArrayElements,
    join=join_array,
)
