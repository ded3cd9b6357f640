"""Processes one request from its body to its settlement: reads it, plans it, walks the plan, and responds in the
client's API.

Every task of an exchange runs in the request's nursery (``scope.nursery``): a client that disconnects cancels the
nursery, which closes the upstream connection. Before the commit point (the first content of the provider's response) a
failure is an HTTP status; after it, it is an error event."""

import math
from collections.abc import Awaitable, Collection
from functools import partial

import attrs
import trio

from gateway.allowances.reservation import Reservation
from gateway.allowances.runs import run_of
from gateway.conversations.background import BackgroundTurn
from gateway.conversations.recorder import DetachableTurn
from gateway.conversations.resolved import StateScope
from gateway.exchange.attempt_answer import UnchangedAnswer
from gateway.exchange.conditions import TargetConditions
from gateway.exchange.context import ExchangeContext
from gateway.exchange.disconnect import Audience, survive_disconnect
from gateway.exchange.origin import AnswerOrigin, run_origin, start_origin
from gateway.exchange.planned import STOPPED, PlannedRequest, StoppedAnswer
from gateway.exchange.planning import STEPS, Planning, steps_with
from gateway.exchange.reserving import reservation_for, with_subscription_marks
from gateway.exchange.responding import error_response, make_response
from gateway.exchange.service import Service
from gateway.exchange.stream import StreamedAnswer, make_first_lane
from gateway.exchange.walk import Walk
from gateway.exchange.whole_answer import WholeAnswer
from gateway.http.headers import Headers
from gateway.http.late_imports import load_module
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.http.response import JSON_HEADERS, STREAM_HEADERS, Response, ResponseBody, stream_headers
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest, with_betas, with_headers
from gateway.request.routing_options import read_headers
from gateway.routing.plan import Plan
from gateway.routing.target import Target
from gateway.seams.observers import observers_of
from gateway.seams.open_response import ExchangeChecks
from providers.apis import CODECS
from streams.errors import GatewayError
from streams.event_log import Resumption
from streams.events import Api, ErrorInfo


