"""Lanes around a lane: one that takes down what passes, and one through which somebody listens, put in only while
somebody does."""

import logging
from collections.abc import Iterator
from typing import Final, Protocol

from gateway.streaming.lane import Lane
from gateway.telemetry.transcripts import Transcript
from streams.events import ErrorInfo
from streams.framing import FramingError

log = logging.getLogger("trigate")

LONGEST_NOTE: Final = 1000
"""Characters of what is kept of how a stream broke off: a provider may have said much."""

LARGEST: Final = 2**20
"""Bytes up to which an event is told as one; a larger one is told in the pieces that it comes in."""


class HasLane(Protocol):
    """A stream whose lane can be changed."""

    lane: Lane


class Transcribed:
    """A lane whose stream is taken down in ``transcript``."""

    def __init__(self, lane: Lane, transcript: Transcript) -> None:
        self.lane = lane
        self.seen = lane.seen
        self.source = lane.source
        self._transcript = transcript
        transcript.source = self.source

    def feed(self, data: bytes) -> bytes:
        out = self.lane.feed(data)
        self._transcript.add(data, out)
        return out

    def end(self, failed: ErrorInfo | None = None) -> bytes:
        out = self.lane.end(failed)
        self._transcript.note = "" if failed is None else failed.message[:LONGEST_NOTE]
        if out:
            self._transcript.add(b"", out)
        return out

    def rest(self) -> bytes:
        return self.lane.rest()

    def ping(self) -> bytes:
        if out := self.lane.ping():
            self._transcript.add(b"", out)
        return out

    def carry(self, lane: Lane) -> None:
        """Take down ``lane`` in place of the one inside, of which nothing has been asked yet."""
        self.lane, self.seen, self.source = lane, lane.seen, lane.source
        self._transcript.source = self.source


class StreamListener(Protocol):
    """Hears what passes. Called in the stream's way: it must be quick, and never wait."""

    def passed(self, came: bytes, went: bytes, note: str = "") -> None:
        """``went`` to the client for what ``came`` from the provider, an event where it can be told; either may be
        empty. ``note`` says how the provider's side broke off."""
        ...


class ObservedLane:
    """A lane whose stream is listened to. The stream's bytes are those of the lane inside, whatever listeners do."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.seen = lane.seen
        self.source = lane.source
        self.listeners: list[StreamListener] = []
        self._splitter = self.source.splitter(LARGEST)
        self._held = 0  # bytes of an event that the lane has already and the splitter waits with

    def feed(self, data: bytes) -> bytes:
        return b"".join([self._fed(part, came) for part, came in self._parts(data)])

    def end(self, failed: ErrorInfo | None = None) -> bytes:
        rest = self._splitter.close()
        self._held = 0
        out = self.lane.end(failed)
        if rest or out or failed is not None:
            self._tell(rest, out, "" if failed is None else failed.message)
        return out

    def rest(self) -> bytes:
        return self.lane.rest()

    def ping(self) -> bytes:
        if out := self.lane.ping():
            self._tell(b"", out)
        return out

    def carry(self, lane: Lane) -> None:
        """Listen to ``lane`` in place of the one inside, of which nothing has been asked yet."""
        self.lane, self.seen, self.source = with_lane(self.lane, lane), lane.seen, lane.source
        self._splitter = self.source.splitter(LARGEST)

    def _fed(self, part: bytes, came: bytes) -> bytes:
        out = self.lane.feed(part)
        if came or out:
            self._tell(came, out)
        return out

    def _parts(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """``data`` cut where events end, and the event that each part completes. Nothing is kept back from the lane,
        which has limits of its own."""
        try:
            events = self._splitter.feed(data)
        except FramingError:
            rest, self._splitter, self._held = self._splitter.close(), self.source.splitter(LARGEST), 0
            yield data, rest + data
            return
        start = 0
        for event in events:
            end = start + len(event) - self._held
            yield data[start:end], event
            start, self._held = end, 0
        if start < len(data):
            self._held += len(data) - start
            yield data[start:], b""

    def _tell(self, came: bytes, went: bytes, note: str = "") -> None:
        for listener in tuple(self.listeners):
            try:
                listener.passed(came, went, note)
            except Exception:  # the border: a listener's mistake must not end the stream
                log.exception("a listener failed, and is told no more")
                self.listeners.remove(listener)


def listen(stream: HasLane, listener: StreamListener) -> None:
    """Tell ``listener`` all that passes from now on."""
    if not isinstance(stream.lane, ObservedLane):
        stream.lane = ObservedLane(stream.lane)
    stream.lane.listeners.append(listener)


def unlisten(stream: HasLane, listener: StreamListener) -> None:
    """Tell it no more. The stream goes on as if nobody had listened."""
    tapped = stream.lane
    if isinstance(tapped, ObservedLane) and listener in tapped.listeners:
        tapped.listeners.remove(listener)
        if not tapped.listeners:
            stream.lane = tapped.lane


def transcribe(stream: HasLane, transcript: Transcript) -> None:
    """Take down all that passes. Before anybody listens."""
    stream.lane = Transcribed(stream.lane, transcript)


def with_lane(around: Lane, lane: Lane) -> Lane:
    """Put ``lane``, which has not been fed yet, in place of the lane inside ``around``, and keep whoever listens or
    takes down."""
    if isinstance(around, ObservedLane | Transcribed):
        around.carry(lane)
        return around
    return lane
