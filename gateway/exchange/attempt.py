"""One request to one target: prepared from the client's, sent once, its answer read."""

import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal, TypeAlias

import attrs
import trio

from gateway.allowances.reservation import CountedAs, Grant, Queued
from gateway.answer_cache.stored_answer import AnswerStamp
from gateway.config.redaction import Secrets, redact, redact_spelled
from gateway.exchange.context import ExchangeContext
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.uploading import watched
from gateway.health.health import OpenAttempt
from gateway.http.headers import Headers, upstream_id
from gateway.http.offload import offload
from gateway.ledger.record import Cause, Tried, TriedReason
from gateway.request.client_request import ClientRequest, with_betas, without_betas
from gateway.request.prepared import Prepared
from gateway.request.public_errors import client_headers, passthrough_error, public_error, secrets_of, with_passed
from gateway.request.wire import hosted, signed, upstream_request
from gateway.routing.most_useful import all_out
from gateway.routing.plan import Outage, Send, Stage
from gateway.routing.target import Target
from gateway.streaming.lane import too_large
from gateway.upstream.request import CredentialSource, UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from providers.apis import CODECS
from providers.auth.credential import Credential, secrets_of_credential
from providers.errors.ended import has_ended
from providers.errors.limits import told_outage
from providers.errors.rejected import BETA, ROUTE
from providers.neutral.codec import Writer
from providers.neutral.hosting import BESIDE
from streams.errors import GatewayError, invalid
from streams.events import ErrorInfo, FailureReason, Usage
from streams.fold import Fold
from streams.pipe import Watch

AnswerSource: TypeAlias = Literal["provider", "cache"]
"""Where an attempt's answer comes from: it is asked for, or was by another request."""

ERROR_BODY = 2**20  # bytes of an upstream's error response that are read


@attrs.frozen
class Refusal:
    """A provider's error as the client may hear of it. ``of_ended_credential``: another credential may mend it."""

    failed: ErrorInfo
    of_ended_credential: bool


