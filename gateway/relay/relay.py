"""Delivery of relayed requests: sends one to a provider, and its response to the client as a conversation's stream.

The ``AnswerFilter`` runs where the provider is read, because it may be slow and span several responses."""

from collections.abc import Callable
from functools import partial

import attrs
import trio

from gateway.exchange.context import ExchangeContext
from gateway.exchange.delivering import DeliveredAnswer, Survival
from gateway.exchange.delivery import Delivery, DeliveryState
from gateway.exchange.disconnect import survive_disconnect
from gateway.exchange.exchange import Exchange
from gateway.exchange.origin import AnswerOrigin
from gateway.exchange.target_request import AnswerSource
from gateway.http.request_scope import RequestScope
from gateway.http.response import Response, stream_headers
from gateway.relay.deferred_survival import DeferredSurvival
from gateway.relay.relayed_answer import RelayedAnswer
from gateway.relay.relaying import LastEvent, RelayedRequest
from gateway.seams.observed_stream import ObservedStream
from gateway.streaming.lane import Lane, MapError, StreamProgress
from streams.events import ErrorInfo
from streams.sse import SSE, SseEvents

_OBSERVED = ("application/json", "text/event-stream")
"""The types of responses whose bytes observers get."""
_EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r")  # after the last one, the LF may still follow


class RelayedLane:
    """A lane whose input already is the client's bytes, because ``answer`` filters them.

    ``answer`` is ``None`` until there is a response: a stream may be opened earlier for keep-alives. If the response
    is then no stream, it becomes a single event of up to ``max_bytes`` bytes."""

    source = SSE

    def __init__(
        self,
        last_event: LastEvent,
        answer: RelayedAnswer | None = None,
        public_error: MapError = lambda error: error,
        redact: Callable[[bytes], bytes] | None = None,
        max_bytes: int = 0,
    ) -> None:
        """Begin the lane. ``redact`` is set if the whole response becomes one event."""
        self.progress = StreamProgress()
        self.progress.plain = answer is not None and not answer.is_stream and redact is None
        self._last_event = last_event
        self._answer = answer
        self._public_error = public_error
        self._redact = redact
        self._max_bytes = max_bytes
        self._held: list[bytes] = []
        self._size = 0
        self._last_bytes = b""

    def feed(self, data: bytes) -> bytes:
        if self.progress.over:
            return b""
        self._note_usage()
        if self._redact is None:
            self.progress.committed = True
            self._last_bytes = data[-4:] if len(data) >= 4 else (self._last_bytes + data)[-4:]
            return data
        self._held.append(data)
        self._size += len(data)
        if self._size > self._max_bytes:
            message = f"the provider's response is larger than limits.answer ({self._max_bytes} bytes)"
            return self.end(ErrorInfo("upstream", message))
        return b""

    def end(self, error: ErrorInfo | None = None) -> bytes:
        if self.progress.over:
            return b""
        self.progress.over = True
        self._note_usage()
        if error is not None:
            self.progress.error = self._public_error(error)
            return b"" if self.progress.plain else self._last_event(self.progress.error)
        if self._redact is None:
            return b""
        return SseEvents().event("", self._redact(b"".join(self._held)))

    def trailing_bytes(self) -> bytes:
        return b""

    def ping(self) -> bytes:
        is_between_events = not self._last_bytes or self._last_bytes.endswith(_EVENT_ENDS)
        return SSE.comment if not self.progress.plain and is_between_events else b""

    def _note_usage(self) -> None:
        if self._answer is not None:
            self.progress.usage = self._answer.usage


class Relay(DeliveredAnswer[RelayedAnswer]):
    """The delivery of a relayed response; ``head`` is the client's status and headers."""

    def __init__(
        self,
        context: ExchangeContext,
        origin: AnswerOrigin,
        scope: RequestScope,
        request: RelayedRequest,
        survival: Survival | None,
    ) -> None:
        streams = request.planned.incoming.stream
        lane, clock, keep_alive = (
            RelayedLane(request.last_event),
            trio.current_time,
            context.service.settings.keep_alive,
        )
        self._observed = ObservedStream(lane)
        delivery = Delivery(lane, context.record, keep_alive, clock, may_open=streams, observed=self._observed)
        super().__init__(context, origin, scope, delivery, survival)
        self.head = 200, stream_headers(SSE)  # for a stream opened before there is a response
        self._request = request

    def make_answer(self, source: AnswerSource) -> RelayedAnswer:
        return RelayedAnswer(self._request, source, self.scope)

    def first_events(self, answer: RelayedAnswer) -> tuple[Lane, bytes]:
        disclosure, redact = answer.source.target_request.disclosure, None
        if self.delivery.state is DeliveryState.HELD:
            kept = answer.client_headers  # redaction may change the length
            if answer.is_held:
                kept = tuple(pair for pair in kept if pair[0] != "content-length")
            self.head = answer.status, kept
        elif not answer.is_stream:
            redact = disclosure.relayed_body
        limit = self.context.service.settings.limits.answer
        lane = RelayedLane(self._request.last_event, answer, disclosure.error, redact, limit)
        first = lane.feed(answer.first)
        if answer.content_type.startswith(_OBSERVED):
            self.context.observers.note_stream(self._observed)
        answer.keep_public_events()
        self._observed.use_lane(lane, ((answer.first, first),))
        return lane, first


async def relay(exchange: Exchange, scope: RequestScope, request: RelayedRequest) -> Response:
    """Send ``request`` and return the response; the rest of its body comes from tasks in the nursery of ``scope``.

    Raises ``GatewayError``. Cancellation, because the client has left, closes the connection to the provider."""
    nursery, first = scope.nursery, request.planned.plan.first
    planned = request.planned
    exchange.context.observers.note_resolved(planned.incoming)
    survival: Survival | None = None
    if request.outlives_client is not None:
        deferred = DeferredSurvival(nursery, first, request.outlives_client)
        planned, survival = attrs.evolve(planned, before_end=deferred.begin), deferred.outlive_client
    origin = await exchange.start_origin(planned, request)
    if survival is None and origin.desertion is not None:
        survival = partial(survive_disconnect, nursery, first, deserted=origin.desertion)
    delivered = Relay(exchange.context, origin, scope, request, survival)
    body = await delivered.begin()
    status, headers = delivered.head
    return exchange.respond(body, status, headers)
