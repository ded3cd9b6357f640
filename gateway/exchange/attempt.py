"""One exchange's call to its provider: the request as the provider gets it, its answer or the error it comes to."""

import time
from functools import partial
from typing import TYPE_CHECKING

import attrs

from gateway.config.redaction import Secrets, redact
from gateway.exchange.service import Service
from gateway.http.headers import Headers, passthrough_headers, translated_headers, upstream_id
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest, with_betas, without_betas
from gateway.request.parse import Incoming
from gateway.request.prepared import Prepared
from gateway.request.public_errors import passthrough_error, public_error, secrets_of
from gateway.request.rejections import RejectionKey
from gateway.request.retry_without import MOST, retry_without
from gateway.request.wire import signed, upstream_request
from gateway.routing.target import Target
from gateway.streaming.lane import too_large
from gateway.upstream.credentials import StaticCredential
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from providers.apis import CODECS
from providers.errors.failures import read_failure
from providers.errors.rejected import BETA
from providers.neutral.hints import losses
from streams.errors import GatewayError
from streams.events import ErrorInfo
from streams.pipe import Watch

if TYPE_CHECKING:
    from gateway.telemetry.recording import Recording

NO_SUCH_PATH = (404, 405, 501)
"""How a server says that it does not do what is asked for below its API: counting tokens, compacting."""

ERROR_BODY = 2**20  # bytes of an upstream's error response that are read