class Attempt:
    """``begin`` and ``send_once`` are called once, ``close`` whatever has happened. The attempt ends committed, when
    its answer goes to the client, or failed, which is an outcome for the plan's policy. It knows of no other attempt.

    ``incoming`` is the client's request, without its text once that was released. ``lane_name`` is the way of its
    answer to the client, ``passed`` are the headers of that answer that are for the client, none before it is there;
    ``stage`` is the furthest point that the attempt has come to, ``requests`` how many went out for it, of those
    that are ``allowed``, ``watch`` is over all of it. ``raced``: another attempt may be made beside it. ``said`` are
    the characters of a whole answer whose tokens nobody has counted, ``usage`` what the provider of one that goes to
    nobody has said that it took; ``grant`` is what it has taken of its target's allowances, if that has any, or
    its place in the queue for them. Of an answer that is cached, or will be, ``stamp`` is what all writings of it have
    in common; ``instead`` is called once in place of sending a request, ``on_commit`` when the attempt commits,
    ``before_end`` right before the last bytes of a request are written. ``writer`` writes the client's stream if the
    answer is translated into one."""

    watch: Watch
    source: AnswerSource
    stamp: AnswerStamp | None
    instead: Callable[["Attempt"], Awaitable[UpstreamResponse]] | None
    on_commit: Callable[[], object] | None
    before_end: Callable[[], object] | None
    writer: Writer | None
    _open: OpenAttempt

    def __init__(
        self,
        context: ExchangeContext,
        request: PlannedRequest,
        step: Send,
        prepared: Prepared,
        cause: Cause = "first",
        grant: Grant | Queued | None = None,
    ) -> None:
        self.context = context
        self.step = step
        self.target = step.target
        self.prepared = prepared
        self.lane_name = step.target.lane
        self.passed: Headers = ()
        self.stage = Stage.SENDING
        self.requests = 0
        self.allowed = 2
        self.committed = False
        self.incoming = request.incoming
        self.cause = cause
        self.raced = False
        self.said = 0
        self.usage: Usage | None = None
        self.grant = grant
        self.source = "provider"
        self.stamp = self.instead = self.on_commit = self.before_end = self.writer = None
        self._began = self._head = self._content = 0.0
        self._status: int | None = None
        self._upstream_id: str | None = None
        self._response_headers: Headers = ()
        self._told: Tried | None = None
        self._delivered = False  # the provider may have the whole request
        self._request = request
        self._sent_words: tuple[str, ...] = ()  # the credentials with which requests went out
        self.sent, self._dropped_betas = self._client_side()

    def _client_side(self) -> tuple[ClientRequest, tuple[str, ...]]:
        """The client's headers with the betas that go along, and the places of those that do not."""
        target, sent = self.target, with_betas(self.context.asked, self.target.betas)
        if target.lane != "byte" and not target.betas:
            return sent, ()
        rows = ((BETA, name) for name in target.recipient.quirks.refused_betas)
        return without_betas(sent, (*rows, *self.prepared.left.paths))

    @property
    def secrets(self) -> Secrets:
        """The credentials to be taken out of the provider's words; most answers never need them."""
        return secrets_of(self.target, self.context.asked.credential, self._sent_words)

    def begin(self, *, added: bool) -> None:
        """The attempt's request is about to be sent, perhaps after a wait, ``added`` to what the client has brought."""
        self._began = time.perf_counter()
        credential = self.context.passed_on(self.target)
        self._open = self.context.service.health.begin(self.target, credential, added=added)
        self.context.service.balancer.loads.opened(self.target)

    @property
    def overtaken(self) -> bool:
        """Whether another request had begun to try the target, or to wait for it, when this one began."""
        return self._open.overtaken

    def take_back(self) -> None:
        """It has not begun, or is over."""
        self._open.close()
        self.context.service.balancer.loads.closed(self.target)

    def drop(self) -> None:
        """It is not made after all."""
        if isinstance(self.grant, Grant):
            self.grant.end(None)

    def reuse(self) -> None:
        """Its answer is another request's, or out of the cache: nothing is sent for it, and it says nothing of its
        target."""
        self.source = "cache"
        self.drop()

    def seconds_out(self) -> float:
        """Seconds until the target is due."""
        return self.context.service.health.wait(self._open)

    def still_out(self, seconds: float) -> ErrorInfo:
        """The failure of an attempt whose target is out for longer than it may wait."""
        return attrs.evolve(all_out([(self.target, Outage("overloaded", seconds))], 0.0), reason=None)

    def commit(self) -> None:
        """The answer goes to the client."""
        self.committed = True
        self._content = time.perf_counter()
        self.watch.begun()
        if self.on_commit is not None:
            self.on_commit()
        if self.source == "provider":
            self._teach(self._content - self._began)
            if self._request.tells_of_target:
                self._open.began()
        if self.context.record.target is not self.target.name:
            self.report()
        self._tell("ok")

    def fail(self, failed: ErrorInfo, told: FailureReason | None = None) -> None:
        """The attempt has failed: before it committed, or behind that, so that the client is told. ``told`` is the
        reason where that says nothing of the target, and ``failed`` has none. Nothing is said of one that has lost
        already."""
        if self._told is not None and not self.committed:
            return
        if self.raced and not self.committed:
            self.context.record.upstream_id = self._upstream_id
        if self.source == "provider":
            if not self.committed and failed.reason == "timeout":
                self._teach(time.perf_counter() - self._began, at_least=True)
            if self._request.tells_of_target:
                self._open.failed(failed)
        self._tell(failed.reason or told or "internal")

    def close(self) -> None:
        """It is over, and nothing of it is open any more."""
        self.take_back()
        if not self._told:
            self._tell("client_left")
        if isinstance(self.grant, Grant) and not self.committed:
            assert self._told is not None
            self.grant.end(self.context.record.charge(self._told))

    def lose(self) -> None:
        """Another attempt has committed, which was made beside this one."""
        self._tell("hedge_lost")
        self._teach(time.perf_counter() - self._began, at_least=True)

    async def leave_if_lost(self) -> None:
        """Raises ``trio.Cancelled`` where another attempt beside this one has committed: its answer may come at the
        very same moment, before it has been stopped."""
        if self.raced:
            await trio.lowlevel.checkpoint_if_cancelled()

    def _teach(self, seconds: float, *, at_least: bool = False) -> None:
        """Let the targets of a route be compared by the time that the first content of streams takes."""
        request = self._request
        if request.plan.route is not None and request.tells_of_target and self.incoming.stream and not self.step.after:
            service = self.context.service
            service.balancer.loads.observed(self.target, seconds, service.health.clock(), at_least=at_least)

    def _tell(self, reason: TriedReason) -> None:
        """Put on record what has become of the attempt: if it fails behind its commit, in place of what was told."""
        record, tried = self.context.record, self._tried(reason)
        before = record.tried if self._told is None else tuple(one for one in record.tried if one is not self._told)
        record.tried = (*before, tried)
        self._told = tried

    def _repeat(self, reason: TriedReason) -> None:
        """Put on record that a request of the attempt failed for ``reason``, and that the attempt sends another."""
        self._delivered = False
        self.context.record.tried = (*self.context.record.tried, self._tried(reason))
        self.cause = "retry"
        self._status, self._head = None, 0.0

    def _tried(self, reason: TriedReason) -> Tried:
        began = self._began
        return Tried(
            self.target.place,
            self.target.entry.provider.id,
            self.target.api,
            self.lane_name,
            reason,
            self.cause,
            self._status,
            self._head - began if self._head else None,
            self._content - began if self._content else None,
            None if reason == "ok" else time.perf_counter() - began,
            usage=None if self.committed else self.usage,
            unknown_input=self.context.record.tokens_asked() if reason != "ok" and self._may_be_billed() else None,
            committed=self.committed,
            model=self.target.name,
            price=self.target.price,
        )

    def _may_be_billed(self) -> bool:
        """Return whether the provider may bill an attempt of which the client has nothing: it has begun to answer, or
        has the whole request and nobody heard how it went on (bircex/llmr#48)."""
        if self.committed or self.source == "cache" or self._request.counted_as is not CountedAs.ANSWER:
            return False
        if self._status is None:
            return self._delivered
        return 200 <= self._status < 300

    def put_on_record(self, folded: Fold) -> None:
        """Put on record what a whole answer says of itself."""
        record = self.context.record
        record.opening, record.usage, record.said = folded.start, folded.usage, self.said
        self.usage = folded.usage

    def report(self) -> None:
        """Put on record what is sent, and how."""
        record, outgoing, target = self.context.record, self.prepared.outgoing, self.target
        record.target, record.model, record.provider_api = target.name, target.model, target.api
        record.lane = self.lane_name
        record.dropped = (*outgoing.dropped, *self._dropped_betas)
        record.adapted = outgoing.adapted
        if self.raced:
            record.upstream_id = self._upstream_id

    async def send_once(self) -> UpstreamResponse:
        """The provider's response, whose status is good; the caller closes it. Raises ``GatewayError``, fit for the
        client, for any other, and where there is none."""
        if (instead := self.instead) is not None:
            self.instead = None
            return await instead(self)
        context, request = self.context, self._request
        self._began = time.perf_counter()
        target = self.target
        if ROUTE in self.prepared.left.paths and target.elsewhere is not None:
            target = attrs.evolve(target, url=target.elsewhere)
        out = upstream_request(
            self.prepared.outgoing, target, self.sent, self.incoming.stream, request.suffix, method=request.method,
            media=request.media,
        )  # fmt: skip
        if (hosting := self.target.hosting) is not None:
            beside = (request.suffix or "").startswith(BESIDE)
            out = await offload(len(out.body), partial(hosted, keeps_model=beside), out, hosting)
        out = context.observer.outgoing(out)
        source = context.service.credentials.get(self.target.entry.name)
        credential = context.credential_for(self.target) if source is None else await source.credential()
        response = await self._sent(out, credential)
        if not self._is_good(response):
            refusal = await self._refusal(response)
            renewed = None if source is None else await self._renewed(source, credential, refusal)
            if renewed is None or request.upload is not None:  # what was sent as it came cannot be sent again
                raise GatewayError.of(refusal.failed)
            self._repeat(refusal.failed.reason or "credential")
            response = await self._sent(out, renewed)
            if not self._is_good(response):
                raise GatewayError.of((await self._refusal(response)).failed)
        return self._answering(response)

    def _is_good(self, response: UpstreamResponse) -> bool:
        return 200 <= response.status < 300 or response.status in self._request.answers

    async def send_another(self, body: bytes) -> UpstreamResponse:
        """The response to one more request like the last, with ``body``. Raises as ``send_once`` does."""
        outgoing = attrs.evolve(self.prepared.outgoing, body=body)
        self.prepared = attrs.evolve(self.prepared, outgoing=outgoing)
        self.stage = Stage.SENDING
        self.allowed = self.requests + 2
        self.watch.asked()
        return await self.send_once()

    def _answering(self, response: UpstreamResponse) -> UpstreamResponse:
        """``response``, whose status is good."""
        self.stage = Stage.ANSWERING
        if self._request.shows is not None:
            self._request.shows(self.target, response)
        if len(self._request.plan.candidates) > 1 and not self.target.entry.passthrough_auth:
            self.context.service.health.told.heard(self.target.identity.place, told_outage(response.headers))
        return response

    async def _renewed(
        self, source: CredentialSource, refused: Credential | None, refusal: Refusal
    ) -> Credential | None:
        """Another credential than the one that was ``refused``, where that may mend it."""
        return await source.renewed(refused) if refused is not None and refusal.of_ended_credential else None

    async def _sent(self, request: UpstreamRequest, credential: Credential | None) -> UpstreamResponse:
        """The head of the answer to ``request``, signed with ``credential`` now. Raises ``GatewayError``."""
        context = self.context
        if credential is not None:
            self._sent_words += secrets_of_credential(credential)
        size = len(request.body) // 16  # the most that is done to it is a digest
        out = await offload(size, signed, request, self.target, credential, time.time())
        most = None if self.incoming.stream else context.service.limits.answer
        upload = None if self._request.upload is None else watched(self._request.upload, self.watch, self._before_end)
        out = attrs.evolve(
            out, placed=partial(self._on_send, out), again=self._send_again, max_chunk=most, upload=upload,
            before_end=self._before_end,
        )  # fmt: skip
        response = await context.service.upstream.send(out)
        self._head, self._status = time.perf_counter(), response.status
        self._response_headers = response.headers
        self._upstream_id = self._redacted(upstream_id(response.headers))
        if not self.raced:  # the record of a race is that of the attempt which wins
            context.record.upstream_id = self._upstream_id
        context.observer.responded(out, response)
        return response

    def _on_send(self, request: UpstreamRequest, waited: bool) -> None:
        """``request`` has its slot: until then the provider has no part in it."""
        context, target = self.context, self.target
        context.record.attempts += 1
        self.requests += 1
        context.observer.sent(request, waited, target.api, target.entry.provider.id, lambda: self.secrets)

    def _send_again(self) -> bool:
        """Whether the request may go out a second time, because it met a connection that was dead."""
        if self.requests >= self.allowed:
            return False
        self._repeat("connection")
        self.context.record.attempts += 1
        self.requests += 1
        return True

    def _before_end(self) -> None:
        """The last bytes of the request are about to be written."""
        self._delivered = True
        if self.before_end is not None:
            self.before_end()

    async def _refusal(self, response: UpstreamResponse) -> Refusal:
        """The error that the provider has answered with."""
        try:
            body = await response.read(ERROR_BODY)
        except GatewayError:
            body = b""  # cut or endless: the status says enough
        finally:
            await response.aclose()
        self.context.observer.received(body)
        read = CODECS[self.target.api].read_error(response.status, body, response.headers)
        ended = has_ended(response.status, read, response.headers)
        failed = self.public_error(self.with_headers(read))
        if failed.status != response.status:
            return Refusal(failed, ended)
        own = passthrough_error(body, self.incoming.api, self.target, self.secrets)
        return Refusal(failed if own is None else attrs.evolve(failed, body=own), ended)

    def public_error(self, failed: ErrorInfo) -> ErrorInfo:
        """``failed`` as the client may hear of it."""
        return public_error(failed, self.incoming.api, self.target, self.secrets)

    def with_headers(self, failed: ErrorInfo) -> ErrorInfo:
        """Return ``failed`` with the headers for the client of the response in which the provider has reported it."""
        return with_passed(failed, self._for_client(self._response_headers))

    def redact(self, data: bytes) -> bytes:
        """A whole answer of the provider's, which may hold its key."""
        return redact(data, self.secrets)

    def redact_error(self, data: bytes) -> bytes:
        """An error of the provider's, which may hold its key in any spelling."""
        return redact_spelled(data, self.secrets)

    def _redacted(self, text: str | None) -> str | None:
        """A header's value. Which credentials there are is found out only where one may be in it."""
        if text is None or not self._may_repeat(text):
            return text
        return redact_spelled(text.encode(), self.secrets).decode()

    def _may_repeat(self, text: str) -> bool:
        """Whether a credential may be in ``text``: the one that was sent is, or there are others, or other
        spellings."""
        entry = self.target.entry
        for word in self._sent_words:
            if word in text:
                return True
        return bool(
            "%" in text
            or "\\" in text
            or entry.headers
            or (entry.base_url is not None and ("@" in entry.base_url or "?" in entry.base_url))
        )

    # The answer

    async def read_all(self, response: UpstreamResponse, watch: Watch) -> bytes:
        """The whole body of the provider's answer, which is closed then. Raises ``GatewayError``."""
        limit = self.context.service.limits.answer
        parts: list[bytes] = []
        size = 0
        watch.heard()
        try:
            async for chunk in response.chunks():
                watch.heard()
                parts.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise GatewayError.of(too_large(limit))
        finally:
            await response.aclose()
        body = b"".join(parts)
        self.context.observer.received(body)
        return body

    def keep_headers(self, response: UpstreamResponse) -> None:
        """Keep the headers of the provider's answer that are for the client."""
        self.passed = self._for_client(response.headers)

    def _for_client(self, headers: Headers) -> Headers:
        """Return those of a response's ``headers`` that the client gets."""
        passed = client_headers(headers, self.target, self.lane_name)
        if self._may_repeat("".join([value for _, value in passed])):
            passed = tuple((name, self._redacted(value) or "") for name, value in passed)
        return passed

    def change_form(self) -> None:
        """The provider answers whole for a stream or the other way round, so that its answer is translated. Raises
        ``GatewayError`` (400) for a client that has asked for several choices: it would get one of them."""
        self.lane_name = "hub"
        if not self.raced:
            self.context.record.lane = "hub"
        n = self.incoming.request.parameters.get("n")
        if n is not None and n.value > 1:
            other = "whole, not as a stream" if self.incoming.stream else "with a stream, not whole"
            raise invalid(f"{n.at} must be 1: the provider answers {other}, and one choice is translated", n.at)

    def release_request(self) -> None:
        """The attempt commits: let go of the request's text, which may be megabytes, for as long as the answer
        takes."""
        self._request = self._request.released()
        self.incoming = self._request.incoming
        outgoing = attrs.evolve(self.prepared.outgoing, body=b"")
        self.prepared = attrs.evolve(self.prepared, outgoing=outgoing)


def is_stream(target: Target, response: UpstreamResponse) -> bool:
    """True if the provider answers with a stream of its API's events, whatever it was asked for."""
    return target.framing.announced_by(response.header("content-type"))
