"""A client's request as it goes to one target, with what that target's answer is read and written by."""

import time
from functools import partial
from typing import Protocol

import attrs

from gateway.answer_cache.stored_answer import AnswerStamp
from gateway.config.redaction import Secrets, redact, redact_spelled
from gateway.conversations.recorder import TurnRecorder
from gateway.exchange.context import ExchangeContext
from gateway.exchange.planned import PlannedRequest
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.ledger.bill import Cause
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest, with_betas, without_betas
from gateway.request.prepare import refuse_losses
from gateway.request.prepared import Prepared
from gateway.request.public_errors import client_headers, public_error, secrets_of, with_passed
from gateway.request.rejections import RejectionKey
from gateway.request.wire import hosted, upstream_request
from gateway.routing.omissions import NOTHING, Omissions
from gateway.routing.plan import Send, Stage
from gateway.routing.target import LaneName, Target
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from providers.errors.rejected import BETA, ROUTE
from providers.neutral.codec import Reply
from providers.neutral.hosting import BESIDE
from streams.events import ErrorInfo
from streams.pipe import Watch


class Disclosure:
    """What a client may see of a target's words: its errors, headers and bodies without the credentials for it.
    ``sent_words`` are the credentials with which requests went out."""

    def __init__(self, target: Target, context: ExchangeContext) -> None:
        self.sent_words: tuple[str, ...] = ()
        self._target = target
        self._context = context

    @property
    def secrets(self) -> Secrets:
        """The credentials that are taken out; most answers never need them."""
        return secrets_of(self._target, self._context.asked.credential, self.sent_words)

    def error(self, failed: ErrorInfo) -> ErrorInfo:
        """Return ``failed`` as the client may hear of it."""
        return public_error(failed, self._context.codec.api, self._target, self.secrets)

    def error_with(self, failed: ErrorInfo, headers: Headers, lane: LaneName) -> ErrorInfo:
        """Return ``failed`` with the headers for the client of the response in which the provider has reported it."""
        return with_passed(failed, self.headers(headers, lane))

    def body(self, data: bytes) -> bytes:
        """Return a whole answer without the provider's key, should it hold it."""
        return redact(data, self.secrets)

    def error_body(self, data: bytes) -> bytes:
        """Return an error of the provider's without its key in any spelling."""
        return redact_spelled(data, self.secrets)

    def headers(self, headers: Headers, lane: LaneName) -> Headers:
        """Return those of a response's ``headers`` that the client gets."""
        passed = client_headers(headers, self._target, lane)
        if self._may_repeat("".join([value for _, value in passed])):
            passed = tuple((name, self.text(value) or "") for name, value in passed)
        return passed

    def text(self, text: str | None) -> str | None:
        """Return a header's value. Which credentials there are is found out only where one may be in it."""
        if text is None or not self._may_repeat(text):
            return text
        return redact_spelled(text.encode(), self.secrets).decode()

    def _may_repeat(self, text: str) -> bool:
        """Return whether a credential may be in ``text``: the one that was sent is, or there are others, or other
        spellings."""
        entry = self._target.entry
        for word in self.sent_words:
            if word in text:
                return True
        return bool(
            "%" in text
            or "\\" in text
            or entry.headers
            or (entry.base_url is not None and ("@" in entry.base_url or "?" in entry.base_url))
        )


