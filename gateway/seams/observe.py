"""The seam of observation: what learns about exchanges without taking part in them.

When an exchange arrives, the kernel calls each ``Observe`` once. It returns the ``ExchangeObserver`` of this exchange,
which may be one object for all, or ``None``. The kernel then calls its methods, in the order of the features:

``note_request`` and ``note_resolved``, for each request to a provider ``outgoing``, ``note_sent``, ``note_head`` and
``note_body``; ``note_stream`` for a stream, ``note_public_events`` or ``note_public_bytes`` where the client gets more
than observers, ``note_response`` and ``headers``; at last ``fields`` and ``note_end``. ``note_hidden`` may come at any
time. A rejected request has fewer of them: only ``fields`` and ``note_end`` are certain.

- **Time.** Every method runs within the exchange, synchronously. It may not wait, and does no more than store a
  reference or read the clock; longer work belongs in a thread after ``note_end``.
- **Errors.** An observer may not raise. The kernel logs the first error, and then calls only ``note_hidden`` and
  ``note_end`` of this observer.
- **Cancellation.** An exchange that is cancelled is settled, too. ``note_end`` comes exactly once.
- **Views.** A text has three views: *received* from the client or a provider, *public* after the steps that hide, and
  *sent*, where values have returned to the client. An observer gets only the public view: the kernel keeps the others
  to itself, and passes on a received text when no step may still hide a part of it. ``note_hidden`` reports that the
  exchange has more texts than these. ``note_resolved`` and ``note_sent`` have what a provider gets. A step may
  refuse that later; recordings drop it at ``note_hidden``.
- **Changes.** Only ``outgoing`` and ``headers`` return something for others: headers of a request and of the response.

**Attempts.** Before it sends an attempt, the kernel calls each ``ObserveAttempt``, with the attempt's ``TargetRequest``
and the nursery of the request. An ``AttemptObserver`` learns what one attempt sends, while hedges run at the same time.
It has the text as sent, so it keeps none. It catches its own errors. A task that it starts belongs to that nursery, and
the exchange may be settled before this task has ended.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Protocol, TypeAlias, TypeVar

import attrs
import trio

from gateway.config.redaction import Secrets
from gateway.http.headers import Headers
from gateway.ledger.bill import AttemptRecord
from gateway.ledger.ledger import Ledger
from gateway.ledger.record import ArrivedRequest, Record
from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming
from gateway.streaming.lane import Lane, StreamProgress
from gateway.upstream.request import UpstreamRequest
from streams.events import Api, Event
from streams.framing import Framing, FramingError
from streams.handoff import Handoff
from streams.pipe import Chunk

Kind = TypeVar("Kind")

log = logging.getLogger("trigate")

_HELD: Final = 4 * 2**20
"""Bytes of one exchange that wait until they are public; observers do not get more."""


_FAILED: Final = "a recorder or viewer of a stream failed and receives no more of its events"

LARGEST: Final = 2**20
"""Bytes up to which an event is reported as one; a larger one is reported in the pieces in which it arrives."""


class StreamListener(Protocol):
    """Learns what passes through a stream, with every chunk of the provider or with each event."""

    def observe(self, received: bytes, public: bytes, note: str = "") -> None:
        """Handle the bytes ``received`` from the provider, and the ``public`` ones for the client. Either may be empty.
        ``note`` is the provider's error, if its stream broke off."""
        ...


