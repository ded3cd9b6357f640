"""Reader and writer of server-sent events, for reads split anywhere.

Framing follows WHATWG HTML section 9.2.6. Lines end at LF, CR or CRLF only (U+2028, U+0085 and VT are data). ``data:``
may omit the space; several ``data:`` lines are joined by LF. ``Splitter`` finds whole events without parsing them, so
that they can be forwarded unchanged.
"""

import re
from typing import Any, Final

import msgspec

from streams.framing import EventHasTooManyLines, EventTooComplex, EventTooLarge, Framing
from streams.structure import MAX_ELEMENTS, has_more_elements
from streams.surrogates import NOT_JSON, any_json

DONE = b"[DONE]"
"""The data of the last event of streams of OpenAI and many others."""

_LF, _CR = b"\n\r"  # as numbers, which are found in bytes five times faster than bytes
_LINE_END = re.compile(rb"\r\n|\n|\r")
# Atomic groups keep backtracking from reading a CRLF as two line ends.
_BLANK_LINE = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
# 64 KiB of line ends would be 32,768 events, so those that follow a blank line are one piece.
_BLANK_LINES = re.compile(rb"((?>\r\n|\n|\r)(?>\r\n|\n|\r))([\r\n]{4,})?")
_LF_RUN = b"\n" * 6
_SEAM = 3  # "\r\n\r": the longest buffered part of a blank line
_BOM = b"\xef\xbb\xbf"
_EVENT_NAME = re.compile(rb" ?[a-z_.]*")

SHORT: Final = 1024
"""Bytes up to which an event is recognized by one regular expression, which is slower than several searches for a
larger one."""
_USUAL_EVENT = re.compile(rb"event: ([a-z_.]+)\ndata: (.+)\n\n").fullmatch

COMMENT_PING = b": ping\n\n"


def is_blank(piece: bytes | bytearray) -> bool:
    """Return whether ``piece`` of a stream or of JSON has only comments and white space."""
    text = piece.lstrip()
    return not text or (text.startswith(b":") and all(line[:1] in (b"", b":") for line in text.splitlines()))


MAX_LINES = 20_000
"""Limit of the lines of an event, comments included: more would block every stream while they are read.

The largest events have a line for each JSON value, if a server sends them indented.
"""