@attrs.frozen(eq=False, repr=False, slots=False)  # made with fewer calls, and there is one of it for a request
class TargetRequest:
    """A client's request, written for the target of ``step``. ``sent`` are the client's headers with the betas that go
    along, ``dropped_betas`` the places of those that do not. ``disclosure`` says what the client may see of the
    target's words."""

    context: ExchangeContext
    request: PlannedRequest
    step: Send
    target: Target
    prepared: Prepared
    sent: ClientRequest
    disclosure: Disclosure
    dropped_betas: tuple[str, ...] = ()

    @classmethod
    def of(cls, context: ExchangeContext, request: PlannedRequest, step: Send, prepared: Prepared) -> "TargetRequest":
        """Choose the client's headers for the target of ``step``."""
        target, sent = step.target, with_betas(context.asked, step.target.betas)
        dropped: tuple[str, ...] = ()
        if target.lane == "byte" or target.betas:
            rows = ((BETA, name) for name in target.recipient.quirks.refused_betas)
            sent, dropped = without_betas(sent, (*rows, *prepared.left.paths))
        return cls(context, request, step, target, prepared, sent, Disclosure(target, context), dropped)

    def report(self, record: Record) -> None:
        """Put on ``record`` what is sent, and how."""
        target, outgoing = self.target, self.prepared.outgoing
        record.target, record.model, record.provider_api = target.name, target.model, target.api
        record.lane = target.lane
        record.dropped = (*outgoing.dropped, *self.dropped_betas)
        record.adapted = outgoing.adapted

    async def upstream_request(self) -> UpstreamRequest:
        """Write the HTTP request, which is not signed yet."""
        request, target = self.request, self.target
        if ROUTE in self.prepared.left.paths and target.elsewhere is not None:
            target = attrs.evolve(target, url=target.elsewhere)
        out = upstream_request(
            self.prepared.outgoing, target, self.sent, request.incoming.stream, request.suffix, method=request.method,
            media=request.media,
        )  # fmt: skip
        if (hosting := target.hosting) is not None:
            beside = (request.suffix or "").startswith(BESIDE)
            out = await offload(len(out.body), partial(hosted, keeps_model=beside), out, hosting)
        return out

    def reply(self, turn: TurnRecorder, stamp: AnswerStamp | None = None) -> Reply:
        """Return the frame of the answer to the client. ``stamp`` is that of an answer that the cache knows."""
        request, target = self.request.incoming.request, self.target
        estimate = max(1, self.request.incoming.size // 4)
        created = int(time.time()) if stamp is None else stamp.created
        unsent = self.prepared.outgoing.dropped
        asked = attrs.evolve(request, model=target.asked)
        reply = turn.reply(Reply(asked, target.recipient.issuer, created, estimate, unsent=unsent))
        return reply if stamp is None or turn.records else attrs.evolve(reply, id="")

    def released(self) -> "TargetRequest":
        """Return the same without its text, which may be megabytes and is of no use once its answer is read."""
        if self.request.is_small:
            return self
        outgoing = attrs.evolve(self.prepared.outgoing, body=b"")
        return attrs.evolve(
            self, request=self.request.released(), prepared=attrs.evolve(self.prepared, outgoing=outgoing)
        )


async def write_request(context: ExchangeContext, request: PlannedRequest, step: Send, cause: Cause) -> TargetRequest:
    """Write ``request`` for the target of ``step``. Raises ``GatewayError`` (400) for what the target cannot honour or,
    in strict mode, cannot be given. The losses of the first target are recorded before strict mode
    refuses them; those of a hedge only if it wins."""
    known = known_omissions(context, step.target)
    left = step.omissions.union(known) if known else step.omissions
    prepared = await offload(request.incoming.size, request.prepare, step.target, left)
    made = TargetRequest.of(context, request, step, prepared)
    if cause == "first":
        made.report(context.record)
    if prepared.outgoing.dropped and context.strict:
        await offload(request.incoming.size, refuse_losses, prepared, step.target)
    if cause in ("retry", "fallback"):
        made.report(context.record)
    return made


def known_omissions(context: ExchangeContext, target: Target) -> Omissions:
    """The parts of a request that the target's provider has refused before."""
    learned = context.service.learned
    paths = learned.of(RejectionKey.to(target, context.asked)) if learned else ()
    return Omissions(paths=paths) if paths else NOTHING


class AnswerSource(Protocol):
    """A place that an answer comes from: an attempt at a target, or the cache of answers."""

    @property
    def made(self) -> TargetRequest:
        """What the answer is an answer to."""
        ...

    @property
    def watch(self) -> Watch:
        """The watch over the silence of whoever answers."""
        ...

    @property
    def stamp(self) -> AnswerStamp | None:
        """What all writings of an answer have in common that is cached, or will be."""
        ...

    @property
    def stage(self) -> Stage:
        """The furthest point that it has come to."""
        ...

    @property
    def requests(self) -> int:
        """The requests that went out for it."""
        ...

    async def send(self) -> UpstreamResponse:
        """Return the response, whose status is good; the caller closes it. Raises ``GatewayError``, fit for the client,
        for any other, and where there is none. Called once."""
        ...

    def release(self) -> None:
        """Let go of the text of the request."""
        ...
