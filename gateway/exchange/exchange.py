"""One request from its body to its settlement: read it, plan it, walk the plan, and answer in the client's API.

Every task of an exchange lives in the request's nursery (``scope.nursery``): the client leaving cancels that nursery,
which closes the upstream connection. Until the commit point (the first content of the upstream's answer) a failure is
an honest HTTP status; after it, one error event.
"""

from functools import partial
from typing import TYPE_CHECKING

import attrs

from gateway.allowances.expected import asked_output
from gateway.allowances.reservation import Reservation
from gateway.allowances.runs import run_of
from gateway.conversations.background import BackgroundTurn
from gateway.conversations.recorder import DetachableTurn
from gateway.conversations.resolved import StateScope
from gateway.exchange.answering import fold_answer, further_answers, has_several, reply_to, written_answer
from gateway.exchange.attempt import Attempt
from gateway.exchange.cached import AnswerKind, CachedAsk, ConversationAnswers, going_on
from gateway.exchange.conditions import PlaceConditions
from gateway.exchange.context import ExchangeContext
from gateway.exchange.disconnect import Audience, survive_disconnect
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.planning import Planning
from gateway.exchange.reserving import expected_alone, reserve_for
from gateway.exchange.responding import refused, responded
from gateway.exchange.service import Service
from gateway.exchange.stamped import stamped, stamped_fold
from gateway.exchange.stream import StreamedAnswer, first_lane
from gateway.exchange.walk import Walk
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.http.response import JSON_HEADERS, STREAM_HEADERS, Response, ResponseBody, stream_headers
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from gateway.streaming.doubt import answer_doubt
from gateway.telemetry.observer import UNOBSERVED, CallObserver
from providers.apis import CODECS
from providers.responses.output import ResponseTemplate
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo
from streams.fold import Answer, Fold

if TYPE_CHECKING:
    from collections.abc import Callable


