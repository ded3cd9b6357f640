"""The seam of observation: what learns about exchanges without taking part in them.

When an exchange arrives, the kernel calls each ``Observe`` once. It returns the ``ExchangeObserver`` of this exchange,
which may be one object for all, or ``None``. The kernel then calls its methods, in the order of the features:

``note_request``, for each request to a provider ``outgoing``, ``note_sent``, ``note_head`` and ``note_body``; then
``note_response`` and ``headers``, ``note_stream`` for a stream, at last ``fields`` and ``note_end``. ``note_hidden``
may come at any time. A rejected request has fewer of them: only ``fields`` and ``note_end`` are certain.

- **Time.** Every method runs within the exchange, synchronously. It may not wait, and does no more than store a
  reference or read the clock; longer work belongs in a thread after ``note_end``.
- **Errors.** An observer may not raise. The kernel logs the first error, and calls this observer no more.
- **Cancellation.** An exchange that is cancelled is settled, too. ``note_end`` comes exactly once.
- **Views.** A text has three views: *received* from the client or a provider, *public* after the steps that hide, and
  *sent*, where values have returned to the client. An observer gets only the public view: the kernel keeps the others
  to itself, and passes on a received text when no step may still hide a part of it. ``note_hidden`` reports that the
  exchange has more texts than these.
- **Changes.** Only ``outgoing`` and ``headers`` return something for others: headers of a request and of the response.

**Attempts.** Before it sends an attempt, the kernel calls each ``ObserveAttempt``, with the attempt's ``TargetRequest``
and the nursery of the request. An ``AttemptObserver`` learns what one attempt sends, while hedges run at the same time.
It has the text as sent, so it keeps none. It catches its own errors. A task that it starts belongs to that nursery, and
the exchange may be settled before this task has ended.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, Final, Protocol, TypeAlias, TypeVar

import attrs
import trio

from gateway.config.redaction import Secrets
from gateway.http.headers import Headers
from gateway.ledger.bill import AttemptRecord
from gateway.ledger.ledger import Ledger
from gateway.ledger.record import ArrivedRequest, Record
from gateway.request.client_request import ClientRequest
from gateway.streaming.lane import Lane
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from streams.events import Api

Kind = TypeVar("Kind")

log = logging.getLogger("trigate")

_HELD: Final = 4 * 2**20
"""Bytes of one exchange that wait until they are public; observers do not get more."""


class HasLane(Protocol):
    """A stream whose lane can be replaced."""

    lane: Lane


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

    keeps_texts = False
    """True if it needs ``note_request`` and ``note_body`` of an exchange whose texts become public only at its end."""

    def note_request(self, client_request: ClientRequest, body: bytes | None, *, is_turn: bool) -> None:
        """Note the client's request to a conversation. ``is_turn``: it requests a response of the model. A ``body``
        that is not public yet is ``None``; this is called again once it is."""

    def outgoing(self, request: UpstreamRequest) -> UpstreamRequest:
        """Return ``request`` as it will be sent: a trace adds the headers that make the provider's spans children of
        this call."""
        return request

    def note_sent(
        self, request: UpstreamRequest, waited: bool, api: Api, provider: str, secrets: Callable[[], Secrets]
    ) -> None:
        """Note that ``request`` has its slot, for which it may have ``waited``, and goes to ``provider``, whose
        response may repeat ``secrets``."""

    def note_head(self, request: UpstreamRequest, response: UpstreamResponse) -> None:
        """Note the head of the provider's response to ``request``. Two requests may run at the same time."""

    def note_body(self, body: bytes) -> None:
        """Note a part of the provider's response, which is not a stream."""

    def note_response(self, status: int, headers: Headers, body: bytes | None) -> None:
        """Note the response to the client; ``None`` for a stream, or for a body that is not public."""

    def note_stream(self, stream: HasLane) -> None:
        """Note that the response is ``stream``."""

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
        self._held: list[Callable[[], None]] = []
        self._held_size = 0

    def find(self, kind: type[Kind]) -> Kind | None:
        """Return the observer of this ``kind``, ``None`` if there is none."""
        return next((one for one in self._observers if isinstance(one, kind)), None)

    def join(self, observer: ExchangeObserver) -> None:
        """Add an observer, which learns what follows."""
        self._observers.append(observer)

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

    def outgoing(self, request: UpstreamRequest) -> UpstreamRequest:
        for observer in tuple(self._observers):
            try:
                request = observer.outgoing(request)
            except Exception:
                self._drop(observer)
        return request

    def note_sent(
        self, request: UpstreamRequest, waited: bool, api: Api, provider: str, secrets: Callable[[], Secrets]
    ) -> None:
        self._tell("note_sent", request, waited, api, provider, secrets)

    def note_head(self, request: UpstreamRequest, response: UpstreamResponse) -> None:
        self._tell("note_head", request, response)

    def note_body(self, body: bytes, *, is_public: bool = True) -> None:
        """Pass on the ``body``, at the end if steps may hide a part of it until then."""
        self._tell_public(is_public, len(body), "note_body", body)

    def note_response(self, status: int, headers: Headers, body: bytes | None) -> None:
        self._tell("note_response", status, headers, body)

    def note_stream(self, stream: HasLane) -> None:
        self._tell("note_stream", stream)

    def note_hidden(self) -> None:
        self._held.clear()
        self._held_size = _HELD  # nothing received is public from now on
        self._tell("note_hidden")

    def headers(self, record: Record, *, is_whole: bool) -> Headers:
        found: Headers = ()
        for observer in tuple(self._observers):
            try:
                found = (*found, *observer.headers(record, is_whole=is_whole))
            except Exception:
                self._drop(observer)
        return found

    def fields(self, record: Record) -> Mapping[str, Any]:
        found: dict[str, Any] = {}
        for observer in tuple(self._observers):
            try:
                found.update(observer.fields(record))
            except Exception:
                self._drop(observer)
        return found

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        for tell in self._held:
            tell()
        self._tell("note_end", record, line)

    def _tell_public(self, is_public: bool, size: int, event: str, *facts: object, **more: object) -> None:
        """Pass on a text that was received. Hold it until the end if it is not public yet."""
        if is_public:
            self._tell(event, *facts, **more)
        elif any(one.keeps_texts for one in self._observers) and self._held_size + size <= _HELD:
            self._held_size += size
            self._held.append(partial(self._tell, event, *facts, **more))

    def _tell(self, event: str, *facts: object, **more: object) -> None:
        for observer in tuple(self._observers):
            try:
                getattr(observer, event)(*facts, **more)
            except Exception:
                self._drop(observer)

    def _drop(self, observer: ExchangeObserver) -> None:
        """Log the current error of ``observer``, and call it no more: it must not end the exchange."""
        log.exception("%s failed, and learns no more about this exchange", type(observer).__name__)
        self._observers.remove(observer)


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
    """The start of the observers of each exchange of ``ledger``: those of the ``hooks``, after ``observes``."""

    def __init__(self) -> None:
        self.observes: list[Observe] = []
        self.hooks: tuple[Observe, ...] = ()

    def __call__(self, record: Record, arrival: ArrivedRequest | None = None) -> Observers:
        found = []
        for observe in (*self.observes, *self.hooks):
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
