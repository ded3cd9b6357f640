"""The two lanes of a stream, pure: provider bytes in, client bytes out, and what was said on the way.

The byte lane forwards the provider's events untouched and reads along; the hub lane reads them and writes the client's.
Both hand out whole events only, so pings and error events always fall on an event boundary.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

import msgspec

from providers.codec import Codec, Reader, Writer
from providers.failures import last_event
from streams import sse
from streams.errors import GatewayError
from streams.events import CONTENT, Begin, End, Event, Failed, Usage

Told: TypeAlias = Callable[[Failed], Failed]
"""What the client is told of a failure: credentials removed, the status mapped."""


class Seen:
    """What a stream has said so far, the same for both lanes. ``ours`` is a failure that the client was not told yet
    by the upstream's own events."""

    __slots__ = ("begin", "committed", "end", "failed", "usage")

    def __init__(self) -> None:
        self.begin = Begin()
        self.committed = False
        self.usage: Usage | None = None
        self.end: End | None = None
        self.failed: Failed | None = None

    def see(self, event: Event) -> None:
        if isinstance(event, CONTENT):
            self.committed = True
            if isinstance(event, End):
                self.end = event
        elif isinstance(event, Usage):
            self.usage = event
        elif isinstance(event, Begin):
            self.begin = event
        elif isinstance(event, Failed):
            self.failed = event

    @property
    def over(self) -> bool:
        return self.end is not None or self.failed is not None


class Lane(Protocol):
    """One stream's way through the gateway. ``feed`` raises ``EventTooLarge``."""

    seen: Seen

    def feed(self, data: bytes) -> bytes:
        """The upstream has sent ``data``: what goes to the client for it."""
        ...

    def close(self) -> bytes:
        """The upstream has ended the body: what goes to the client last, an error event if the answer is not whole."""
        ...

    def fail(self, failed: Failed) -> bytes:
        """The upstream has failed: the error event for the client, nothing if it has been told already."""
        ...

    def ping(self) -> bytes:
        """A keep-alive, or nothing where one would do harm."""
        ...


class HubLane:
    """The APIs differ, or the form does: read, then written anew."""

    def __init__(self, reader: Reader, writer: Writer, told: Told, event_limit: int) -> None:
        self.seen = Seen()
        self._splitter = sse.Splitter(event_limit)
        self._reader = reader
        self._writer = writer
        self._told = told

    def feed(self, data: bytes) -> bytes:
        out: list[bytes] = []
        for raw in self._splitter.feed(data):
            if (parsed := sse.parse(raw)) is not None:
                out.extend(map(self._write, self._reader.take(*parsed)))
        return b"".join(out)

    def close(self) -> bytes:
        out = b""
        if (parsed := sse.parse(self._splitter.close())) is not None:
            out = b"".join(self._write(event) for event in self._reader.take(*parsed))
        return out + b"".join(self._write(event) for event in self._reader.close())

    def fail(self, failed: Failed) -> bytes:
        return self._write(failed)

    def ping(self) -> bytes:
        return b"" if self.seen.over else self._writer.ping()

    def _write(self, event: Event) -> bytes:
        if self.seen.over:
            return b""
        if isinstance(event, Failed):
            event = self._told(event)
        self.seen.see(event)
        return self._writer.send(event)


class WholeLane(HubLane):
    """The client asked for a stream and the provider answers whole: a stream is made of the finished answer."""

    def __init__(self, codec: Codec, writer: Writer, told: Told, answer_limit: int) -> None:
        super().__init__(codec.reader(), writer, told, answer_limit)
        self._codec = codec
        self._limit = answer_limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> bytes:
        self._parts.append(data)
        self._size += len(data)
        if self._size > self._limit:
            return self.fail(Failed("upstream", f"the provider's answer is larger than {self._limit} bytes"))
        return b""

    def close(self) -> bytes:
        try:
            events = self._codec.read_answer(b"".join(self._parts))
        except GatewayError as error:
            return self.fail(error.failed)
        return b"".join(map(self._write, events))


class ByteLane:
    """The APIs agree: events pass as they are. The provider's reader reads along for the ledger and the end."""

    def __init__(self, codec: Codec, told: Told, event_limit: int) -> None:
        self.seen = Seen()
        self._codec = codec
        self._told = told
        self._splitter = sse.Splitter(event_limit)
        self._reader = codec.reader()
        self._events = 0
        self._plain = True  # no `id:` or `retry:` line yet: comments do no harm (B105a)

    def feed(self, data: bytes) -> bytes:
        return b"".join([raw for raw in self._splitter.feed(data) if self._look(raw)])

    def close(self) -> bytes:
        rest = self._splitter.close()
        out = b""
        if rest and sse.parse(rest) is not None and not _cut(rest):
            out = rest + b"\n\n" if self._look(rest) else b""
        for event in self._reader.close():
            if isinstance(event, Failed):
                return out + self.fail(event)
            self.seen.see(event)
        return out

    def fail(self, failed: Failed) -> bytes:
        if self.seen.over:
            return b""
        self.seen.failed = failed = self._told(failed)
        return last_event(self._codec.api, failed, self.seen.begin.id, self._events)

    def ping(self) -> bytes:
        if self.seen.over:
            return b""
        if self._codec.api == "messages":  # its SDKs skip events by name and have no trouble with comments either
            return sse.event("ping", {"type": "ping"}) if self._events else sse.COMMENT_PING
        return sse.COMMENT_PING if self._plain else b""

    def _look(self, raw: bytes) -> bool:
        """Read along; whether the event goes to the client."""
        parsed = sse.parse(raw)
        if parsed is None:
            self._plain = self._plain and sse.is_plain(raw)
            return True
        name, data = parsed
        if self.seen.failed is not None:  # a failed answer never looks complete (vLLM sends [DONE] after its error)
            return data != b"[DONE]"
        if b"id:" in raw or b"retry:" in raw:  # seldom, and then mostly inside the JSON
            self._plain = self._plain and sse.is_plain(raw)
        for event in self._reader.take(name, data):
            if isinstance(event, Failed) and self.seen.committed and _malformed(data):
                # One event that is no JSON in an otherwise good stream: the client's parser decides, as it would
                # without us (BerriAI/litellm#40404).
                self._reader = self._codec.reader()
                break
            self.seen.see(self._told(event) if isinstance(event, Failed) else event)
        self._events += 1
        return True


def _malformed(data: bytes) -> bool:
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return True
    return False


def _cut(raw: bytes) -> bool:
    """Whether an event without its blank line is only half there."""
    parsed = sse.parse(raw)
    return parsed is not None and parsed[1] != b"[DONE]" and _malformed(parsed[1])