class ObservedStream:
    """The public bytes of one stream to a client, for listeners.

    It has no bytes of an attempt that did not become the response. ``secrets`` returns those that the provider may
    repeat; it refers to nothing of the request. ``chunks`` is the channel of the provider's bytes."""

    chunks: Handoff[Chunk] | None = None

    def __init__(self, lane: Lane, secrets: Callable[[], Secrets] = tuple) -> None:
        self.secrets = secrets
        self.is_hidden = False
        self.listeners: list[StreamListener] = []
        self._viewers: list[StreamListener] = []  # of each event
        self._lane = lane
        self._splitter: Any = None
        self._held = 0  # bytes of an event that the lane already has and the splitter still holds

    @property
    def progress(self) -> StreamProgress:
        """The progress of the current lane."""
        return self._lane.progress

    @property
    def is_blocked(self) -> bool:
        """Whether the client is slow."""
        return self.chunks is not None and self.chunks.is_blocked

    @property
    def source(self) -> Framing:
        """The framing of the provider's bytes."""
        return self._lane.source

    def listen(self, listener: StreamListener, *, by_event: bool = False) -> None:
        """Report everything from now on to ``listener``, with ``by_event`` event by event if that is possible."""
        if self.is_hidden:
            return
        self.listeners.append(listener)
        if by_event:
            if not self._viewers:
                self._splitter, self._held = self.source.splitter(LARGEST), 0
            self._viewers.append(listener)

    def unlisten(self, listener: StreamListener) -> None:
        """Stop reporting to ``listener``."""
        for listeners in (self.listeners, self._viewers):
            if listener in listeners:
                listeners.remove(listener)

    # For the kernel

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


class ViewerTexts(Protocol):
    """Texts of an exchange for viewers with the right to see them."""

    @property
    def is_open(self) -> bool:
        """Whether the operator still enables them."""
        ...

    @property
    def excerpts(self) -> attrs.AttrsInstance | None:
        """The texts as a record, ``None`` as long as there are none."""
        ...


class ExchangeObserver:
    """Observes one exchange. This base does nothing."""

    heard: ClassVar[frozenset[str]] = frozenset()
    """The names of the methods that the class and its bases change, so that the kernel calls no other."""

    def __init_subclass__(cls) -> None:
        base = ExchangeObserver
        cls.heard = frozenset(name for name in dir(base) if getattr(cls, name, None) is not getattr(base, name))

    reads_events = False
    """True if it needs ``note_public_events``."""
    keeps_texts = False
    """True if it needs ``note_request`` and ``note_body`` of an exchange whose texts become public only at its end."""

    def note_request(self, client_request: ClientRequest, body: bytes | None, *, is_turn: bool) -> None:
        """Note the client's request to a conversation. ``is_turn``: it requests a response of the model. A ``body``
        that is not public yet is ``None``; this is called again once it is."""

    def note_resolved(self, incoming: Incoming) -> None:
        """Note the request with the earlier turns that it refers to. A later attempt may send one with more masks."""

    def outgoing(self, request: UpstreamRequest) -> UpstreamRequest:
        """Return ``request`` as it will be sent: a trace adds the headers that make the provider's spans children of
        this call."""
        return request

    def note_sent(
        self, request: UpstreamRequest, waited: bool, api: Api, provider: str, secrets: Callable[[], Secrets]
    ) -> None:
        """Note that ``request`` has its slot, for which it may have ``waited``, and goes to ``provider``, whose
        response may repeat ``secrets``."""

    def note_head(self, request: UpstreamRequest, status: int, headers: Headers) -> None:
        """Note the head of the provider's response to ``request``. Two requests may run at the same time."""

    def note_body(self, body: bytes) -> None:
        """Note a part of the provider's response, which is not a stream."""

    def note_stream(self, stream: ObservedStream) -> None:
        """Note that the response will be ``stream``."""

    def note_public_events(self, events: Mapping[int, Sequence[Event]]) -> None:
        """Note the ``events`` of the response by choice, to which more may be added until the end. The client gets
        other values in their place, which are not public: a stream that was noted has nothing more to hear."""

    def note_public_bytes(self, data: bytes) -> None:
        """Note ``data`` of the response of another endpoint, in place of the client's own bytes, as above."""

    def note_response(self, status: int, headers: Headers, body: bytes | None, *, is_answer: bool) -> None:
        """Note the response to the client: ``body`` is ``None`` for a stream, or if it is not public. ``is_answer``: it
        is no error of the gateway, and not the start of a turn in the background."""

    def note_hidden(self) -> None:
        """Note that a step masked or refused a part of the exchange."""

    def headers(self, record: Record, *, is_whole: bool) -> Headers:
        """Return more headers of the response; ``is_whole``: it is no stream."""
        return ()

    def viewer_texts(self) -> ViewerTexts | None:
        """Return texts for viewers, ``None`` if the operator enables none."""
        return None

    def fields(self, record: Record) -> Mapping[str, Any]:
        """Return more fields of the log line. The exchange has ended, and its attempts are still to be priced."""
        return {}

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        """Note the end of the exchange, with the fields of its log ``line``."""


