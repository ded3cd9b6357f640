"""Server-sent events: bytes to events and back, split anywhere.

Framing as WHATWG HTML section 9.2.6 has it: lines end at LF, CR or CRLF and at nothing else (U+2028, U+0085 and VT are
data), ``data:`` with or without the space, several ``data:`` lines joined by LF, comments, a byte-order mark at the
start. ``Splitter`` finds whole events without looking into them, so that they can be forwarded untouched.
"""

import re
from typing import Any

import msgspec

from streams.framing import EventTooLarge, EventUnfolds, Framing
from streams.structure import ELEMENTS, holds_more
from streams.surrogates import NOT_JSON, any_json

DONE = b"[DONE]"
"""The data of the last event of OpenAI's streams, and of many others that end as those do."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
# Atomic groups: a CRLF must not be taken for two line ends on backtracking.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
_SEAM = 3  # "\r\n\r": the most of a blank line that can be held back
_BOM = b"\xef\xbb\xbf"

COMMENT_PING = b": ping\n\n"


class Splitter:
    """Cuts a byte stream into whole events, each with the blank line that ends it.

    The pieces put together are the input, byte for byte. The LF of a CRLF whose CR ended an event in the read before is
    a piece of its own, so that it can be kept or left out with that event. Work is linear in the input whatever the
    sizes of events and reads: of what is held back only the seam is looked at again.
    """

    __slots__ = ("_held", "_limit", "_size", "_was_cr")

    def __init__(self, limit: int = 16 * 2**20) -> None:
        self._limit = limit
        self._held: list[bytes] = []
        self._size = 0
        self._was_cr = False  # the last byte so far is the CR that ended an event

    def feed(self, data: bytes) -> list[bytes]:
        """Return the events that ``data`` completes. Raises ``EventTooLarge`` when more than the limit would be held,
        ``EventUnfolds`` where decoding would make too much of one; what comes in one read is too small for that."""
        if self._was_cr and data:
            self._was_cr = False
            if data.startswith(b"\n"):
                return [b"\n", *self.feed(data[1:])]
        if not self._held and -1 < data.find(b"\n\n") == len(data) - 2 and b"\r" not in data:
            return [data]  # one event, no more and no less, as most reads of a stream are
        events: list[bytes] = []
        start = 0
        if self._held:
            seam = b"".join(self._held[-_SEAM:])[-_SEAM:]
            match = _BLANK_LINE.search(seam + data[: _SEAM + 1]) or _BLANK_LINE.search(data)
            if match is None:
                self._hold(data)
                return events
            cut = match.end() - (len(seam) if match.string is not data else 0)
            if data[cut - 1 : cut + 1] == b"\r\n":  # the seam ends between the two
                cut += 1
            self._held.append(data[:cut])
            whole = self.close()
            if len(whole) > ELEMENTS and holds_more(whole, ELEMENTS):
                raise EventUnfolds
            events.append(whole)
            start = cut
        if b"\r" in data:
            for match in _BLANK_LINE.finditer(data, start):
                events.append(data[start : match.end()])
                start = match.end()
            self._was_cr = start == len(data) and data.endswith(b"\r")
        else:
            while (cut := data.find(b"\n\n", start)) >= 0:
                events.append(data[start : cut + 2])
                start = cut + 2
        if start < len(data):
            self._hold(data[start:])
        return events

    def close(self) -> bytes:
        """Return what is left without a blank line at the end: an event some servers do not finish, or half of one."""
        rest = b"".join(self._held)
        self._held.clear()
        self._size = 0
        return rest

    def _hold(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            raise EventTooLarge
        self._held.append(data)


def parse(raw: bytes) -> tuple[str, bytes] | None:
    """Return the event name ("" if none) and the data of one raw event; ``None`` for comments and events without data.

    Two things that are no SSE are taken for errors, because real servers send them in mid-stream: a bare JSON object
    and a field ``error:`` with one. They come back as data without a name.
    """
    # The shape nearly all have: one data line and the blank line.
    if raw.startswith(b"data: ") and raw.endswith(b"\n\n") and raw.find(b"\n", 6, -2) < 0 and b"\r" not in raw:
        return ("", raw[6:-2]) if len(raw) > 8 else None
    name = ""
    data: list[bytes] = []
    for line in _LINE_END.split(raw.removeprefix(_BOM)):
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data" or (field == b"error" and value.startswith(b"{")):
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    if not data and raw.lstrip().startswith(b"{"):
        data.append(raw.strip())
    return (name, b"\n".join(data)) if any(data) else None


def completed(rest: bytes) -> bytes:
    """Return ``rest``, what a splitter has left, as a whole event where it lacks nothing but its blank line; where it
    is what is left of a blank line (the LF of a CRLF that came in two reads), that; nothing if the event is only half
    there."""
    if holds_more(rest, ELEMENTS):
        return b""
    if (parsed := parse(rest)) is None:
        return b"" if rest.strip() else rest
    return b"" if is_malformed(parsed[1]) else rest + b"\n\n"


def is_malformed(data: bytes) -> bool:
    """Return whether the data of an event are neither JSON nor the last word of a stream."""
    if data == DONE:
        return False
    try:
        any_json(data)
    except NOT_JSON:
        return True
    return False


def has_data(raw: bytes) -> bool:
    """Return whether the event has a line of data. Clients see no other, though some servers tell errors so."""
    return any(line.startswith(b"data:") for line in raw.splitlines())


def is_plain(raw: bytes) -> bool:
    """Return whether the event has neither ``id:`` nor ``retry:`` (after one, the openai SDK takes comments for
    events)."""
    return not any(line.startswith((b"id:", b"retry:")) for line in _LINE_END.split(raw))


def dump(value: Any) -> bytes:
    """Return ``value`` as compact JSON on one line that no client splits by mistake: U+2028, U+2029 and U+0085 are
    escaped (modelcontextprotocol/typescript-sdk#1926)."""
    data = msgspec.json.encode(value)
    if b"\xe2\x80" in data or b"\xc2\x85" in data:
        data = data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
        data = data.replace(b"\xc2\x85", b"\\u0085")
    return data


def event(name: str, value: Any) -> bytes:
    """Return a named event with ``value`` as its JSON data."""
    return b"event: %b\ndata: %b\n\n" % (name.encode("ascii"), dump(value))


def data(value: Any) -> bytes:
    """Return an event without a name, as Chat has them."""
    return b"data: %b\n\n" % dump(value)


class SseEvents:
    """A writer of server-sent events, which need nothing around them."""

    def event(self, name: str, data: bytes) -> bytes:
        head = b"event: %b\n" % name.encode() if name else b""
        return head + b"".join(b"data: %b\n" % line for line in _LINE_END.split(data)) + b"\n"

    def close(self) -> bytes:
        return b""


SSE = Framing(
    media_type="text/event-stream",
    content_type="text/event-stream; charset=utf-8",
    splitter=Splitter,
    parse=parse,
    completed=completed,
    writer=SseEvents,
    comment=COMMENT_PING,
    marks=(b"id:", b"retry:"),
    is_plain=is_plain,
    is_seen=has_data,
)