class Splitter:
    """A splitter of a byte stream into whole events, each with its final blank line.

    The pieces add up to the input, byte for byte. If a CRLF after an event is split between reads, its LF becomes a
    piece of its own, to be kept or dropped with the event. Work is linear in the input for any sizes of events and
    reads, because only the seam between reads is scanned twice.
    """

    __slots__ = ("_held", "_is_own", "_limit", "_size", "_was_cr")

    def __init__(self, limit: int = 16 * 2**20, *, is_own: bool = False) -> None:
        """Hold at most ``limit`` bytes. ``is_own``: the gateway wrote the events, so their structure may be any."""
        self._limit = limit
        self._is_own = is_own
        self._held: list[bytes] = []
        self._size = 0
        self._was_cr = False  # the last byte so far is the CR that ended an event

    @property
    def is_within_event(self) -> bool:
        """True if an event has begun, or an LF could belong to the last one."""
        return bool(self._held) or self._was_cr

    def feed(self, data: bytes) -> list[bytes]:
        """Return the events that ``data`` completes.

        Raises ``EventTooLarge`` if more than the limit would be buffered, ``EventTooComplex`` for an event with too
        many JSON elements and ``EventHasTooManyLines`` (only buffered events are large enough).
        """
        if self._was_cr and data:
            self._was_cr = False
            if data.startswith(b"\n"):
                return [b"\n", *self.feed(data[1:])]
        if not self._held and -1 < data.find(b"\n\n") == len(data) - 2 and _CR not in data:
            return [data]  # exactly one event, like most reads of a stream
        events: list[bytes] = []
        start = 0
        if self._held:
            seam = b"".join(self._held[-_SEAM:])[-_SEAM:]
            match = _BLANK_LINE.search(seam + data[: _SEAM + 1])
            if match is None and (_LF in data or _CR in data):  # most reads of a large event have neither
                match = _BLANK_LINE.search(data)
            if match is None:
                self._hold(data)
                return events
            cut = match.end() - (len(seam) if match.string is not data else 0)
            if data[cut - 1 : cut + 1] == b"\r\n":  # the seam ends between CR and LF
                cut += 1
            self._held.append(data[:cut])
            whole = self.close()
            if len(whole) > MAX_LINES and not self._is_own:
                _check_structure(whole)
            events.append(whole)
            start = cut
        if _CR in data or _LF_RUN in data:
            start = _add_events(events, data, start)
            self._was_cr = start == len(data) and data.endswith(b"\r")
        else:
            *whole_events, rest = data[start:].split(b"\n\n")
            events += [one + b"\n\n" for one in whole_events]
            start = len(data) - len(rest)
        if start < len(data):
            self._hold(data[start:])
        return events

    def parse_lone(self, data: bytes) -> tuple[str, bytes] | None:
        """Return the event in ``data`` if that is exactly one with a line of data, and perhaps a name before it. See
        ``EventSplitter.parse_lone``."""
        return None if self._held or self._was_cr else parse_usual(data)

    def close(self) -> bytes:
        """Return the rest after the last blank line: an unfinished event."""
        rest = b"".join(self._held)
        self._held.clear()
        self._size = 0
        return rest

    def _hold(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limit:
            raise EventTooLarge
        self._held.append(data)


def _add_events(events: list[bytes], data: bytes, start: int) -> int:
    """Add the events of ``data`` after ``start``, whose lines may have any ends. Return the end of the last one."""
    for match in _BLANK_LINES.finditer(data, start):
        events.append(data[start : match.end(1)])
        start = match.end()
        if match.lastindex == 2:
            events.append(match[2])
    return start


def _check_structure(raw: bytes) -> None:
    """Raise ``EventHasTooManyLines`` or ``EventTooComplex``, if the event is."""
    if _has_too_many_lines(raw):
        raise EventHasTooManyLines(MAX_LINES)
    if has_more_elements(raw, MAX_ELEMENTS):
        raise EventTooComplex


def _has_too_many_lines(raw: bytes) -> bool:
    """Return whether an event has more than ``MAX_LINES`` lines, even if each of its line ends is a CRLF."""
    if len(raw) <= MAX_LINES:
        return False
    crs = raw.count(b"\r") if _CR in raw else 0  # to find none is much cheaper than to count none
    return raw.count(b"\n") + crs > 2 * MAX_LINES


def parse_usual(raw: bytes) -> tuple[str, bytes] | None:
    """Return ``parse(raw)`` for an event of one line of data, or a short one with a name before it; otherwise ``None``.

    ``is_plain`` is true for such an event."""
    if raw[:6] == b"data: " and raw[-2:] == b"\n\n":  # nearly all events; slices are faster than methods
        data = raw[6:-2]
        return ("", data) if data and _LF not in data and _CR not in data else None
    if len(raw) > SHORT or _CR in raw or (found := _USUAL_EVENT(raw)) is None:
        return None
    return found[1].decode(), found[2]


def parse(raw: bytes) -> tuple[str, bytes] | None:
    """Return the name ("" for none) and the data of one raw event, or ``None`` for comments and events without data.

    Real servers send errors in mid-stream as a bare JSON object or in an ``error:`` field. Both are returned as data
    without a name.
    """
    if (usual := parse_usual(raw)) is not None:
        return usual
    if _is_data_with_crlf(raw):
        return ("", raw[6:-4]) if len(raw) > 10 else None
    if (first := _end_of_name(raw)) > 0 and len(raw) > first + 9:
        return raw[7:first].decode("utf-8", "replace"), raw[first + 7 : -2]
    if not raw.strip(b"\r\n"):
        return None  # thousands of blank lines are one event
    name = ""
    data: list[bytes] = []
    for line in raw.removeprefix(_BOM).splitlines():  # of bytes, only at LF, CR and CRLF
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data" or (field == b"error" and value.startswith(b"{")):
            data.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    if not data and raw.lstrip().startswith(b"{"):
        data.append(raw.strip())
    return (name, b"\n".join(data)) if any(data) else None


def _is_data_with_crlf(raw: bytes) -> bool:
    """Return whether an event is one line of data, and ends with CRLF, as Google's do."""
    if not raw.startswith(b"data: ") or not raw.endswith(b"\r\n\r\n"):
        return False
    return raw.find(b"\n", 6, -4) < 0 and raw.find(b"\r", 6, -4) < 0


def _end_of_name(raw: bytes) -> int:
    """Return the position after the name in an event of two lines, its name and its data, ``-1`` for any other."""
    if not raw.startswith(b"event: ") or not raw.endswith(b"\n\n") or _CR in raw:
        return -1
    end = raw.find(b"\n")
    return end if raw.startswith(b"data: ", end + 1) and raw.find(b"\n", end + 1) == len(raw) - 2 else -1


def without_remarks(raw: bytes, name: str, data: bytes) -> bytes:
    """Return the event ``raw`` without comments, ids and unusual names, which clients ignore.

    ``name`` and ``data`` are its parsed name and data, which recognize most events quickly. A bare JSON object is
    returned unchanged."""
    if name and len(raw) <= SHORT and _CR not in raw and _USUAL_EVENT(raw) is not None:
        return raw
    rest = len(raw) - len(data)  # in most events too short for another line
    if name:
        if rest == len(name) + 16 and raw.startswith(b"event: ") and _EVENT_NAME.fullmatch(raw, 6, 7 + len(name)):
            return raw
    elif raw.startswith(b"data: ") and (rest == 8 or (rest == 10 and raw.endswith(b"\r\n\r\n"))):
        return raw
    lines = raw.removeprefix(_BOM).splitlines(keepends=True)
    if raw.lstrip().startswith(b"{") or all(_is_data_line(line) for line in lines):
        return raw
    kept = [line for line in lines if _is_data_line(line)]
    names = [line for line in lines if _field(line) == b"event"]
    if names and not _is_data_line(names[-1]):  # the last name counts, so that an earlier one must not replace it
        kept = [line for line in kept if _field(line) != b"event"]
    return b"".join(kept)


def _is_data_line(line: bytes) -> bool:
    field, colon, value = line.strip(b"\r\n").partition(b":")
    match field:
        case b"data" | b"error":
            return True
        case b"event":
            return _EVENT_NAME.fullmatch(value) is not None
    return not field and not colon  # the blank line at the end


def _field(line: bytes) -> bytes:
    return line.strip(b"\r\n").partition(b":")[0]


def complete(rest: bytes) -> bytes:
    """Return ``rest``, left by the splitter, as a whole event if it only lacks its blank line.

    Returns a lone line end unchanged and ``b""`` for an incomplete event, or one with too many lines.
    """
    if _has_too_many_lines(rest) or has_more_elements(rest, MAX_ELEMENTS):
        return b""
    if (parsed := parse(rest)) is None:
        return b"" if rest.strip() else rest
    return b"" if is_malformed(parsed[1]) else rest + b"\n\n"


def is_malformed(data: bytes) -> bool:
    """Return whether an event's data is neither JSON nor ``DONE``."""
    if data == DONE:
        return False
    try:
        any_json(data)
    except NOT_JSON:
        return True
    return False


def has_data(raw: bytes) -> bool:
    """Return whether the event has a ``data:`` line; clients ignore events without one."""
    return any(line.startswith(b"data:") for line in raw.splitlines())


def is_plain(raw: bytes, name: str = "", data: bytes = b"") -> bool:
    """Return whether the event, parsed as ``name`` and ``data``, has no ``id:`` and no ``retry:``.

    After either of them, the openai SDK reads comments as events. Data of one line is not searched: it may be large.
    """
    rest = len(raw) - len(data)
    if rest < (len(name) + 18 if name else 11) and raw.startswith((b"data:", b"event:")):
        return True  # too short for another line, as nearly all events are
    if rest < len(data) and _LF not in data and _CR not in data:
        raw = raw[:rest] + raw[-rest:]  # all other lines, and some of the data between them
    return not any(line.startswith((b"id:", b"retry:")) for line in raw.splitlines())


def dump(value: Any) -> bytes:
    """Return ``value`` as compact JSON on one line.

    Escapes U+2028, U+2029 and U+0085, because some clients split lines at them
    (modelcontextprotocol/typescript-sdk#1926). Line ends occur only between the tokens of a ``msgspec.Raw``, such as
    a model's arguments, and become spaces.
    """
    data = msgspec.json.encode(value)
    if _LF in data or _CR in data:
        data = _LINE_END.sub(b" ", data)
    if not data.isascii():
        data = data.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
        data = data.replace(b"\xc2\x85", b"\\u0085")
    return data


def event(name: str, value: Any) -> bytes:
    """Return a named event with ``value`` as its JSON data."""
    return b"event: %b\ndata: %b\n\n" % (name.encode("ascii"), dump(value))


def data(value: Any) -> bytes:
    """Return an event without a name, as in Chat."""
    return b"data: %b\n\n" % dump(value)


class SseEvents:
    """A writer of server-sent events."""

    def event(self, name: str, data: bytes) -> bytes:
        head = b"event: %b\n" % name.encode() if name else b""
        return head + b"".join(b"data: %b\n" % line for line in _LINE_END.split(data)) + b"\n"

    def close(self) -> bytes:
        return b""


_START: Final = re.compile(rb"(?:\xef\xbb\xbf)?[\r\n]*(?:data|event|id|retry)?:")


def begins_stream(start: bytes) -> bool:
    """Return whether a body that begins with ``start`` is a stream of server-sent events, whatever its content type."""
    return _START.match(start) is not None


SSE = Framing(
    media_type="text/event-stream",
    content_type="text/event-stream; charset=utf-8",
    splitter=Splitter,
    parse=parse,
    parse_usual=parse_usual,
    complete=complete,
    writer=SseEvents,
    comment=COMMENT_PING,
    is_plain=is_plain,
    is_seen=has_data,
    begins=begins_stream,
    without_remarks=without_remarks,
)
