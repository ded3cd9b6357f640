"""The seams by which traces and recordings watch an exchange, and what stands there where nobody does.

Nothing here waits, or raises: it is called in the exchange's way.
"""

from collections.abc import Callable
from typing import Final, Protocol

import attrs

from gateway.config.redaction import Secrets
from gateway.http.headers import Headers
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest
from gateway.telemetry.tap import HasLane
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from streams.events import Api


class CallObserver(Protocol):
    """Sees the requests that an exchange sends to providers, one after the other."""

    def outgoing(self, request: UpstreamRequest) -> UpstreamRequest:
        """``request`` as it is to go out: a trace adds the headers that make the provider's spans children of this
        call."""
        ...

    def sent(
        self, request: UpstreamRequest, waited: bool, api: Api, provider: str, secrets: Callable[[], Secrets]
    ) -> None:
        """``request`` has its slot, for which it may have ``waited``, and goes to ``provider``, which may repeat
        ``secrets``."""
        ...

    def responded(self, request: UpstreamRequest, response: UpstreamResponse) -> None:
        """The head of the provider's answer to ``request`` is there. Two may be under way."""
        ...

    def received(self, body: bytes) -> None:
        """This much of the provider's answer is there, which is no stream."""
        ...


class Unobserved:
    """The ``CallObserver`` of calls that nobody watches."""

    def outgoing(self, request: UpstreamRequest) -> UpstreamRequest:
        return request

    def sent(
        self, request: UpstreamRequest, waited: bool, api: Api, provider: str, secrets: Callable[[], Secrets]
    ) -> None:
        return

    def responded(self, request: UpstreamRequest, response: UpstreamResponse) -> None:
        return

    def received(self, body: bytes) -> None:
        return


UNOBSERVED: Final = Unobserved()


@attrs.frozen
class CallObservers:
    """Several as one. Each gets the request that the one before has made of it."""

    observers: tuple[CallObserver, ...]

    def outgoing(self, request: UpstreamRequest) -> UpstreamRequest:
        for observer in self.observers:
            request = observer.outgoing(request)
        return request

    def sent(
        self, request: UpstreamRequest, waited: bool, api: Api, provider: str, secrets: Callable[[], Secrets]
    ) -> None:
        for observer in self.observers:
            observer.sent(request, waited, api, provider, secrets)

    def responded(self, request: UpstreamRequest, response: UpstreamResponse) -> None:
        for observer in self.observers:
            observer.responded(request, response)

    def received(self, body: bytes) -> None:
        for observer in self.observers:
            observer.received(body)


class ExchangeRecording(CallObserver, Protocol):
    """Writes down one exchange."""

    def answers(self, status: int, headers: Headers, body: bytes | None) -> None:
        """The client is answered; ``None`` for a stream, which is followed."""
        ...

    def follow(self, stream: HasLane) -> None:
        """Write down what passes in ``stream``."""
        ...


class NoRecording(Unobserved):
    """The ``ExchangeRecording`` of an exchange that is not written down."""

    def answers(self, status: int, headers: Headers, body: bytes | None) -> None:
        return

    def follow(self, stream: HasLane) -> None:
        return


NO_RECORDING: Final = NoRecording()


class ExchangeRecorder(Protocol):
    """Writes down the exchanges of a process."""

    def begin(self, record: Record, asked: ClientRequest, body: bytes) -> ExchangeRecording:
        """The recording of the exchange of ``record``, with the client's request."""
        ...

    def hide(self, secrets: Secrets) -> None:
        """Take ``secrets`` out of what is written from now on."""
        ...

    async def run(self) -> None:
        """Write what ends, until ``finish``."""
        ...

    async def finish(self) -> None:
        """Wait until all is written."""
        ...


class NoRecorder:
    """The ``ExchangeRecorder`` of a process that writes nothing down."""

    def begin(self, record: Record, asked: ClientRequest, body: bytes) -> NoRecording:
        return NO_RECORDING

    def hide(self, secrets: Secrets) -> None:
        return

    async def run(self) -> None:
        return

    async def finish(self) -> None:
        return


class ExchangeTracer(Protocol):
    """Traces the exchanges of a process."""

    def begin(self, record: Record, headers: Headers, path: str) -> CallObserver:
        """Trace the exchange of ``record`` from now on, as part of what its client says in ``headers`` that it is."""
        ...

    async def aclose(self) -> None:
        """Send what is left, if that does not take long."""
        ...


class NoTracer:
    """The ``ExchangeTracer`` of a process that traces nothing."""

    def begin(self, record: Record, headers: Headers, path: str) -> Unobserved:
        return UNOBSERVED

    async def aclose(self) -> None:
        return
