"""A response that goes to its client while it is read: the pump's task begins it, and the client reads from its
delivery."""

import logging
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Generic, TypeAlias, TypeVar

import trio

from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.exchange.attempt_answer import StartedAnswer, is_shut_down
from gateway.exchange.body import BufferedBody, StreamBody
from gateway.exchange.context import ExchangeContext
from gateway.exchange.delivery import Delivery, Refuse, SendWhole
from gateway.exchange.disconnect import discard
from gateway.exchange.origin import AnswerOrigin, run_origin
from gateway.exchange.target_request import AnswerSource
from gateway.http.request_scope import RequestScope
from gateway.request.public_errors import MISTAKE
from gateway.streaming.lane import Lane
from streams.errors import GatewayError
from streams.handoff import Handoff
from streams.pipe import PIECES_QUEUED, Chunk, pump

log = logging.getLogger("trigate")


B = TypeVar("B", bound=StartedAnswer)

Survival: TypeAlias = Callable[[Callable[[], object]], AbstractContextManager[object]]
"""Returns a context that may outlive the client, and calls its argument when the client disconnects."""


class DeliveredAnswer(Generic[B]):
    """The tasks of one response, in the nursery of ``scope``; ``begin`` starts them. Each kind of response has a
    subclass."""

    def __init__(
        self,
        context: ExchangeContext,
        origin: AnswerOrigin,
        scope: RequestScope,
        delivery: Delivery,
        survival: Survival | None,
        turn: TurnRecorder = UNRECORDED,
        max_unread: float = math.inf,
    ) -> None:
        """Prepare the tasks.

        ``survival`` makes the context in which the response continues without its client, ``None`` if it does not.
        ``max_unread`` is the maximum number of bytes that are then read."""
        self.context = context
        self.origin = origin
        self.scope = scope
        self.delivery = delivery
        self.chunks: Handoff[Chunk] = Handoff(PIECES_QUEUED)
        self._survival = survival
        self._turn = turn
        self._body = StreamBody(delivery, self.chunks, context.record, turn, scope.send_last_bytes)
        self._max_unread = max_unread
        self._client_gone = trio.Event()

    # Defined by each kind of response

    def make_answer(self, source: AnswerSource) -> B:
        """Return the reader of the response that ``source`` sends."""
        raise NotImplementedError

    def first_events(self, answer: B) -> tuple[Lane, bytes]:
        """Return the lane of ``answer``, which now goes to the client, and the client's first bytes."""
        raise NotImplementedError

    async def refusal_lane(self) -> Lane | None:
        """Return the lane that writes an error without any response; ``None`` keeps the delivery's current lane."""
        return None

    async def answer_refusal(self, error: GatewayError) -> bool:
        """Return false for a failure. Send the answer of an ``error`` that has one, and return true."""
        return False

    # Tasks

    async def begin(self) -> StreamBody | BufferedBody | bytes:
        """Start the tasks, and return the body once it has content, or all bytes of a complete response.

        Raises ``GatewayError`` if there is no response. When the client disconnects, the tasks are cancelled
        immediately, or later if there is a ``survival``."""
        body = self._start_for_client()
        match await body.open():
            case Refuse(error):
                raise GatewayError.of(error)
            case SendWhole(data):
                self._client_gone.set()  # nothing is left to read
                return data
        return body

    def _start_for_client(self) -> StreamBody | BufferedBody:
        """Start the tasks and return the body, buffered if the response may continue without the client."""
        if self._survival is None:
            self._start(self.scope.nursery)
            return self._body
        buffered = BufferedBody(self._body)
        self.scope.nursery.start_soon(self._run_past_disconnect, self._survival, buffered)
        return buffered

    def _start(self, nursery: trio.Nursery) -> None:
        if self._turn.records:
            nursery.start_soon(self._body.store_on_cancel)
        nursery.start_soon(self._pump)

    async def _pump(self) -> None:
        """Begin the response, and pump it to the body with its end or failure. Raises only for cancellation."""
        with self.chunks, self.origin as origin:
            try:
                await self._pump_rest(await run_origin(self.context, origin, self.make_answer))
            except GatewayError as error:
                if await self.answer_refusal(error):
                    return
                if (lane := await self.refusal_lane()) is not None:
                    self.delivery.use_lane(lane)
                await self.chunks.send(error.info)
            except Exception:  # a closed channel would look like a good end
                log.exception("request %s: reading the provider's response failed", self.scope.id)
                await self.chunks.send(MISTAKE)

    async def _pump_rest(self, answer: B) -> None:
        """Pump the rest of a response that has begun."""
        context, watch = self.context, answer.source.watch
        try:
            self._deliver(answer)
        except BaseException:
            await answer.aclose()
            raise
        with context.service.lifecycle.track_pump(watch.renew_scope()):
            try:
                error = await pump(answer, self.chunks, watch)
            finally:  # also if cancelled, because a client that does not read takes no failure from the channel
                context.record.shut_down = is_shut_down(watch)
        if error is not None:  # a failure, unless the answer is complete without the rest: the delivery decides
            await self.chunks.send(error)

    def _deliver(self, answer: B) -> None:
        """Send the first content of ``answer`` to the client."""
        lane, first = self.first_events(answer)
        self.origin.release()
        if not self._turn.records:  # recording keeps it
            self.scope.release_text()
        self.use_lane(lane, first, wakes=not answer.is_held)
        self.delivery.on_failure = self.origin.fail

    def use_lane(self, lane: Lane, first: bytes, *, wakes: bool = True) -> None:
        """Continue with ``lane``, whose ``first`` bytes go to the client. ``wakes``: the body waits for them."""
        self.delivery.use_lane(lane)
        self.delivery.queue_first_events(first)
        if wakes:
            self._wake_body()

    def pass_keep_alive(self) -> None:
        """Send a keep-alive to the client, because the provider sent one that does not pass itself."""
        self.delivery.queue_keep_alive()
        self._wake_body()

    def _wake_body(self) -> None:
        """Let the body, which may wait for a chunk, send what the delivery has queued."""
        if not self.chunks.offer(b"") and self.chunks.is_empty:
            self.chunks.send_nowait(b"")

    # Disconnects of the client

    async def _run_past_disconnect(self, survival: Survival, body: BufferedBody) -> None:
        """Run the tasks, and read the response in place of a client that disconnected."""

        def on_disconnect() -> None:
            self._client_gone.set()
            self.origin.note_disconnect()
            if self.scope.left or not self.delivery.lane.progress.over:
                self.context.record.abandoned = True

        with survival(on_disconnect), self.context.outliving_client():
            async with trio.open_nursery() as nursery:
                self._start(nursery)
                nursery.start_soon(body.run)
                await self._client_gone.wait()
                await discard(body, self._max_unread)
                nursery.cancel_scope.cancel()