class Exchange:
    """One request. ``answer`` is called once, in a task of the request's nursery. ``memory`` is where it is remembered,
    if not in the service's store under the client's name; ``trace`` sees its calls to providers."""

    def __init__(
        self,
        service: Service,
        api: Api,
        asked: ClientRequest,
        scope: RequestScope,
        record: Record,
        memory: StateScope | None = None,
        trace: CallObserver = UNOBSERVED,
    ) -> None:
        self._context = ExchangeContext(service, CODECS[api], asked, record, trace)
        self._scope = scope
        owner = service.admission.holder(asked.client, asked.headers)
        self._memory = memory or StateScope(owner, service.store, named=asked.client is not None)
        self.record = record
        self._reservation: Reservation | None = None  # of what its client and targets may use

    @property
    def context(self) -> ExchangeContext:
        """The sides of the exchange that its attempts share."""
        return self._context

    async def answer(self, body: bytes) -> Response:
        """The response to ``body``; for a stream its beginning, the rest follows from the nursery's tasks.

        Cancellation (the client has left) closes the upstream connection and passes on."""
        context = self._context
        self._context = context.recorded(context.service.recorder.begin(self.record, context.asked, body))
        try:
            walk = await self.walk(await self.read(body))
            if (turn := walk.request.turn.background) is not None:
                return await self._leave(walk, turn)
            return await self.answer_to(walk)
        except GatewayError as error:
            return self.refuse(error.failed)

    async def read(self, body: bytes) -> PlannedRequest:
        """The request with all that it refers to, and its plan. Raises ``GatewayError``."""
        self._context.service.live_view.asked(self.record, body)
        planning = Planning(self._context, self._memory)
        request = await planning.read(body)
        self._context = planning.context
        return request

    def first_of(self, plan: Plan) -> Target | None:
        """The first target of ``plan`` that is not out; a single one is always asked."""
        if len(plan.candidates) == 1:
            return plan.first
        conditions = PlaceConditions(self._context, plan)
        return next((one for one in plan.targets if conditions.outage(one, alone=False) is None), None)

    async def walk(self, request: PlannedRequest) -> Walk:
        """The walk of the request's plan, its first attempt prepared. Raises ``GatewayError`` (400) for what no target
        can honour or, in strict mode, be given."""
        if self._context.service.router.passes_credentials:
            request = attrs.evolve(request, plan=request.plan.with_each(self._context.billed))
        self.record.asked_size = request.incoming.size
        if "background" in request.incoming.members and request.turn.background is None:
            self.record.goes_on = expected_alone(request.incoming)
        if "n" in request.incoming.members:
            self.record.answers = asked_output(request.incoming).answers
        service = self._context.service
        limited = service.allowances.any or request.budgets
        if limited or service.kept_ledger.keeps:
            self.record.run = run_of(self._context.asked, request.incoming)
        reservation = await self._reserved(request) if limited else None
        return await Walk.begin(self._context, request, reservation)

    async def _reserved(self, request: PlannedRequest) -> Reservation | None:
        """The reservation of the exchange, however many requests it makes."""
        if self._reservation is None:
            self.record.reservation = self._reservation = await reserve_for(self._context, request)
            if self._reservation is not None:
                self._scope.on_last_bytes(self._reservation.release_places)
        return self._reservation

    async def answer_to(self, walk: Walk) -> Response:
        """The response to the request that is walked. Raises ``GatewayError``."""
        return await self._answer_for(walk, self._scope, Audience.CLIENT)

    async def _answer_for(self, walk: Walk, scope: RequestScope, audience: Audience) -> Response:
        if self._context.service.cache_uses is not None:
            self.use_cache(walk, ConversationAnswers(walk.request.turn), scope)
        answer = self._stream if walk.request.incoming.stream else self._whole
        return await answer(walk, scope, audience)

    def use_cache(self, walk: Walk, kind: AnswerKind, scope: RequestScope | None = None) -> None:
        """Let answers of ``kind`` come from the cache, where that is so for the client or for the name that it asks
        for. Only where anything is cached."""
        client, uses = self._context.asked.client, self._context.service.cache_uses
        assert uses is not None, "else nobody asks"
        use = uses.use_of(client, walk.request.plan.route)
        if use is None:
            self.record.cache = "off"
            return
        holder = self._context.service.admission.holder(client, self._context.asked.headers)
        walk.cached = CachedAsk(self._context, use, uses.owner(use, client, holder), kind, scope or self._scope)

    def refuse(self, failed: ErrorInfo) -> Response:
        """Return an error response in the client's shape; the provider's own body where it fits unchanged."""
        return refused(self.record, failed, self._context.recording)

    def respond(self, body: bytes | ResponseBody, status: int, headers: Headers) -> Response:
        """Return the response, with the headers that every response of an exchange has."""
        return responded(self.record, body, status, headers, self._context.recording)

    async def _stream(self, walk: Walk, scope: RequestScope, audience: Audience) -> Response:
        lane = await first_lane(walk)
        body = await StreamedAnswer(self._context, walk, scope, audience, lane).begin()
        headers = stream_headers(self._context.codec.wire.framing_for(self._context.asked.query))
        return self.respond(body, 200, (*headers, *walk.attempt.passed, *walk.request.headers))

    # Whole answers

    async def _whole(self, walk: Walk, scope: RequestScope, audience: Audience) -> Response:
        target = walk.attempt.target
        if walk.cached is None and not audience.survives(target):
            return await self._read_whole(walk)
        cached = going_on(walk.cached, audience, target)
        deserted = None if cached is None else cached.deserted
        with survive_disconnect(scope.nursery, target, partial(self._abandon, cached), deserted):
            return await self._read_whole(walk)

    def _abandon(self, cached: CachedAsk | None) -> None:
        self.record.abandoned = True
        if cached is not None:
            cached.left()

    async def _read_whole(self, walk: Walk) -> Response:
        """The client's answer for the provider's, once it is stored."""
        body, folded, further = await walk.run(partial(self._ask_whole, walk))
        attempt, turn = walk.attempt, walk.request.turn
        size = len(body) + walk.request.incoming.size
        headers = (*JSON_HEADERS, *attempt.passed, *walk.request.headers)
        if folded.failed is not None:
            self.record.failed = folded.failed
            await turn.persist_failure(folded.start.id)
            return self.respond(attempt.redact_error(body), 200, headers)
        answer = folded.answer()
        if attempt.lane_name == "hub":
            write = partial(written_answer, attempt, turn, (answer, *further))
            body = await offload(size, stamped, attempt.stamp, b"answer", write)
        body = await turn.persist_whole(body, answer)
        self.record.reason, self.record.whole = answer.end.reason, True
        return self.respond(body, 200, headers)

    async def _ask_whole(self, walk: Walk, attempt: Attempt) -> tuple[bytes, Fold, list[Answer]]:
        """The whole answer of ``attempt``, with the choices after the first one if it is translated: an ``Ask``."""
        response, body = await walk.read_body(attempt)
        await attempt.leave_if_lost()
        size, texts = len(body) + walk.request.incoming.size, attempt.lane_name != "byte"
        fold: Callable[..., Fold] = fold_answer if attempt.stamp is None else partial(stamped_fold, attempt.stamp)
        folded = await offload(size, fold, attempt, response, body, texts=texts)
        attempt.usage = folded.usage
        if not attempt.raced:
            attempt.put_on_record(folded)
        failed = folded.failed
        if failed is not None:
            is_answer = attempt.lane_name == "byte" and failed.native  # for a client of its API
            if not is_answer or walk.goes_on_after(attempt, failed):
                raise GatewayError.of(attempt.with_headers(failed))
        elif walk.request.plan.retries.attempts > 1 and walk.may_go_on(attempt):
            doubt = answer_doubt(folded.answer(), len(body))
            if doubt is not None and walk.goes_on_after(attempt, doubt):
                raise GatewayError.of(doubt)
        further = await offload(size, further_answers, attempt, body) if has_several(attempt) else []
        if attempt.raced:
            await attempt.leave_if_lost()
            attempt.put_on_record(folded)
        walk.commit(attempt)
        if failed is not None:
            attempt.fail(failed)
        return body, folded, further

    # Turns in the background

    async def _leave(self, walk: Walk, turn: DetachableTurn) -> Response:
        """The beginning of a turn that goes on in the background, in a scope of its own."""

        async def go_on(scope: RequestScope) -> Response:
            try:
                return await self._answer_for(walk, scope, Audience.STORE)
            except GatewayError as error:
                return self.refuse(error.failed)

        background = self._context.service.background
        owner = self._memory.owner
        size, kept = walk.request.incoming.size, walk.request.turn
        template = await offload(size, lambda: ResponseTemplate.of(reply_to(walk.attempt, kept)))
        begun = await background.start(BackgroundTurn(owner, self._scope, turn, template, self.record, go_on))
        if not walk.request.incoming.stream:
            return self.respond(begun, 200, (*JSON_HEADERS, *walk.request.headers))
        body = background.follow(owner, turn.id, -1, self._context.service.keep_alive)
        assert body is not None, "it has just begun"
        return self.respond(body, 200, (*STREAM_HEADERS, *walk.request.headers))
