"""The seams by which traces and recordings watch an exchange. Each class here does nothing: it is what an exchange or
a process has that nobody watches, and the base of those that do something.

Nothing here waits, or raises: it is called in the exchange's way.
"""

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
    """An observer of the requests that an exchange sends to providers, one after the other."""

    def outgoing(self, request: UpstreamRequest) -> UpstreamRequest:
        """Return ``request`` as it is to go out: a trace adds the headers that make the provider's spans children of
        this call."""
        return request

    def sent(
        self, request: UpstreamRequest, waited: bool, api: Api, provider: str, secrets: Callable[[], Secrets]
    ) -> None:
        """Note that ``request`` has its slot, for which it may have ``waited``, and goes to ``provider``, which may
        repeat ``secrets``."""

    def responded(self, request: UpstreamRequest, response: UpstreamResponse) -> None:
        """Note the head of the provider's response to ``request``. Two requests may be under way."""

    def received(self, body: bytes) -> None:
        """Note a part of the provider's response, which is no stream."""


UNOBSERVED: Final = CallObserver()


class CallObservers(CallObserver):
    """Several observers as one. Each gets the request that the one before has made of it."""

    def __init__(self, observers: tuple[CallObserver, ...]) -> None:
        self._observers = observers

    def outgoing(self, request: UpstreamRequest) -> UpstreamRequest:
        for observer in self._observers:
            request = observer.outgoing(request)
        return request

    def sent(
        self, request: UpstreamRequest, waited: bool, api: Api, provider: str, secrets: Callable[[], Secrets]
    ) -> None:
        for observer in self._observers:
            observer.sent(request, waited, api, provider, secrets)

    def responded(self, request: UpstreamRequest, response: UpstreamResponse) -> None:
        for observer in self._observers:
            observer.responded(request, response)

    def received(self, body: bytes) -> None:
        for observer in self._observers:
            observer.received(body)


class ExchangeRecording(CallObserver):
    """The recording of one exchange."""

    def answers(self, status: int, headers: Headers, body: bytes | None) -> None:
        """Record the response to the client; ``None`` for a stream, which is followed."""

    def follow(self, stream: HasLane) -> None:
        """Record what passes in ``stream``."""


NO_RECORDING: Final = ExchangeRecording()


class ExchangeRecorder:
    """A recorder of the exchanges of a process."""

    def begin(self, record: Record, asked: ClientRequest, body: bytes) -> ExchangeRecording:
        """Return the recording of the exchange of ``record``, with the client's request."""
        return NO_RECORDING

    def hide(self, secrets: Secrets) -> None:
        """Take ``secrets`` out of what is written from now on, too."""

    async def run(self) -> None:
        """Write what ends, until ``finish``."""

    async def finish(self) -> None:
        """Wait until all is written."""


class ExchangeTracer:
    """A tracer of the exchanges of a process."""

    def begin(self, record: Record, headers: Headers, path: str) -> CallObserver:
        """Trace the exchange of ``record`` from now on, as part of what its client says in ``headers`` that it is."""
        return UNOBSERVED

    async def aclose(self) -> None:
        """Send what is left, if that does not take long."""