class Exchange:
    """One client's request, from its body to the response.

    ``answer`` is called once, in a task of the request's nursery. ``state_scope`` has the turns that it may refer to,
    by default those of its client in the service's store. ``context`` is
    the state that its attempts share, ``scope`` the life of the request."""

    deadline: float = math.inf
    """The configured seconds until the first content for the model of a request that is not a conversation."""

    _reservation: Reservation | None
    """The reserved allowances of the client and its targets."""

    def __init__(
        self,
        service: Service,
        api: Api,
        client_request: ClientRequest,
        scope: RequestScope,
        record: Record,
        state_scope: StateScope | None = None,
    ) -> None:
        observers = observers_of(record)
        self.context = ExchangeContext(service, CODECS[api], client_request, record, observers)
        self.scope = scope
        self._state_scope = state_scope or StateScope(
            self.context.holder, service.turns.store, is_named_client=client_request.client is not None
        )
        self.record = record
        self._reservation = None
        self._began: float | None = None

    def use_checks(self, checks: ExchangeChecks, reservation: Reservation | None) -> None:
        """Check the request and its response with ``checks``. ``reservation`` is what the client has reserved."""
        self.context = attrs.evolve(self.context, checks=checks)
        self._reservation = reservation

    async def answer(self, body: bytes) -> Response:
        """Return the response to ``body``.

        The nursery's tasks continue a stream. Cancellation (the client disconnected) closes the upstream connection and
        propagates."""
        try:
            request = await self.read(body, is_turn=True)
            origin = await self.start_origin(request)
            if (turn := request.turn.background) is not None:
                return await self._start_in_background(origin, turn)
            return await self.answer_to(origin)
        except StoppedAnswer as stopped:
            return self.respond(stopped.body, 200, stopped.headers)
        except GatewayError as error:
            return self.refuse(error.info)

    def add_betas(self, betas: Collection[str]) -> None:
        """Add betas that the client sent in another place than the header."""
        request = with_betas(self.context.client_request, betas)
        self.context = attrs.evolve(self.context, client_request=request)

    def replace_headers(self, headers: Headers) -> None:
        """Replace headers of the client that this request has elsewhere."""
        request = with_headers(self.context.client_request, headers)
        self.context = attrs.evolve(self.context, client_request=request)

    async def read(self, body: bytes, *, is_turn: bool = False) -> PlannedRequest:
        """Return the request with everything that it refers to, and its plan. ``is_turn``: a response of the model
        follows. Raises ``GatewayError``."""
        hooks, observers = self.context.service.hooks, self.context.observers
        unchecked = None if hooks.request_checks else body
        observers.note_request(self.context.client_request, unchecked, is_turn=is_turn)
        is_changed = hooks.begin_edits or hooks.before_turns or hooks.after_turns
        steps = steps_with(hooks) if is_changed else STEPS
        planning = Planning(self.context, self._state_scope, self.scope, steps)
        request = await planning.read(body)
        self.context = planning.context
        if hooks.request_checks:  # the texts that they have not hidden
            checks, body = self.context.checks, request.incoming.body
            is_public = checks is None or not checks.may_hide_later
            observers.note_request(self.context.client_request, body, is_turn=is_turn, is_public=is_public)
        observers.note_resolved(request.incoming)
        return request

    def first_available(self, plan: Plan) -> Target | None:
        """Return the first available target of ``plan``; a single target always counts as available."""
        if len(plan.candidates) == 1:
            return plan.first
        conditions = TargetConditions(self.context, plan)
        return next((one for one in plan.targets if conditions.outage(one, alone=False) is None), None)

    async def start_walk(self, request: PlannedRequest) -> Walk:
        """Return the walk of the request's plan with its first attempt prepared.

        Raises ``GatewayError`` (400) for what no target can do or, in strict mode, receive."""
        walk = self._make_walk(request)
        await start_origin(self.context, walk)
        return walk

    async def read_unchanged(self, walk: Walk) -> UnchangedAnswer:
        """Return the first successful response of ``walk`` with its whole body, whose texts no step has checked.

        Cancellation closes the connection. The target's timeouts and the end of the drain do, too, and are raised as
        ``GatewayError``."""
        with walk:
            return await run_origin(self.context, walk, partial(UnchangedAnswer, self.scope))

    async def start_origin(self, request: PlannedRequest, relayed: object = None) -> AnswerOrigin:
        """Return the origin of the response to ``request``: the walk of its plan, or what a feature wraps around it.

        ``relayed`` is the ``RelayedRequest`` of an endpoint other than conversations. Raises ``GatewayError`` as
        ``start_walk`` does."""
        walk = self._make_walk(request)
        origin: AnswerOrigin = walk
        for wrap in self.context.service.hooks.wrap_origin:
            if (origin := wrap(walk, relayed, self.scope.nursery)) is not walk:
                break
        await start_origin(self.context, origin)
        return origin

    def _make_walk(self, request: PlannedRequest) -> Walk:
        """Return the walk of a planned request of any endpoint."""
        request = with_subscription_marks(self.context, self.with_limits(request))
        self.context.bill.request_size = request.incoming.size
        return Walk(self.context, self._reserve(request), self.scope)

    def with_limits(self, request: PlannedRequest) -> PlannedRequest:
        """Return ``request`` with the budgets in its client's headers, and the earliest deadline: the client's, or the
        configured one for its model. Planning has set those of conversations.

        A deadline ends with the first content, so that it also suits long downloads. Realtime sessions, which have no
        walk, MCP subscriptions, and the creation of stored objects have none. Raises ``GatewayError`` (400) for an
        invalid header."""
        options, plan = read_headers(self.context.client_request), request.plan
        seconds = min(options.deadline, self.deadline) if request.has_deadline else math.inf
        if plan.deadline < math.inf or (seconds == math.inf and not options.budgets):
            return request
        if self._began is None:
            self._began = self.context.service.health.clock()
        plan = attrs.evolve(plan, deadline=self._began + seconds)
        return attrs.evolve(request, plan=plan, budgets=request.budgets or options.budgets)

    def _reserve(self, request: PlannedRequest) -> PlannedRequest:
        """Return the request with the exchange's reservation, which all its attempts share."""
        service = self.context.service
        limited, run = service.allowances.has_limits or request.budgets, None
        if limited or service.hooks.records_run:  # with steps, these have recorded it
            run = self.record.run = run_of(self.context.client_request, request.incoming)
        if not limited:
            return request
        if self._reservation is None:
            self._reservation = request.reservation or reservation_for(self.context, request, run)
            self.record.reservation = self._reservation
            if self._reservation is not None:
                self.scope.on_last_bytes(self._reservation.release_places)
        return attrs.evolve(request, reservation=self._reservation)

    def answer_to(
        self, origin: AnswerOrigin, scope: RequestScope | None = None, audience: Audience = Audience.CLIENT
    ) -> Awaitable[Response]:
        """Return the response to the request of ``origin``, whose tasks run in ``scope``, by default the exchange's.
        Raises ``GatewayError``."""
        scope = scope or self.scope
        if origin.request.incoming.stream:
            return self._stream_response(origin, scope, audience)
        survives = audience.survives(origin.target_request.target)
        if survives or origin.desertion is not None:
            return self._lasting_response(origin, scope, None if survives else origin.desertion)
        return self._read_whole(origin, scope)

    def settle_reservation(self) -> None:
        """Settle what the request has reserved before its client gets the response."""
        if self._reservation is not None:
            self._reservation.settle(delivered=self.context.bill.booked is not None)

    def refuse(self, error: ErrorInfo) -> Response:
        """Return the response for ``error`` in the client's API, with the provider's own body if it fits."""
        return error_response(self.record, error)

    def respond(self, body: bytes | ResponseBody, status: int, headers: Headers) -> Response:
        """Return the response with the headers that every exchange adds."""
        return make_response(self.record, body, status, headers, is_answer=True)

    async def _stream_response(self, origin: AnswerOrigin, scope: RequestScope, audience: Audience) -> Response:
        streamed = StreamedAnswer(self.context, origin, scope, audience, await make_first_lane(origin))
        body = await streamed.begin()
        headers = stream_headers(self.context.client_request.framing(self.context.codec.wire))
        return self.respond(body, 200, (*headers, *streamed.client_headers, *origin.request.headers))

    # Complete responses

    async def _lasting_response(
        self, origin: AnswerOrigin, scope: RequestScope, desertion: trio.Event | None
    ) -> Response:
        """Return the complete response, which is read after its client has left, too, until ``desertion``."""
        target, note = origin.target_request.target, partial(self._note_disconnect, origin)
        with survive_disconnect(scope.nursery, target, note, desertion), self.context.outliving_client():
            return await self._read_whole(origin, scope)

    def _note_disconnect(self, origin: AnswerOrigin) -> None:
        self.record.abandoned = True
        origin.note_disconnect()

    async def _read_whole(self, origin: AnswerOrigin, scope: RequestScope) -> Response:
        """Return the complete response after its turn was stored."""
        with origin:
            try:
                answer = await run_origin(self.context, origin, partial(WholeAnswer, origin, scope))
            except StoppedAnswer as stopped:
                raise await (await load_module(STOPPED)).store_stopped(origin, stopped) from None
            answer.report(self.record)
            # An answer that its provider continues in the background is no failure of the attempt.
            if answer.error is not None and not (answer.error.native and answer.error.reason is None):
                origin.fail(answer.error)
        body = await answer.write_for_client(self.record)
        return self.respond(body, 200, (*JSON_HEADERS, *answer.client_headers, *origin.request.headers))

    # Background turns

    async def _start_in_background(self, origin: AnswerOrigin, turn: DetachableTurn) -> Response:
        """Start a turn that continues in the background in its own scope, and return its response so far."""

        async def answer_in(scope: RequestScope) -> Response:
            if self.context.checks is not None:
                self.context.checks.move_to(scope)
            try:
                return await self.answer_to(origin, scope, Audience.STORE)
            except StoppedAnswer as stopped:
                return self.respond(stopped.body, 200, stopped.headers)
            except GatewayError as error:
                return self.refuse(error.info)

        background = self.context.service.turns.background
        owner = self._state_scope.owner
        request = origin.request
        outline = await offload(
            request.incoming.size, lambda: turn.api.outline(origin.target_request.reply(request.turn))
        )
        begun = await background.start(BackgroundTurn(owner, self.scope, turn, outline, self.record, answer_in))
        if not request.incoming.stream:
            headers = (*JSON_HEADERS, *request.headers)
            return make_response(self.record, begun, 200, headers)
        body = background.follow(owner, turn.id, Resumption(), self.context.service.settings.keep_alive)
        assert body is not None, "it has just begun"
        return self.respond(body, 200, (*STREAM_HEADERS, *request.headers))
