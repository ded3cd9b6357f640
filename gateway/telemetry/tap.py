"""Lanes around a lane: one that takes down what passes, and one through which somebody listens, put in only while
somebody does."""

import logging
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from gateway.streaming.lane import Lane
from gateway.telemetry.transcripts import Transcript
from streams.events import ErrorInfo
from streams.framing import FramingError

log = logging.getLogger("trigate")

LONGEST_NOTE: Final = 1000
"""Characters of what is kept of how a stream broke off: a provider may have said much."""

WAITING: Final = 512 * 1024
"""Bytes of what passed that wait to be told: beyond this what comes is left out."""

LARGEST: Final = 2**20
"""Bytes up to which an event is told as one; a larger one is told in the pieces that it comes in."""


class HasLane(Protocol):
    """A stream whose lane can be changed."""

    lane: Lane


class Transcribed:
    """A lane whose stream is taken down in ``transcript``; of one that ``waits``, once it is carried."""

    def __init__(self, lane: Lane, transcript: Transcript, *, waits: bool = False) -> None:
        self.lane = lane
        self.seen = lane.seen
        self.source = lane.source
        self.transcript = transcript
        self._waiting: list[tuple[bytes, bytes, str | None]] | None = [] if waits else None
        self._size = 0
        if not waits:
            transcript.source = self.source

    def feed(self, data: bytes) -> bytes:
        out = self.lane.feed(data)
        self._add(data, out)
        return out

    def end(self, failed: ErrorInfo | None = None) -> bytes:
        out = self.lane.end(failed)
        self._add(b"", out, "" if failed is None else failed.message[:LONGEST_NOTE])
        return out

    def rest(self) -> bytes:
        return self.lane.rest()

    def ping(self) -> bytes:
        out = self.lane.ping()
        self._add(b"", out)
        return out

    def wait_no_more(self) -> None:
        """Take down what has passed, and what passes from now on."""
        waiting, self._waiting = self._waiting or (), None
        self.transcript.source = self.source
        for came, went, note in waiting:
            self._add(came, went, note)

    def _add(self, came: bytes, went: bytes, note: str | None = None) -> None:
        if self._waiting is not None:
            self._size += len(came) + len(went)
            if self._size <= WAITING:
                self._waiting.append((came, went, note))
            else:
                self.transcript.left_out += len(came) + len(went)
            return
        if note is not None:
            self.transcript.note = note
        if came or went:
            self.transcript.add(came, went)


class StreamListener(Protocol):
    """Hears what passes. Called in the stream's way: it must be quick, and never wait."""

    def passed(self, came: bytes, went: bytes, note: str = "") -> None:
        """``went`` to the client for what ``came`` from the provider, an event where it can be told; either may be
        empty. ``note`` says how the provider's side broke off."""
        ...


class ObservedLane:
    """A lane whose stream is listened to. The stream's bytes are those of the lane inside, whatever ``listeners`` do.
    What passes in one that ``waits`` is told once it is carried."""

    def __init__(self, lane: Lane, listeners: list[StreamListener] | None = None, *, waits: bool = False) -> None:
        self.lane = lane
        self.seen = lane.seen
        self.source = lane.source
        self.listeners = [] if listeners is None else listeners
        self._waiting: list[tuple[bytes, bytes, str]] | None = [] if waits else None
        self._size = 0
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

    def wait_no_more(self) -> None:
        """Tell what has passed, and what passes from now on."""
        waiting, self._waiting = self._waiting or (), None
        for came, went, note in waiting:
            self._tell(came, went, note)

    def catch_up(self, came: bytes, went: bytes) -> None:
        """Tell of what has passed in the lane inside before this one was put around it."""
        try:
            events = self._splitter.feed(came)
        except FramingError:
            self._splitter, self._held, events = self.source.splitter(LARGEST), 0, []
        self._held += len(came) - sum(map(len, events))
        self._tell(b"".join(events), went)

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
        if self._waiting is not None:
            self._size += len(came) + len(went)
            if self._size <= WAITING:
                self._waiting.append((came, went, note))
            return
        for listener in tuple(self.listeners):
            try:
                listener.passed(came, went, note)
            except Exception:  # the border: a listener's mistake must not end the stream
                log.exception("a listener failed and gets no more events")
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


def beside(around: Lane, lane: Lane) -> Lane:
    """Return ``lane`` so that whoever listens to ``around``, or takes it down, hears of it once it is carried in its
    place: ``lane`` may come to nothing."""
    if isinstance(around, ObservedLane):
        return ObservedLane(beside(around.lane, lane), around.listeners, waits=True)
    if isinstance(around, Transcribed):
        return Transcribed(lane, around.transcript, waits=True)
    return lane


def caught_up(around: Lane, lane: Lane, passed: Iterable[tuple[bytes, bytes]]) -> Lane:
    """Return ``lane``, in which ``passed`` has passed, so that those hear of that who began to listen to ``around``
    meanwhile."""
    if not isinstance(around, ObservedLane) or isinstance(lane, ObservedLane):
        return lane
    late = ObservedLane(lane, around.listeners, waits=True)
    for came, went in passed:
        late.catch_up(came, went)
    return late


def carried(around: Lane, lane: Lane) -> Lane:
    """Return ``lane`` in place of ``around``, with those who listen or take down by now. It comes from ``beside``, or
    has not been fed yet."""
    inner = lane.lane if isinstance(lane, ObservedLane) else lane
    if isinstance(around, ObservedLane):
        inner = carried(around.lane, inner)
        if not isinstance(lane, ObservedLane):
            return ObservedLane(inner, around.listeners)
        lane.lane = inner
        lane.wait_no_more()
        return lane
    if isinstance(around, Transcribed) and not isinstance(inner, Transcribed):
        return Transcribed(inner, around.transcript)
    if isinstance(inner, Transcribed):
        inner.wait_no_more()
    return inner