class AttemptObserver(Protocol):
    """Observes one attempt."""

    def note_written(self) -> None:
        """Note that the whole request was written, once more after a resend."""
        ...

    async def note_head(self) -> None:
        """Note the head of a successful response. It may let other tasks run, and waits for nothing."""
        ...

    def note_record(self, record: AttemptRecord) -> None:
        """Note the attempt's record, in place of an earlier one."""
        ...


ObserveAttempt: TypeAlias = Callable[[Any, trio.Nursery], AttemptObserver | None]
"""Returns the observer of an attempt, ``None`` if it is of no interest."""

Observe: TypeAlias = Callable[[Record, ArrivedRequest | None], ExchangeObserver | None]
"""Returns the observer of the exchange of a new record, ``None`` if it is of no interest. A request that a trace may
continue in has an arrival."""


class Observers:
    """The observers of one exchange, which the kernel calls through this object. Its methods never raise."""

    def __init__(self, observers: Iterable[ExchangeObserver] = ()) -> None:
        self._observers = [*observers]
        self._failed: list[ExchangeObserver] = []
        self._held: list[Callable[[], None]] = []
        self._held_size = 0
        self._is_separate = False  # the client gets values that are not public
        self._stream: ObservedStream | None = None

    def find(self, kind: type[Kind]) -> Kind | None:
        """Return the observer of this ``kind``, ``None`` if there is none."""
        return next((one for one in self._observers if isinstance(one, kind)), None)

    def join(self, observer: ExchangeObserver) -> None:
        """Add an observer, which learns what follows, and the stream that the response will be."""
        self._observers.append(observer)
        if self._stream is not None and "note_stream" in observer.heard:
            try:
                observer.note_stream(self._stream)
            except Exception:
                self._drop(observer)

    def viewer_texts(self) -> ViewerTexts | None:
        """Return the texts of the first observer that has some."""
        return next((texts for one in self._observers if (texts := one.viewer_texts()) is not None), None)

    def note_request(
        self, client_request: ClientRequest, body: bytes, *, is_turn: bool, is_public: bool = True
    ) -> None:
        """Pass on the ``body``, at the end if steps may hide a part of it until then."""
        if not is_public:
            self._tell("note_request", client_request, None, is_turn=is_turn)
        self._tell_public(is_public, len(body), "note_request", client_request, body, is_turn=is_turn)

    def note_resolved(self, incoming: Incoming) -> None:
        self._tell("note_resolved", incoming)

    def outgoing(self, request: UpstreamRequest) -> UpstreamRequest:
        for observer in self._observers:
            if "outgoing" in observer.heard:
                try:
                    request = observer.outgoing(request)
                except Exception:
                    self._drop(observer)
        return request

    def note_sent(
        self, request: UpstreamRequest, waited: bool, api: Api, provider: str, secrets: Callable[[], Secrets]
    ) -> None:
        self._tell("note_sent", request, waited, api, provider, secrets)

    def note_head(self, request: UpstreamRequest, status: int, headers: Headers) -> None:
        self._tell("note_head", request, status, headers)

    def note_body(self, body: bytes, *, is_public: bool = True) -> None:
        """Pass on the ``body``, at the end if steps may hide a part of it until then."""
        self._tell_public(is_public, len(body), "note_body", body)

    @property
    def reads_events(self) -> bool:
        """Whether an observer needs the public events of a response whose client gets other values."""
        return any(one.reads_events for one in self._observers)

    def note_stream(self, stream: ObservedStream) -> None:
        if self is not UNOBSERVED:  # which all exchanges share
            self._stream = stream
            self._tell("note_stream", stream)

    def note_public_events(self, events: Mapping[int, Sequence[Event]]) -> None:
        """Pass on the ``events``, and from now on nothing that the client gets."""
        self._is_separate = True
        if self._stream is not None:
            self._stream.hide()
        self._tell("note_public_events", events)

    def note_public_bytes(self, data: bytes) -> None:
        self._is_separate = True
        self._tell("note_public_bytes", data)

    def note_response(self, status: int, headers: Headers, body: bytes | None, *, is_answer: bool = False) -> None:
        public = None if self._is_separate and is_answer else body
        self._tell("note_response", status, headers, public, is_answer=is_answer)

    def note_hidden(self) -> None:
        self._held.clear()
        self._held_size = _HELD  # nothing received is public from now on
        self._tell("note_hidden")
        for observer in self._failed:  # it may keep a text that is now hidden
            with contextlib.suppress(Exception):
                observer.note_hidden()

    def headers(self, record: Record, *, is_whole: bool) -> Headers:
        found: Headers = ()
        for observer in self._observers:
            if "headers" in observer.heard:
                try:
                    found = (*found, *observer.headers(record, is_whole=is_whole))
                except Exception:
                    self._drop(observer)
        return found

    def fields(self, record: Record) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for observer in self._observers:
            if "fields" in observer.heard:
                try:
                    found.update(observer.fields(record))
                except Exception:
                    self._drop(observer)
        return found

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        for tell in self._held:
            tell()
        self._observers = [*self._observers, *self._failed]
        self._tell("note_end", record, line)
        self._held, self._stream = [], None
        self._observers = []  # they refer to the exchange, which refers to this

    def _tell_public(self, is_public: bool, size: int, event: str, *facts: object, **more: object) -> None:
        """Pass on a text that was received. Hold it until the end if it is not public yet."""
        if is_public:
            self._tell(event, *facts, **more)
        elif any(one.keeps_texts for one in self._observers) and self._held_size + size <= _HELD:
            self._held_size += size
            self._held.append(partial(self._tell, event, *facts, **more))

    def _tell(self, event: str, *facts: object, **more: object) -> None:
        for observer in self._observers:
            if event in observer.heard:
                try:
                    getattr(observer, event)(*facts, **more)
                except Exception:
                    self._drop(observer)

    def _drop(self, observer: ExchangeObserver) -> None:
        """Log the current error of ``observer``, which must not end the exchange. It only learns of the end."""
        log.exception("%s failed, and learns only the end of this exchange", type(observer).__name__)
        self._observers = [one for one in self._observers if one is not observer]  # others may be in a loop over it
        self._failed.append(observer)


UNOBSERVED: Final = Observers()


def observers_of(record: Record) -> Observers:
    """Return the observers of the exchange of ``record``."""
    return record.observers if isinstance(record.observers, Observers) else UNOBSERVED


def join_observers(record: Record, observer: ExchangeObserver) -> None:
    """Let ``observer`` learn about the rest of the exchange of ``record``, because it has become of interest."""
    if not isinstance(record.observers, Observers):
        record.observers = Observers()
    record.observers.join(observer)


class Observation:
    """The start of the observers of each exchange of a ledger. ``hooks`` are those of the features in use."""

    def __init__(self) -> None:
        self.hooks: tuple[Observe, ...] = ()

    def __call__(self, record: Record, arrival: ArrivedRequest | None = None) -> Observers:
        found = []
        for observe in self.hooks:
            try:
                if (observer := observe(record, arrival)) is not None:
                    found.append(observer)
            except Exception:  # the boundary, as in ``Observers``
                log.exception("%s failed, and learns nothing about this exchange", observe)
        return Observers(found)


def observation_of(ledger: Ledger) -> Observation:
    """Return the start of observers of the exchanges of ``ledger``."""
    if not isinstance(ledger.observe, Observation):
        ledger.observe = Observation()
    return ledger.observe
