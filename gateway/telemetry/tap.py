"""Wrappers of a lane: one that stores a transcript, and one for listeners, present only while someone listens."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from gateway.features.live_view.transcripts import Transcript
from gateway.seams.observe import HasLane
from gateway.streaming.lane import Lane
from streams.events import ErrorInfo
from streams.framing import FramingError

log = logging.getLogger("trigate")

LONGEST_NOTE: Final = 1000
"""Characters stored of how a stream broke off: a provider may send a long message."""

WAITING: Final = 512 * 1024
"""Bytes that wait to be reported; beyond it, bytes are left out."""

LARGEST: Final = 2**20
"""Bytes up to which an event is reported as one; a larger one is reported in the pieces in which it arrives."""


class ExchangeTracer:
    """Traces the exchanges of a process. ``is_active`` is false for the tracer that does nothing."""

    is_active = False

    def use_groups(self, group_of: Callable[[str | None], str | None]) -> None:
        """Use the groups of clients that ``group_of`` returns, from now on."""

    async def aclose(self) -> None:
        """Send the remaining spans if that does not take long."""


class Transcribed:
    """A lane that stores its stream in ``transcript``; if it ``waits``, only after it was selected."""

    def __init__(self, lane: Lane, transcript: Transcript, *, waits: bool = False) -> None:
        self.lane = lane
        self.progress = lane.progress
        self.source = lane.source
        self.transcript = transcript
        self._waiting: list[tuple[bytes, bytes, str | None]] | None = [] if waits else None
        self._size = 0
        if not waits:
            transcript.source = self.source

    def feed(self, data: bytes) -> bytes:
        out = self.lane.feed(data)
        if self._waiting is None and not self.source.is_internal:
            self.transcript.add(data, out)
        else:
            self._add(b"" if self.source.is_internal else data, out)
        return out

    def end(self, error: ErrorInfo | None = None) -> bytes:
        out = self.lane.end(error)
        self._add(b"", out, "" if error is None else error.message[:LONGEST_NOTE])
        return out

    def trailing_bytes(self) -> bytes:
        return self.lane.trailing_bytes()

    def ping(self) -> bytes:
        out = self.lane.ping()
        self._add(b"", out)
        return out

    def end_wait(self) -> None:
        """Store the bytes so far and all later ones, because this lane was selected."""
        waiting, self._waiting = self._waiting or (), None
        self.transcript.source = self.source
        for received, sent, note in waiting:
            self._add(received, sent, note)

    def _add(self, received: bytes, sent: bytes, note: str | None = None) -> None:
        if self._waiting is not None:
            self._size += len(received) + len(sent)
            if self._size <= WAITING:
                self._waiting.append((received, sent, note))
            else:
                self.transcript.left_out += len(received) + len(sent)
            return
        if note is not None:
            self.transcript.note = note
        if received or sent:
            self.transcript.add(received, sent)


class StreamListener(Protocol):
    """Receives everything that passes. Called within the stream, so it must be fast and never wait."""

    def observe(self, received: bytes, sent: bytes, note: str = "") -> None:
        """Handle the bytes ``received`` from the provider, one event if possible, and those ``sent`` to the client for
        them. Either may be empty. ``note`` is the provider's error, if its stream broke off."""
        ...