class Calling:
    """The request ``incoming`` on its way to ``target``. ``passed`` are the headers of the answer that are for the
    client, once it is there; ``prepared`` is what was sent last."""

    def __init__(
        self,
        service: Service,
        asked: ClientRequest,
        record: Record,
        incoming: Incoming,
        target: Target,
        prepared: Prepared,
        strict: bool = False,
    ) -> None:
        """``strict``: nothing more may be left out that may change the answer."""
        self._service = service
        self._asked = self._sent = with_betas(asked, target.betas)
        self._strict = strict
        self._record = record
        self.incoming = incoming
        self.target = target
        self.passed: Headers = ()
        self.method = "POST"
        self.once = False
        """The request goes as it is, or not at all: there is no second try, and no other form of its answer."""
        self.recording: Recording | None = None
        self.passing: tuple[ErrorInfo | None, bytes] = (None, b"")
        """The provider's error as it was told, and its body as it can go out."""
        self._credential: str | None = None  # with which the request went out
        self._put(prepared)

    @property
    def secrets(self) -> Secrets:
        """What is taken out of the provider's words; most answers never need it."""
        return secrets_of(self.target, self._asked.credential, self._credential)

    def _put(self, prepared: Prepared) -> None:
        self.prepared = prepared
        betas: tuple[str, ...] = ()
        if self.target.lane == "byte" or self.target.betas:
            rows = ((BETA, name) for name in self.target.recipient.quirks.refused_betas)
            self._sent, betas = without_betas(self._asked, (*rows, *prepared.left.paths))
        self._record.dropped = (*prepared.outgoing.dropped, *betas)
        self._record.adapted = prepared.outgoing.adapted

    async def send(self) -> UpstreamResponse:
        """The provider's response, whose status is good. Raises ``GatewayError`` for any other.

        A provider that refuses what it can do without is asked once more without it, and not asked with it again."""
        known, tries = self.prepared.left.paths, 0
        while True:
            try:
                response = await self.ask()
                break
            except GatewayError as error:
                tries += 1
                if self.once or tries > MOST or not self._put_again(error.failed):
                    raise
        if more := self.prepared.left.paths[len(known) :]:
            self._service.learned.add(RejectionKey.to(self.target, self._asked), more)
        return response

    def _put_again(self, failed: ErrorInfo) -> bool:
        """Whether there is another request to be made after ``failed``."""
        other = retry_without(self.prepared, self._sent, self.incoming, self.target, failed)
        if other is None or (self._strict and set(losses(other.outgoing.dropped)) - set(self._record.dropped)):
            return False
        self._put(other)
        return True

    async def ask(self, suffix: str | None = None) -> UpstreamResponse:
        """``send`` without a second try; ``suffix`` goes behind the path."""
        incoming, target = self.incoming, self.target
        request = upstream_request(
            self.prepared.outgoing, target, self._sent, incoming.stream, suffix, method=self.method
        )
        if (trace := self._record.trace) is not None:
            request = trace.calls(request)
        request = await self._signed(request)
        response = await self._service.upstream.send(attrs.evolve(request, placed=partial(self._goes_out, request)))
        self._record.attempts += response.attempts - 1
        self._record.upstream_id = upstream_id(response.headers)
        if trace is not None:
            trace.answers(response.status)
        if self.recording is not None:
            self.recording.hears(response)
        if 200 <= response.status < 300:
            return response
        try:
            body = await response.read(ERROR_BODY)
        except GatewayError:
            body = b""  # cut or endless: the status says enough
        finally:
            await response.aclose()
        if self.recording is not None:
            self.recording.came(body)
        failed = self.public_error(read_failure(response.status, body, response.headers))
        passing = (
            passthrough_error(body, incoming.api, target, self.secrets) if failed.status == response.status else None
        )
        if passing is not None:
            self.passing = (failed, passing)
        raise GatewayError.of(failed)

    async def _signed(self, request: UpstreamRequest) -> UpstreamRequest:
        """``request`` with a signature that holds for this attempt. Raises ``GatewayError`` where no credential can be
        had."""
        own = StaticCredential(self.target.credential(self._asked.credential))
        self._credential = await self._service.credentials.get(self.target.entry.name, own).credential()
        return signed(request, self.target, self._credential, time.time())

    def _goes_out(self, request: UpstreamRequest, waited: bool) -> None:
        """``request`` has its place: until then the provider has no part in it."""
        self._record.attempts += 1
        if self._record.trace is not None:
            self._record.trace.goes_out(waited)
        if self.recording is not None:
            self.recording.calls(request, self.target.api, self.target.entry.provider.id, self.secrets)

    def public_error(self, failed: ErrorInfo) -> ErrorInfo:
        """``failed`` as the client may hear of it."""
        return public_error(failed, self.incoming.api, self.target, self.secrets)

    def redact(self, data: bytes) -> bytes:
        return redact(data, self.secrets)

    def hear(self, response: UpstreamResponse) -> None:
        """Keep the headers of the provider's answer that are for the client."""
        self.passed = (passthrough_headers if self._record.lane == "byte" else translated_headers)(response.headers)

    def let_go(self) -> None:
        """The provider has begun to answer: nobody asks again, and the request's text, which may be megabytes, does not
        stay for as long as the answer takes."""
        self.incoming = attrs.evolve(self.incoming, body=b"", members={}, earlier=())
        outgoing = attrs.evolve(self.prepared.outgoing, body=b"")
        self.prepared = attrs.evolve(self.prepared, outgoing=outgoing, request=None)

    # Whole answers

    async def fetch(self, suffix: str | None = None) -> tuple[UpstreamResponse, bytes]:
        """The provider's answer and its body, by ``send`` or by ``ask(suffix)``. Raises ``GatewayError``."""
        watch = Watch(self.target.entry.timeouts)
        with self._service.lifecycle.pump(watch.scope), watch.scope:
            response = await (self.send() if suffix is None else self.ask(suffix))
            try:
                return response, await self._read(response, watch)
            finally:
                await response.aclose()
        self._record.shut_down = is_shut_down(watch)
        raise GatewayError.of(watch.failed())

    async def _read(self, response: UpstreamResponse, watch: Watch) -> bytes:
        limit = self._service.limits.answer
        parts: list[bytes] = []
        size = 0
        watch.heard()
        async for chunk in response.chunks():
            watch.heard()
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                raise GatewayError.of(too_large(limit))
        body = b"".join(parts)
        if self.recording is not None:
            self.recording.came(body)
        return body


def is_shut_down(watch: Watch) -> bool:
    """Whether it was the end of the drain that cut what ``watch`` is over, and not its own limits."""
    return watch.scope.cancelled_caught and watch.failed().kind == "overloaded"


def is_stream(target: Target, response: UpstreamResponse) -> bool:
    """Whether the upstream answers with a stream of its API's events, whatever it was asked for."""
    return CODECS[target.api].wire.framing.announced_by(response.header("content-type"))
