"""A client's request for one target, and how the response of the target is read and written."""

import time
from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from gateway.allowances.expected import RequestSize, sent_usage
from gateway.conversations.recorder import TurnRecorder
from gateway.exchange.context import ExchangeContext
from gateway.exchange.disclosure import Disclosure
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.reserving import expected_background_tokens, sent_size_of, size_of
from gateway.http.headers import unknown_own_headers
from gateway.http.offload import offload
from gateway.ledger.bill import Cause
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest, with_betas, without_betas
from gateway.request.prepare import refuse_losses
from gateway.request.prepared import Prepared, requested_choices
from gateway.request.wire import move_headers_to_body, upstream_request
from gateway.routing.plan import Send, Stage
from gateway.routing.target import Omissions, Target, with_required_api
from gateway.seams.wrap_origin import RepeatedIds
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from providers.errors.member_paths import BETA, ROUTE, is_answered_whole
from providers.neutral.codec import Reply
from providers.neutral.wire_api import WITHOUT_MODEL
from streams.errors import invalid
from streams.events import Usage
from streams.pipe import Watch

if TYPE_CHECKING:
    from gateway.seams.open_response import ResponseChecks

T = TypeVar("T")


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class TargetRequest:
    """A client's request for the target of ``step``, which is ``target``, perhaps with another API.

    ``sent`` are the client's headers with the added betas, ``dropped_betas`` the paths of removed ones. ``disclosure``
    removes from the target's response what the client must not see. ``size`` is set if the attempt reserves anything,
    if the response alone does not show its cost, or if its estimate would take long when the attempt fails. ``checks``
    are those of its response. ``choices`` is the number of requested choices. ``ids`` is set if others receive the
    response, too."""

    context: ExchangeContext
    request: PlannedRequest
    step: Send
    target: Target
    prepared: Prepared
    sent: ClientRequest
    disclosure: Disclosure
    dropped_betas: tuple[str, ...] = ()
    size: RequestSize | None = None
    checks: "ResponseChecks | None" = None
    choices: int = 1
    ids: RepeatedIds | None = None

    @classmethod
    def of(
        cls,
        context: ExchangeContext,
        request: PlannedRequest,
        step: Send,
        target: Target,
        prepared: Prepared,
        size: RequestSize | None,
        choices: int,
    ) -> "TargetRequest":
        """Return the request with the client's headers for ``target``."""
        sent = with_betas(context.client_request, target.betas)
        dropped: tuple[str, ...] = ()
        refused, omitted = target.recipient.quirks.refused_betas, prepared.omissions.paths
        if (refused or omitted) and (target.lane == "byte" or target.betas):
            sent, dropped = without_betas(sent, (*[(BETA, name) for name in refused], *omitted))
        checks = None if context.checks is None else context.checks.response_checks(target)
        disclosure = Disclosure(target, context)
        return cls(
            context, request, step, target, prepared, sent, disclosure, dropped, size, checks, choices
        )  # fmt: skip

    def report(self, record: Record) -> None:
        """Record the target, and the parts of the request that are dropped or changed for it."""
        target, outgoing = self.target, self.prepared.outgoing
        record.target, record.model, record.provider_api = target.name, target.model, target.api
        record.lane = target.lane
        # A client that misspells x-trigate-budget must not believe that its limit applies.
        dropped = (*self.dropped_betas, *unknown_own_headers(self.context.client_request.headers))
        record.dropped, record.adapted = dropped, ()
        if outgoing.edits:
            record.dropped, record.adapted = (*outgoing.dropped, *dropped), outgoing.adapted
        if self.request.members is not None:
            record.by_operator = outgoing.by_operator
        if self.size is not None:
            record.bill.answers = self.size.output.answers
            if "background" in self.request.incoming.members and self.request.turn.background is None:
                tokens = expected_background_tokens(self.request.incoming, self.size.output)
                record.bill.expected_background_tokens = tokens

    def sent_usage(self) -> Usage:
        """Return the estimated usage of the request, for a response that reports none."""
        return sent_usage(self.target, self._estimated_size)

    @cached_property
    def _estimated_size(self) -> RequestSize:
        """The size, estimated once: the usage so far is requested after each piece of a recording."""
        return sent_size_of(self.prepared) if self.size is None else self.size

    async def upstream_request(self) -> UpstreamRequest:
        """Return the unsigned HTTP request."""
        request, target = self.request, self.target
        if ROUTE in self.prepared.omissions.paths and target.alternative_url is not None:
            target = attrs.evolve(target, url=target.alternative_url)
        outgoing, omitted = self.prepared.outgoing, self.prepared.omissions.paths
        streams = request.incoming.stream and not (omitted and is_answered_whole(omitted, outgoing.body))
        out = upstream_request(
            outgoing, target, self.sent, streams, request.suffix, method=request.method, media=request.media
        )
        if (hosting := target.hosting) is not None:
            keeps_model = (request.suffix or "").startswith(WITHOUT_MODEL)
            out = await offload(len(out.body), partial(move_headers_to_body, keeps_model=keeps_model), out, hosting)
        return out

    def reply(self, turn: TurnRecorder) -> Reply:
        """Return the gateway's own parts of the client's response: model, id, time and estimated usage."""
        request, target = self.request.incoming.request, self.target
        estimate = max(1, self.request.incoming.size // 4)
        created = int(time.time()) if self.ids is None else self.ids.creation_time
        outgoing = self.prepared.outgoing
        unsent = outgoing.dropped if outgoing.edits else ()
        requested = request  # a copy of it costs as much as the rest of the reply
        if request.model != target.requested_name:
            requested = attrs.evolve(request, model=target.requested_name)
        if self.checks is not None and (source := self.checks.restored_members(request.source)) is not request.source:
            requested = attrs.evolve(requested, source=source)
        reply = turn.reply(Reply(requested, target.recipient.issuer, created, estimate, unsent=unsent))
        return reply if self.ids is None or turn.records else attrs.evolve(reply, id="")

    def with_ids(self, salt: bytes, work: Callable[[], T]) -> T:
        """Return the result of ``work``, with the request's ids; ``salt`` distinguishes it from other work."""
        return work() if self.ids is None else self.ids.call(salt, work)

    def without_text(self) -> "TargetRequest":
        """Return the request without its text, which may have megabytes and is not needed once the response is read."""
        if self.request.is_small:
            return self
        return attrs.evolve(self, request=self.request.without_text(), prepared=self.prepared.without_text())


async def write_request(context: ExchangeContext, request: PlannedRequest, step: Send, cause: Cause) -> TargetRequest:
    """Return ``request`` for the target of ``step``.

    Raises ``GatewayError`` (400) if the target cannot serve it or, in strict mode, would lose a part. The losses of the
    first target are recorded before strict mode rejects them; those of a hedge only if it wins."""
    if context.checks is not None:
        request = await context.checks.check_for_target(request, step.target)
        context.observers.note_resolved(request.incoming)
    known = context.service.rejections.known_omissions(step.target, context.client_request)
    omissions = step.omissions.union(known) if known else step.omissions
    target = step.target
    if omissions.paths and request.suffix is None:  # only a conversation has another API
        target = with_required_api(target, omissions)
    prepared, choices = await offload(request.incoming.size, _prepare_request, request, target, omissions)
    if context.service.hooks.edit_sent and request.reports_target_health:
        for edit in context.service.hooks.edit_sent:
            prepared = await edit(prepared, target, context, request)
    size = None
    if request.reservation is not None or not _COSTLY.isdisjoint(request.incoming.members):
        size = await offload(prepared.size, size_of, prepared, target.api)
    elif prepared.size > LONG_ESTIMATE:
        size = await offload(prepared.size, sent_size_of, prepared)
    target_request = TargetRequest.of(context, request, step, target, prepared, size, choices)
    if cause == "first":
        target_request.report(context.record)
    if prepared.outgoing.edits and context.strict and prepared.outgoing.dropped:
        await offload(request.incoming.size, refuse_losses, prepared, target)
    if cause in ("retry", "fallback"):
        target_request.report(context.record)
    return target_request


def _prepare_request(request: PlannedRequest, target: Target, omissions: Omissions) -> tuple[Prepared, int]:
    """Return ``request`` in the form for ``target``, and the number of choices that it requests.

    Raises ``GatewayError`` (400) as ``write_request`` does."""
    prepared = request.prepare(target, omissions)
    if not request.reports_target_health:  # only a conversation has choices
        return prepared, 1
    is_translated, incoming = target.lane == "hub", request.incoming
    if is_translated:
        incoming.request  # noqa: B018  # read here, in a thread, because its response repeats parts of it
    if request.members is None and _COUNTS.isdisjoint(incoming.members):
        return prepared, 1
    choices = requested_choices(target.api, prepared.outgoing.body)
    if choices > 1 and is_translated and incoming.stream:
        raise invalid(
            f"the gateway's configuration requests {choices} choices from {target.name}, and trigate translates only "
            "one choice of a stream: send the request without streaming"
        )
    return prepared, choices


_COUNTS: Final = frozenset(("n", "generationConfig", "generation_config"))
"""Members of clients' requests that may set the number of choices."""

LONG_ESTIMATE: Final = 512 * 1024
"""Bytes of a request whose usage is estimated in a thread before it is sent, because a failed attempt is recorded in
the event loop: an image of 16 MB takes 40 ms. For these bytes it takes 0.3 ms, and 4 ms for the slowest ones."""

_COSTLY: Final = frozenset(("n", "background"))
"""Members of requests whose cost their responses do not show."""


class AnswerSource:
    """The source of a response: an attempt at a target, or the cache.

    - ``watch`` is the timer of its silence.
    - ``stage`` is the furthest stage that it reached, ``requests`` the number of requests sent for it."""

    stage = Stage.SENDING
    requests = 0

    def __init__(self, target_request: TargetRequest, watch: Watch) -> None:
        self.target_request = target_request
        self.watch = watch

    @property
    def is_shared(self) -> bool:
        """Whether others receive the response, too."""
        return self.target_request.ids is not None

    async def send(self) -> UpstreamResponse:
        """Return the successful response, which the caller closes. Raises ``GatewayError`` for the client otherwise.
        Called once."""
        raise NotImplementedError

    def release(self) -> None:
        """Release the request's text, which may have megabytes, while the response is read."""
        self.target_request = self.target_request.without_text()
