"""The two lanes of a stream, pure: provider bytes in, client bytes out, and what was said on the way.

The byte lane forwards the provider's events untouched and reads along; the hub lane reads them and writes the client's.
Both hand out whole events only, so pings and error events always fall on an event boundary.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, assert_never

from providers.errors.failures import last_event
from providers.neutral.codec import Codec, Reader, Writer
from providers.neutral.tool_names import restored
from streams import sse
from streams.errors import GatewayError
from streams.events import (
    CONTENT,
    Api,
    Begin,
    End,
    ErrorInfo,
    Event,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from streams.surrogates import NOT_JSON, any_json

_GOOD_ENDS = ("message_stop", "response.completed", "response.incomplete")

_SAID = (TextDelta, ReasoningDelta, ToolCallDelta, RefusalDelta)
"""What nearly all events are; each is content, or follows it."""

MapError: TypeAlias = Callable[[ErrorInfo], ErrorInfo]
"""What the client is told of a failure: credentials removed, the status mapped."""

NO_NAMES: Mapping[str, str] = {}

Redact: TypeAlias = Callable[[bytes], bytes]
"""An upstream's bytes without credentials."""


def too_large(limit: int) -> ErrorInfo:
    """A whole answer is larger than ``limit`` bytes."""
    return ErrorInfo("upstream", f"the provider's answer is larger than limits.answer allows ({limit} bytes)")


def spoken(event: Event) -> int:
    """Characters of text, thoughts and arguments in ``event``."""
    return len(event.text) if isinstance(event, _SAID) else 0


class StreamProgress:
    """What a stream has said so far, the same for both lanes."""

    __slots__ = ("begin", "committed", "end", "failed", "over", "said", "usage")

    def __init__(self) -> None:
        self.begin = Begin()
        self.committed = False
        self.said = 0  # characters of text, thoughts and arguments
        self.usage: Usage | None = None
        self.end: End | None = None
        self.failed: ErrorInfo | None = None
        self.over = False  # it has ended, well or not

    def see(self, event: Event) -> None:
        if isinstance(event, _SAID):
            self.said += len(event.text)
            self.committed = True
        elif isinstance(event, CONTENT):
            self.committed = True
            if isinstance(event, End):
                self.end, self.over = event, True
        elif isinstance(event, Usage):
            self.usage = event
        elif isinstance(event, Begin):
            self.begin = event
        elif isinstance(event, ErrorInfo):
            self.failed, self.over = event, True

    def take_back(self, failed: ErrorInfo) -> None:
        """The answer is whole, but the client cannot be told so."""
        self.end, self.failed = None, failed


class Lane(Protocol):
    """One stream's way through the gateway. ``feed`` raises ``EventTooLarge``."""

    seen: StreamProgress

    def feed(self, data: bytes) -> bytes:
        """The upstream has sent ``data``: what goes to the client for it."""
        ...

    def end(self, failed: ErrorInfo | None = None) -> bytes:
        """The upstream has ended the body, or ``failed``: what goes to the client last, an error event if the answer
        is not whole. An answer that is whole by its API's own word stays so, whatever became of the connection."""
        ...

    def rest(self) -> bytes:
        """The upstream has ended the body behind a whole answer: what is left of it."""
        ...

    def ping(self) -> bytes:
        """A keep-alive, or nothing where one would do harm."""
        ...


class Translation:
    """The APIs differ, or the form does: read, then written anew."""

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        told: MapError,
        event_limit: int,
        names: Mapping[str, str] = NO_NAMES,
        most: int | None = None,
    ) -> None:
        """``most``: characters that the answer may have, ``None`` where nobody holds it."""
        self.seen = StreamProgress()
        self._most = math.inf if most is None else most
        self._names = names
        self._splitter = sse.Splitter(event_limit)
        self._reader = reader
        self._writer = writer
        self._told = told

    def feed(self, data: bytes) -> bytes:
        return b"".join(map(self._take, self._splitter.feed(data)))

    def end(self, failed: ErrorInfo | None = None) -> bytes:
        out = [self._take(_unfinished(self._splitter))]
        events = self._reader.close()
        if failed is not None:  # says more than the reader, which knows only that something is missing
            events = [*(event for event in events if not isinstance(event, ErrorInfo)), failed]
        return b"".join([*out, *map(self._write, events)])

    def rest(self) -> bytes:
        return b""

    def ping(self) -> bytes:
        return b"" if self.seen.over else self._writer.ping()

    def _take(self, raw: bytes) -> bytes:
        if (parsed := sse.parse(raw)) is None:
            return b""
        events = self._reader.take(*parsed)
        return self._write(events[0]) if len(events) == 1 else b"".join(map(self._write, events))

    def _write(self, event: Event) -> bytes:
        if self.seen.over:
            return b""
        if isinstance(event, ErrorInfo):
            event = self._told(event)
        data = self._writer.send(restored(event, self._names) if self._names else event)
        self.seen.see(event)
        if self.seen.said > self._most and not self.seen.over:
            return data + self._write(too_large(int(self._most)))
        return data


class WholeAnswerTranslation(Translation):
    """The client asked for a stream and the provider answers whole: a stream is made of the finished answer."""

    def __init__(
        self, codec: Codec, writer: Writer, told: MapError, answer_limit: int, names: Mapping[str, str] = NO_NAMES
    ) -> None:
        super().__init__(codec.reader(), writer, told, answer_limit, names)
        self._codec = codec
        self._limit = answer_limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._limit:
            self._parts.clear()
            return self._write(too_large(self._limit))
        return b""

    def end(self, failed: ErrorInfo | None = None) -> bytes:
        if failed is not None:
            return self._write(failed)
        try:
            events = self._codec.read_answer(b"".join(self._parts))
        except GatewayError as error:
            return self._write(error.failed)
        return b"".join(map(self._write, events))


