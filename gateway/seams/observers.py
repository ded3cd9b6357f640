"""The observers of an exchange, as the kernel calls them (the contract is in ``observe``)."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from gateway.http.headers import Headers
from gateway.ledger.ledger import Ledger
from gateway.ledger.record import ArrivedRequest, Record
from gateway.request.client_request import ClientRequest
from gateway.seams.observe import ExchangeObserver, Observe, ViewerTexts
from gateway.seams.observed_stream import ObservedStream
from gateway.upstream.request import UpstreamRequest
from streams.events import Event

Kind = TypeVar("Kind")
P = ParamSpec("P")

log = logging.getLogger("trigate")

_HELD: Final = 4 * 2**20
"""Bytes of one exchange that wait until they are public; observers do not get more."""


def _telling(method: Callable[Concatenate[ExchangeObserver, P], None]) -> Callable[Concatenate["Observers", P], None]:
    """Return the method of ``Observers`` that calls ``method`` of the observers that change it."""
    name = method.__name__

    def tell(self: "Observers", /, *facts: P.args, **more: P.kwargs) -> None:
        for observer in self._observers:
            if name in observer.heard:
                try:
                    getattr(observer, name)(*facts, **more)
                except Exception:
                    self._drop(observer)

    return tell


class Observers:
    """The observers of one exchange, which the kernel calls through this object. Its methods never raise."""

    note_resolved = _telling(ExchangeObserver.note_resolved)
    note_sent = _telling(ExchangeObserver.note_sent)
    note_head = _telling(ExchangeObserver.note_head)
    note_refused = _telling(ExchangeObserver.note_refused)
    _tell_request = _telling(ExchangeObserver.note_request)
    _tell_body = _telling(ExchangeObserver.note_body)
    _tell_stream = _telling(ExchangeObserver.note_stream)
    _tell_public_events = _telling(ExchangeObserver.note_public_events)
    _tell_public_bytes = _telling(ExchangeObserver.note_public_bytes)
    _tell_response = _telling(ExchangeObserver.note_response)
    _tell_hidden = _telling(ExchangeObserver.note_hidden)
    _tell_end = _telling(ExchangeObserver.note_end)

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
        for one in self._observers:
            if "viewer_texts" in one.heard:
                try:
                    if (texts := one.viewer_texts()) is not None:
                        return texts
                except Exception:
                    self._drop(one)
        return None

    def note_request(
        self, client_request: ClientRequest, body: bytes | None, *, is_turn: bool, is_public: bool = True
    ) -> None:
        """Pass on the ``body``, at the end if steps may hide a part of it until then. It is ``None`` before them."""
        self._tell_request(client_request, body if is_public else None, is_turn=is_turn)
        if not is_public and body is not None:
            self._hold(len(body), partial(self._tell_request, client_request, body, is_turn=is_turn))

    def outgoing(self, request: UpstreamRequest) -> UpstreamRequest:
        for observer in self._observers:
            if "outgoing" in observer.heard:
                try:
                    request = observer.outgoing(request)
                except Exception:
                    self._drop(observer)
        return request

    def note_body(self, identity: object, status: int, body: bytes, *, is_public: bool = True) -> None:
        """Pass on the ``body`` for the request with this ``identity``, at the end if steps may hide a part of it until
        then."""
        if is_public:
            self._tell_body(identity, status, body)
        else:
            self._hold(len(body), partial(self._tell_body, identity, status, body))

    @property
    def reads_events(self) -> bool:
        """Whether an observer needs the public events of a response whose client gets other values."""
        return self._needs("reads_events")

    def note_stream(self, stream: ObservedStream) -> None:
        if self is not UNOBSERVED:  # which all exchanges share
            self._stream = stream
            self._tell_stream(stream)
            if self._held:
                kept = (one.keeps_texts_of_streams for one in self._observers if one.keeps_texts)
                if self._held_size > max(kept, default=0):
                    self._held.clear()

    def note_public_events(self, events: Mapping[int, Sequence[Event]]) -> None:
        """Pass on the ``events``, and from now on nothing that the client gets."""
        self._is_separate = True
        if self._stream is not None:
            self._stream.hide()
        self._tell_public_events(events)

    def note_public_bytes(self, data: bytes) -> None:
        self._is_separate = True
        self._tell_public_bytes(data)

    def note_response(self, status: int, headers: Headers, body: bytes | None, *, is_answer: bool = False) -> None:
        public = None if self._is_separate and is_answer else body
        self._tell_response(status, headers, public, is_answer=is_answer)

    def note_hidden(self) -> None:
        self._held.clear()
        self._held_size = _HELD  # nothing received is public from now on
        self._tell_hidden()
        for observer in self._failed:  # it may keep a text that is now hidden
            with contextlib.suppress(Exception):
                observer.note_hidden()

    @property
    def keeps_errors(self) -> bool:
        return self._needs("keeps_errors")

    @property
    def keeps_refused(self) -> bool:
        """Whether an observer needs the masked request after a refusal."""
        return self._needs("keeps_refused")

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
        self._tell_end(record, line)
        self._held, self._stream = [], None
        self._observers = []  # they refer to the exchange, which refers to this

    def _hold(self, size: int, tell: Callable[[], None]) -> None:
        """Pass on a text that was received at the end, because it is not public yet."""
        if self._held_size + size <= _HELD and self._needs("keeps_texts"):
            self._held_size += size
            self._held.append(tell)

    def _needs(self, need: str) -> bool:
        """Return whether an observer has this ``need``, which may be a property of it."""
        for observer in self._observers:
            try:
                if getattr(observer, need):
                    return True
            except Exception:
                self._drop(observer)
        return False

    def _drop(self, observer: ExchangeObserver) -> None:
        """Log the current error of ``observer``, which must not end the exchange. It only learns of the end."""
        log.exception("%s failed, and learns only the end of this exchange", type(observer).__name__)
        self._observers = [one for one in self._observers if one is not observer]  # others may be in a loop over it
        self._failed.append(observer)


UNOBSERVED: Final = Observers()


def observers_of(record: Record) -> Observers:
    """Return the observers of the exchange of ``record``."""
    return record.observers if type(record.observers) is Observers else UNOBSERVED


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