class ObservedLane:
    """A lane with listeners.

    The stream's bytes are those of the inner lane, whatever ``listeners`` do. A lane that ``waits`` reports only after
    it was selected."""

    def __init__(self, lane: Lane, listeners: list[StreamListener] | None = None, *, waits: bool = False) -> None:
        self.lane = lane
        self.progress = lane.progress
        self.source = lane.source
        self.listeners = [] if listeners is None else listeners
        self._waiting: list[tuple[bytes, bytes, str]] | None = [] if waits else None
        self._size = 0
        self._splitter = self.source.splitter(LARGEST)
        self._held = 0  # bytes of an event that the lane already has and the splitter still holds

    def feed(self, data: bytes) -> bytes:
        return b"".join([self._feed_part(part, received) for part, received in self._split_at_events(data)])

    def end(self, error: ErrorInfo | None = None) -> bytes:
        rest = self._splitter.close()
        self._held = 0
        out = self.lane.end(error)
        if rest or out or error is not None:
            self._report(rest, out, "" if error is None else error.message)
        return out

    def trailing_bytes(self) -> bytes:
        return self.lane.trailing_bytes()

    def ping(self) -> bytes:
        if out := self.lane.ping():
            self._report(b"", out)
        return out

    def end_wait(self) -> None:
        """Report the bytes so far and all later ones, because this lane was selected."""
        waiting, self._waiting = self._waiting or (), None
        for received, sent, note in waiting:
            self._report(received, sent, note)

    def catch_up(self, received: bytes, sent: bytes) -> None:
        """Report what passed through the inner lane before this one wrapped it."""
        try:
            events = self._splitter.feed(received)
        except FramingError:
            self._splitter, self._held, events = self.source.splitter(LARGEST), 0, []
        self._held += len(received) - sum(map(len, events))
        self._report(b"".join(events), sent)

    def _feed_part(self, part: bytes, received: bytes) -> bytes:
        out = self.lane.feed(part)
        if received or out:
            self._report(received, out)
        return out

    def _split_at_events(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield ``data`` in parts that end where events end, each with the event that it completes.

        The lane receives all bytes together, because it has limits of its own."""
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

    def _report(self, received: bytes, sent: bytes, note: str = "") -> None:
        if self.source.is_internal:
            received = b""
        if self._waiting is not None:
            self._size += len(received) + len(sent)
            if self._size <= WAITING:
                self._waiting.append((received, sent, note))
            return
        for listener in tuple(self.listeners):
            try:
                listener.observe(received, sent, note)
            except Exception:  # the boundary: a listener's error must not end the stream
                log.exception("a recorder or viewer of a stream failed and receives no more of its events")
                self.listeners.remove(listener)


def listen(stream: HasLane, listener: StreamListener) -> None:
    """Report everything from now on to ``listener``."""
    if not isinstance(stream.lane, ObservedLane):
        stream.lane = ObservedLane(stream.lane)
    stream.lane.listeners.append(listener)


def unlisten(stream: HasLane, listener: StreamListener) -> None:
    """Stop reporting to ``listener``. The stream continues as without it."""
    tapped = stream.lane
    if isinstance(tapped, ObservedLane) and listener in tapped.listeners:
        tapped.listeners.remove(listener)
        if not tapped.listeners:
            stream.lane = tapped.lane


def transcribe(stream: HasLane, transcript: Transcript) -> None:
    """Store everything that passes. Call this before anyone listens."""
    stream.lane = Transcribed(stream.lane, transcript)


def with_waiting_observers(around: Lane, lane: Lane) -> Lane:
    """Return ``lane`` with the observers of ``around``, which receive its bytes only if it is selected."""
    if isinstance(around, ObservedLane):
        return ObservedLane(with_waiting_observers(around.lane, lane), around.listeners, waits=True)
    if isinstance(around, Transcribed):
        return Transcribed(lane, around.transcript, waits=True)
    return lane


def with_late_listeners(around: Lane, lane: Lane, passed: Iterable[tuple[bytes, bytes]]) -> Lane:
    """Return ``lane`` with the listeners that ``around`` gained while ``lane`` ran, and report ``passed`` to them.

    ``passed`` are the bytes of the provider and of the client so far. The listeners wait until ``lane`` is selected."""
    if not isinstance(around, ObservedLane) or isinstance(lane, ObservedLane):
        return lane
    late = ObservedLane(lane, around.listeners, waits=True)
    for received, sent in passed:
        late.catch_up(received, sent)
    return late


def with_current_observers(around: Lane, lane: Lane) -> Lane:
    """Return the selected ``lane`` with the current observers of ``around``, which it replaces.

    ``lane`` comes from ``with_waiting_observers``, or has received nothing yet."""
    inner = lane.lane if isinstance(lane, ObservedLane) else lane
    if isinstance(around, ObservedLane):
        inner = with_current_observers(around.lane, inner)
        if not isinstance(lane, ObservedLane):
            return ObservedLane(inner, around.listeners)
        lane.lane = inner
        lane.end_wait()
        return lane
    if isinstance(around, Transcribed) and not isinstance(inner, Transcribed):
        return Transcribed(inner, around.transcript)
    if isinstance(inner, Transcribed):
        inner.end_wait()
    return inner
