"""One request from its body to its settlement: read it, plan it, walk the plan, and answer in the client's API.

Every task of an exchange lives in the request's nursery (``scope.nursery``): the client leaving cancels that nursery,
which closes the upstream connection. Until the commit point (the first content of the upstream's answer) a failure is
an honest HTTP status; after it, one error event.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import attrs

from gateway.allowances.expected import requested_output
from gateway.allowances.reservation import Reservation
from gateway.allowances.runs import run_of
from gateway.conversations.background import BackgroundTurn
from gateway.conversations.recorder import DetachableTurn
from gateway.conversations.resolved import StateScope
from gateway.exchange.cache_filling import CachedOrigin
from gateway.exchange.cache_lookup import AnswerKind, ConversationAnswers, lookup_of
from gateway.exchange.conditions import PlaceConditions
from gateway.exchange.context import ExchangeContext
from gateway.exchange.disconnect import Audience, survive_disconnect
from gateway.exchange.origin import AnswerOrigin, Followers, going_on
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.planning import Planning
from gateway.exchange.reserving import expected_alone, reserve_for
from gateway.exchange.responding import refused, responded
from gateway.exchange.service import Service
from gateway.exchange.stream import StreamedAnswer, first_lane
from gateway.exchange.walk import Walk
from gateway.exchange.whole_answer import WholeAnswer
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.http.response import JSON_HEADERS, STREAM_HEADERS, Response, ResponseBody, stream_headers
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from gateway.telemetry.observer import UNOBSERVED, CallObserver
from providers.apis import CODECS
from providers.responses.output import ResponseTemplate
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo


class Exchange:
    """One client's request, from its body to the response: planned, answered by the cache or by a walk of its plan, and
    refused in the client's API where that fails.

    ``answer`` is called once, in a task of the request's nursery. ``memory`` is where the request is remembered, if not
    in the service's store under the client's name; ``trace`` sees its calls to providers."""

    _reservation: Reservation | None
    """Of what its client and targets may use."""

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
        self._reservation = None

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
            request = await self.read(body)
            origin = await self.origin(request, ConversationAnswers(request.turn))
            if (turn := request.turn.background) is not None:
                return await self._leave(origin, turn)
            return await self.answer_to(origin)
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
        """Return the walk of the request's plan, its first attempt prepared. Raises ``GatewayError`` (400) for what no
        target can honour or, in strict mode, be given."""
        walk = await self._walk(request)
        await walk.start()
        return walk

    async def origin(self, request: PlannedRequest, kind: AnswerKind) -> AnswerOrigin:
        """Return where the answer to ``request`` comes from: the walk of its plan, around which the cache stands where
        answers of ``kind`` may come from that. Raises ``GatewayError`` as ``walk`` does."""
        walk = await self._walk(request)
        if self._context.service.cache_uses is None:
            await walk.start()
            return walk
        if (lookup := lookup_of(self._context, request.plan.route, kind)) is not None:
            await walk.look()
            return CachedOrigin(walk, lookup, self._scope.nursery)
        await walk.start()
        self.record.cache = "off"
        return walk

    async def _walk(self, request: PlannedRequest) -> Walk:
        for step in BEFORE_SENDING:
            request = await step(self, request)
        return Walk(self._context, request)

    async def _mark_subscription(self, request: PlannedRequest) -> PlannedRequest:
        """Mark the targets that the client's login pays for."""
        if not self._context.service.router.passes_credentials:
            return request
        return attrs.evolve(request, plan=request.plan.with_each(self._context.billed))

    async def _note_size(self, request: PlannedRequest) -> PlannedRequest:
        """Note how much is asked for."""
        incoming = request.incoming
        self.record.bill.asked_size = incoming.size
        if "background" in incoming.members and request.turn.background is None:
            self.record.bill.goes_on = expected_alone(incoming)
        if "n" in incoming.members:
            self.record.bill.answers = requested_output(incoming).answers
        return request

    async def _reserve(self, request: PlannedRequest) -> PlannedRequest:
        """Give the request the reservation of the exchange, however many requests that makes."""
        service = self._context.service
        limited, run = service.allowances.has_limits or request.budgets, None
        if limited or service.kept_ledger.keeps:
            run = self.record.run = run_of(self._context.asked, request.incoming)
        if not limited:
            return request
        if self._reservation is None:
            self.record.reservation = self._reservation = await reserve_for(self._context, request, run)
            if self._reservation is not None:
                self._scope.on_last_bytes(self._reservation.release_places)
        return attrs.evolve(request, reservation=self._reservation)

    async def answer_to(self, origin: AnswerOrigin) -> Response:
        """The response to the request of ``origin``. Raises ``GatewayError``."""
        return await self._answer_for(origin, self._scope, Audience.CLIENT)

    async def _answer_for(self, origin: AnswerOrigin, scope: RequestScope, audience: Audience) -> Response:
        answer = self._stream if origin.request.incoming.stream else self._whole
        return await answer(origin, scope, audience)

    def refuse(self, failed: ErrorInfo) -> Response:
        """Return an error response in the client's shape; the provider's own body where it fits unchanged."""
        return refused(self.record, failed, self._context.recording)

    def respond(self, body: bytes | ResponseBody, status: int, headers: Headers) -> Response:
        """Return the response, with the headers that every response of an exchange has."""
        return responded(self.record, body, status, headers, self._context.recording)

    async def _stream(self, origin: AnswerOrigin, scope: RequestScope, audience: Audience) -> Response:
        streamed = StreamedAnswer(self._context, origin, scope, audience, await first_lane(origin))
        body = await streamed.begin()
        headers = stream_headers(self._context.codec.wire.framing_for(self._context.asked.query))
        return self.respond(body, 200, (*headers, *streamed.passed, *origin.request.headers))

    # Whole answers

    async def _whole(self, origin: AnswerOrigin, scope: RequestScope, audience: Audience) -> Response:
        target, followers = origin.made.target, origin.followers
        if followers is None and not audience.survives(target):
            return await self._read_whole(origin)
        followers = going_on(followers, audience, target)
        deserted = None if followers is None else followers.deserted
        with survive_disconnect(scope.nursery, target, partial(self._abandon, followers), deserted):
            return await self._read_whole(origin)

    def _abandon(self, followers: Followers | None) -> None:
        self.record.abandoned = True
        if followers is not None:
            followers.leave()

    async def _read_whole(self, origin: AnswerOrigin) -> Response:
        """The client's answer for the provider's, once it is stored."""
        turn = origin.request.turn
        with origin:
            answer = await origin.run(lambda source: WholeAnswer(source, turn, origin))
            answer.report(self.record)
            if answer.failed is not None:
                origin.fail(answer.failed)
        body = await answer.written(self.record)
        return self.respond(body, 200, (*JSON_HEADERS, *answer.passed, *origin.request.headers))

    # Turns in the background

    async def _leave(self, origin: AnswerOrigin, turn: DetachableTurn) -> Response:
        """The beginning of a turn that goes on in the background, in a scope of its own."""

        async def go_on(scope: RequestScope) -> Response:
            try:
                return await self._answer_for(origin, scope, Audience.STORE)
            except GatewayError as error:
                return self.refuse(error.failed)

        background = self._context.service.background
        owner = self._memory.owner
        request = origin.request
        template = await offload(request.incoming.size, lambda: ResponseTemplate.of(origin.made.reply(request.turn)))
        begun = await background.start(BackgroundTurn(owner, self._scope, turn, template, self.record, go_on))
        if not request.incoming.stream:
            return self.respond(begun, 200, (*JSON_HEADERS, *request.headers))
        body = background.follow(owner, turn.id, -1, self._context.service.keep_alive)
        assert body is not None, "it has just begun"
        return self.respond(body, 200, (*STREAM_HEADERS, *request.headers))


BEFORE_SENDING: Final[tuple[Callable[[Exchange, PlannedRequest], Awaitable[PlannedRequest]], ...]] = (
    Exchange._mark_subscription, Exchange._note_size, Exchange._reserve,
)  # fmt: skip
"""What is done with every planned request, whatever endpoint it is for, before anybody is asked, in order."""
