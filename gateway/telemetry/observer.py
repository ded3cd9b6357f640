"""The interfaces through which traces and recordings observe an exchange.

Each class here does nothing: it is the default of an unobserved exchange or process, and the base of the classes that
observe. The methods run within the exchange, so they must not wait or raise."""

from collections.abc import Callable
from typing import Final

from gateway.config.redaction import Secrets
from gateway.http.headers import Headers
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest
from gateway.telemetry.tap import HasLane
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from streams.events import Api


class CallObserver:
    """Observes the requests of an exchange to providers."""

    def outgoing(self, request: UpstreamRequest) -> UpstreamRequest:
        """Return ``request`` as it will be sent: a trace adds the headers that make the provider's spans children of
        this call."""
        return request

    def note_request(
        self, request: UpstreamRequest, waited: bool, api: Api, provider: str, secrets: Callable[[], Secrets]
    ) -> None:
        """Note that ``request`` has its slot, for which it may have ``waited``, and goes to ``provider``, whose
        response may repeat ``secrets``."""

    def note_response(self, request: UpstreamRequest, response: UpstreamResponse) -> None:
        """Note the head of the provider's response to ``request``. Two requests may run at the same time."""

    def note_body(self, body: bytes) -> None:
        """Note a part of the provider's response, which is not a stream."""


UNOBSERVED: Final = CallObserver()


class CallObservers(CallObserver):
    """Combines several observers. Each receives the request that the previous one returned."""

    def __init__(self, observers: tuple[CallObserver, ...]) -> None:
        self._observers = observers

    def outgoing(self, request: UpstreamRequest) -> UpstreamRequest:
        for observer in self._observers:
            request = observer.outgoing(request)
        return request

    def note_request(
        self, request: UpstreamRequest, waited: bool, api: Api, provider: str, secrets: Callable[[], Secrets]
    ) -> None:
        for observer in self._observers:
            observer.note_request(request, waited, api, provider, secrets)

    def note_response(self, request: UpstreamRequest, response: UpstreamResponse) -> None:
        for observer in self._observers:
            observer.note_response(request, response)

    def note_body(self, body: bytes) -> None:
        for observer in self._observers:
            observer.note_body(body)


class ExchangeRecording(CallObserver):
    """The recording of one exchange, from ``request`` on."""

    def request(self, client_request: ClientRequest, body: bytes) -> None:
        """Begin to record, with the client's request."""

    def respond(self, status: int, headers: Headers, body: bytes | None) -> None:
        """Record the response to the client; ``None`` for a stream, which ``follow`` records."""

    def follow(self, stream: HasLane) -> None:
        """Record everything that passes through ``stream``."""

    def withhold(self) -> None:
        """Write nothing of this exchange: a step masked or refused a part of it."""


NO_RECORDING: Final = ExchangeRecording()


class ExchangeRecorder:
    """Records the exchanges of a process."""

    def open(self, record: Record) -> ExchangeRecording:
        """Return the recording of the exchange of ``record``."""
        return NO_RECORDING

    def hide(self, secrets: Secrets) -> None:
        """Remove ``secrets`` as well from everything written from now on."""

    async def run(self) -> None:
        """Write ended exchanges until ``finish``."""

    async def finish(self) -> None:
        """Wait until everything is written."""


class ExchangeTracer:
    """Traces the exchanges of a process. ``is_active`` is false for the tracer that does nothing."""

    is_active = False

    def use_groups(self, group_of: Callable[[str | None], str | None]) -> None:
        """Use the groups of clients that ``group_of`` returns, from now on."""

    def begin(self, record: Record, headers: Headers, path: str) -> CallObserver:
        """Start a trace of the exchange of ``record``, as a child of the trace in the client's ``headers``."""
        return UNOBSERVED

    async def aclose(self) -> None:
        """Send the remaining spans if that does not take long."""
