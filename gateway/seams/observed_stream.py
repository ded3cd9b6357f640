"""The public bytes of a stream, for what observes it."""

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from gateway.http.redaction import Secrets
from gateway.streaming.lane import Lane, StreamProgress
from streams.framing import EventSplitter, Framing, FramingError
from streams.handoff import Handoff
from streams.pipe import Chunk

log = logging.getLogger("trigate")

_FAILED: Final = "a recorder or viewer of a stream failed and receives no more of its events"

LARGEST: Final = 2**20
"""Bytes up to which an event is reported as one; a larger one is reported in the pieces in which it arrives."""


class StreamListener(Protocol):
    """Learns what passes through a stream, with every chunk of the provider or with each event."""

    def observe(self, received: bytes, public: bytes, note: str = "") -> None:
        """Handle the bytes ``received`` from the provider, and the ``public`` ones for the client. Either may be empty.
        ``note`` is the provider's error, if its stream broke off."""


class PublicStream(Protocol):
    """The part of a stream that observers may use.

    ``secrets`` returns those that the provider may repeat; it refers to nothing of the request. ``identity`` is that of
    the request to the provider, ``None`` before its response begins."""

    secrets: Callable[[], Secrets]
    identity: object

    @property
    def progress(self) -> StreamProgress:
        """The progress of the response."""

    @property
    def is_blocked(self) -> bool:
        """Whether the client is slow."""

    @property
    def source(self) -> Framing:
        """The framing of the provider's bytes."""

    def listen(self, listener: StreamListener, *, by_event: bool = False) -> None:
        """Report everything from now on to ``listener``, with ``by_event`` event by event if that is possible."""

    def unlisten(self, listener: StreamListener) -> None:
        """Stop reporting to ``listener``."""


class ObservedStream(PublicStream):
    """The public bytes of one stream to a client, for listeners.

    It has no bytes of an attempt that did not become the response."""

    _chunks: Handoff[Chunk] | None = None
    identity: object = None
    _splitter: EventSplitter
    """Finds the events of the stream. Set with the first viewer."""

    def __init__(self, lane: Lane, secrets: Callable[[], Secrets] = tuple) -> None:
        self.secrets = secrets
        self.is_hidden = False
        self.listeners: list[StreamListener] = []
        self._viewers: list[StreamListener] = []  # of each event
        self._lane = lane
        self._held = 0  # bytes of an event that the lane already has and the splitter still holds

    @property
    def progress(self) -> StreamProgress:
        return self._lane.progress

    @property
    def is_blocked(self) -> bool:
        return self._chunks is not None and self._chunks.is_blocked

    @property
    def source(self) -> Framing:
        return self._lane.source

    def listen(self, listener: StreamListener, *, by_event: bool = False) -> None:
        if self.is_hidden:
            return
        self.listeners.append(listener)
        if by_event:
            if not self._viewers:
                self._splitter, self._held = self.source.splitter(LARGEST), 0
            self._viewers.append(listener)

    def unlisten(self, listener: StreamListener) -> None:
        for listeners in (self.listeners, self._viewers):
            if listener in listeners:
                listeners.remove(listener)

    # For the kernel

    def follow(self, chunks: Handoff[Chunk]) -> None:
        """Follow the channel of the provider's bytes, which is blocked if the client is slow."""
        self._chunks = chunks

    def use_lane(self, lane: Lane, passed: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Continue with ``lane``, which has become the response. ``passed`` are the provider's and the client's bytes
        in it so far."""
        if self._viewers and lane.source is not self.source:
            self._splitter, self._held = lane.source.splitter(LARGEST), 0
        self._lane = lane
        if self.listeners:
            for received, public in passed:
                self._catch_up(received, public)

    def feed(self, data: bytes) -> bytes:
        """Return the client's bytes for ``data`` of the provider, and report both."""
        if self._viewers:
            out = b"".join([self._feed_part(part, event) for part, event in self._split_at_events(data)])
            self._report(self._keepers, data, out)
            return out
        lane = self._lane  # as for nearly all events: without a call that none needs
        out = lane.feed(data)
        received = b"" if lane.source.is_internal else data
        for listener in [*self.listeners]:
            try:
                listener.observe(received, out)
            except Exception:  # the boundary, as in ``_report``
                log.exception(_FAILED)
                self.unlisten(listener)
        return out

    def note_end(self, out: bytes, note: str = "") -> None:
        """Report the client's last bytes, and with ``note`` how the provider's stream broke off."""
        rest = self._splitter.close() if self._viewers else b""
        self._held = 0
        self._report(self._viewers, rest, out, note)
        self._report(self._keepers, b"", out, note)

    def note_keep_alive(self, out: bytes) -> None:
        """Report a keep-alive for the client."""
        self._report(self.listeners, b"", out)

    def hide(self) -> None:
        """Report nothing from now on: the client's bytes have values that no observer may see."""
        self.is_hidden = True
        self.listeners.clear()
        self._viewers.clear()

    @property
    def _keepers(self) -> list[StreamListener]:
        return [one for one in self.listeners if one not in self._viewers] if self._viewers else self.listeners

    def _catch_up(self, received: bytes, public: bytes) -> None:
        self._report(self._keepers, received, public)
        if self._viewers:
            try:
                events = self._splitter.feed(received)
            except FramingError:
                self._splitter, self._held, events = self.source.splitter(LARGEST), 0, []
            self._held += len(received) - sum(map(len, events))
            self._report(self._viewers, b"".join(events), public)

    def _feed_part(self, part: bytes, event: bytes) -> bytes:
        out = self._lane.feed(part)
        self._report(self._viewers, event, out)
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

    def _report(self, listeners: list[StreamListener], received: bytes, public: bytes, note: str = "") -> None:
        if self.source.is_internal:
            received = b""
        if not (received or public or note):
            return
        for listener in tuple(listeners):
            try:
                listener.observe(received, public, note)
            except Exception:  # the boundary: a listener's error must not end the stream
                log.exception(_FAILED)
                self.unlisten(listener)