class Passthrough:
    """The APIs agree: events pass as they are. The provider's reader reads along for the ledger and the end."""

    def __init__(
        self, codec: Codec, told: MapError, redact: Redact, event_limit: int, *, hides_usage: bool = False
    ) -> None:
        """``hides_usage``: the client has not asked for the event that holds nothing but token counts."""
        self._hides_usage = hides_usage
        self.seen = StreamProgress()
        self._codec = codec
        self._told = told
        self._redact = redact
        self._splitter = sse.Splitter(event_limit)
        self._reader = codec.reader()
        self._events = 0
        self._plain = True  # no `id:` or `retry:` line yet: comments do no harm
        self._ended = False

    def feed(self, data: bytes) -> bytes:
        return b"".join(map(self._pass, self._splitter.feed(data)))

    def end(self, failed: ErrorInfo | None = None) -> bytes:
        rest = _unfinished(self._splitter)
        out = self._pass(rest + b"\n\n") if rest.strip() else rest
        for event in self._reader.close():
            if not isinstance(event, ErrorInfo):
                self.seen.see(event)
            elif failed is None:
                failed = event
        self._ended = True
        return out if failed is None or self.seen.over else out + self._tell(failed)

    def rest(self) -> bytes:
        """Line ends, such as the LF of a CRLF whose CR was the end of the last event."""
        rest = self._splitter.close()
        return b"" if rest.strip() or self.seen.failed is not None else rest

    def ping(self) -> bytes:
        if self.seen.over:
            return b""
        if self._codec.api == "messages":  # its SDKs skip events by name and have no trouble with comments either
            return sse.event("ping", {"type": "ping"}) if self._events else sse.COMMENT_PING
        return sse.COMMENT_PING if self._plain else b""

    def _pass(self, raw: bytes) -> bytes:
        """Read along; what goes to the client."""
        parsed = sse.parse(raw)
        if self._ended or self.seen.failed is not None:
            return self._redact(raw) if not self._ended and _is_second_word(parsed) else b""
        if parsed is None:
            self._plain = self._plain and sse.is_plain(raw)
            return raw
        name, data = parsed
        if b"id:" in raw or b"retry:" in raw:  # seldom, and then mostly inside the JSON
            self._plain = self._plain and sse.is_plain(raw)
        self._events += 1
        for event in self._reader.take(name, data):
            if isinstance(event, ErrorInfo):
                return self._failed(event, raw, name, data)
            self.seen.see(event)
        return b"" if self._hides_usage and self._codec.is_usage_alone(data) else raw

    def _failed(self, failed: ErrorInfo, raw: bytes, name: str, data: bytes) -> bytes:
        """The reader finds that the answer ends in failure with this event."""
        if _malformed(data) or _is_array(data) or _is_good_end(name, data):  # no error to its parser, or what hides one
            return self._tell(failed)
        raw = self._redact(raw)
        if _is_known_error(self._codec.api, raw, name, data):
            self.seen.see(self._told(failed))
            return raw
        return raw + self._tell(failed)

    def _tell(self, failed: ErrorInfo) -> bytes:
        self.seen.see(told := self._told(failed))
        return last_event(self._codec.api, told, self.seen.begin, self._events)


def _is_good_end(name: str, data: bytes) -> bool:
    """Whether a client takes the event for the end of a good answer, and reads no further."""
    return data.startswith(b"[DONE]") or (name or _member(data, "type")) in _GOOD_ENDS


def _is_second_word(parsed: tuple[str, bytes] | None) -> bool:
    """Whether an event behind an error says the same again: OpenAI sends ``error``, then the ``response.failed`` that
    Codex waits for. Nothing else passes there: a failed answer never looks complete (vLLM sends ``[DONE]`` after its
    error, BerriAI/litellm#40578)."""
    return parsed is not None and (parsed[0] or _member(parsed[1], "type")) == "response.failed"


def _is_known_error(api: Api, raw: bytes, name: str, data: bytes) -> bool:
    """Whether the SDKs of ``api`` raise for this event. The readers know errors in more shapes than they do."""
    if not any(line.startswith(b"data:") for line in raw.splitlines()):
        return False
    match api:
        case "chat":
            return bool(_member(data, "error"))
        case "messages":
            return name == "error"
        case "responses":
            return bool(_member(data, "error")) or _member(data, "type") in ("error", "response.failed")
        case _:
            assert_never(api)


def _member(data: bytes, name: str) -> Any:
    try:
        value = any_json(data)
    except NOT_JSON:
        return None
    return value.get(name) if isinstance(value, dict) else None


def _is_array(data: bytes) -> bool:
    return data.startswith(b"[") and not data.startswith(b"[DONE]")


def _malformed(data: bytes) -> bool:
    if data == b"[DONE]":
        return False
    try:
        any_json(data)
    except NOT_JSON:
        return True
    return False


def _unfinished(splitter: sse.Splitter) -> bytes:
    """An event at the end of the stream that lacks nothing but its blank line, or what is left of one (the LF of a CRLF
    that came in two reads); nothing if it is only half there."""
    rest = splitter.close()
    parsed = sse.parse(rest)
    whole = not _malformed(parsed[1]) if parsed is not None else not rest.strip()
    return rest if whole else b""
