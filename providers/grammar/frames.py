"""Rules for the framing of server-sent events, checked on the bytes of each event (WHATWG HTML 9.2.6 and clients'
behaviour)."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from providers.grammar.rules import Finding, FrameFormat, ReadEvent, Rule
from providers.grammar.shapes import parse_object, show
from streams.framing import EventTooLarge
from streams.sse import Splitter

DONE = "[DONE]"

SDK = "openai Python parses every event that an id:, a retry: or a blank line without data ends, as JSON"

FRAME_RULES: tuple[Rule, ...] = (
    Rule("frame.blank_line", "every event ends with a blank line", "WHATWG HTML 9.2.6", "Anthropic, as recorded"),
    Rule("frame.fields", "a line is a comment, or begins with event: or data:", "WHATWG HTML 9.2.6", "GPUStack"),
    Rule("frame.data", "an event that is no comment has data", SDK),
    Rule("frame.one_line", "the data of an event is one line", "the APIs' references: one JSON value per data line"),
    Rule("frame.order", "event: comes before data:", "the APIs' references", "Responses over bedrock-mantle"),
    Rule("frame.json", "the data is a JSON object in UTF-8", "the APIs' references"),
    Rule(
        "frame.separators",
        "U+2028, U+2029 and U+0085 are escaped",
        "modelcontextprotocol/typescript-sdk#1926",
        "all: it binds what is written anew",
    ),
)
NO_ID = Rule("frame.id", "there is no id: or retry: line", SDK)

_LINE_END = re.compile(rb"\r\n|\n|\r")
_SEPARATORS = re.compile("[\u2028\u2029\u0085]")
_BOM = b"\xef\xbb\xbf"
_FIELDS = (b"event", b"data", b"id", b"retry")


@attrs.frozen
class Frame:
    """A parsed event. ``fields`` are the names and values of its lines in order, without comments."""

    fields: Sequence[tuple[bytes, bytes]]
    ended: bool

    @classmethod
    def of(cls, raw: bytes) -> "Frame":
        lines = _LINE_END.split(raw.removeprefix(_BOM))
        ended = len(lines) > 2 and lines[-2:] == [b"", b""]
        pairs = [line.partition(b":") for line in lines if line and not line.startswith(b":")]
        return cls([(name, value.removeprefix(b" ")) for name, _, value in pairs], ended)

    def values(self, field: bytes) -> list[bytes]:
        return [value for name, value in self.fields if name == field]

    @property
    def name(self) -> str | None:
        """The value of the last ``event:`` line, as SSE defines it."""
        names = self.values(b"event")
        return names[-1].decode("utf-8", "replace") if names else None

    @property
    def text(self) -> bytes:
        return b"\n".join(self.values(b"data"))

    @property
    def value(self) -> Any:
        """The data as a JSON object or the string ``[DONE]``, else ``None``."""
        return DONE if self.text == DONE.encode() else parse_object(self.text)


def _split_events(body: bytes) -> list[bytes]:
    """Return the raw events of a stream; the last one may lack its blank line."""
    splitter = Splitter(limit=len(body) + 1)
    try:
        events = splitter.feed(body)
    except EventTooLarge:  # impossible: the limit is the whole body
        return [body]
    rest = splitter.close()
    return [*events, rest] if rest else events


def _read_event(raw: bytes) -> ReadEvent:
    """Return one event; a comment has no value."""
    if raw.startswith(b"data: {") and raw.endswith(b"\n\n") and raw.count(b"\n") == 2 and b"\r" not in raw:
        value = parse_object(raw[6:-2])  # one line of data, as in nearly all events
        return ReadEvent(None, value, tuple(_check_text(raw[6:-2], value)))
    frame = Frame.of(raw)
    value = frame.value if frame.fields else None
    return ReadEvent(frame.name, value, tuple(check_frame(frame, value)))


def check_frame(frame: Frame, value: Any) -> Iterator[Finding]:
    """Yield the errors in the framing of ``frame``, whose data is ``value``."""
    names = [name for name, _ in frame.fields]
    if names and not frame.ended:
        yield "frame.blank_line", "the stream ends inside an event, or right after its last line"
    for name in names:
        if name not in _FIELDS:
            yield "frame.fields", f"a line that begins {show(name[:40].decode('utf-8', 'replace'))}"
        elif name in (b"id", b"retry"):
            yield "frame.id", f"a line that begins {name.decode()}:"
    if names and not any(frame.values(b"data")):
        yield "frame.data", "an event without data"
        return
    if names.count(b"data") > 1:
        yield "frame.one_line", f"{names.count(b'data')} lines of data"
    if b"event" in names and names.index(b"event") > names.index(b"data"):
        yield "frame.order", "the event: line stands below the data"
    if names:
        yield from _check_text(frame.text, value)


def _check_text(data: bytes, value: Any) -> Iterator[Finding]:
    if value is None:
        yield "frame.json", f"data that begins {show(data[:40].decode('utf-8', 'replace'))}"
    if not data.isascii() and (found := _SEPARATORS.search(data.decode("utf-8", "replace"))):
        yield "frame.separators", f"U+{ord(found[0]):04X} in the data"


SSE_FRAMES = FrameFormat(_split_events, _read_event)
