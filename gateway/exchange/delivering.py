"""An answer that goes to its client while it is read: the task that pumps has it begin, the client reads from the
delivery."""

import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from typing import Generic, Protocol, TypeAlias, TypeVar

import trio

from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.exchange.attempt_answer import CacheableAnswer, is_shut_down
from gateway.exchange.body import BufferedBody, StreamBody
from gateway.exchange.context import ExchangeContext
from gateway.exchange.delivery import Delivery, Refuse, Whole
from gateway.exchange.disconnect import discard
from gateway.exchange.origin import AnswerOrigin
from gateway.exchange.target_request import AnswerSource
from gateway.http.request_scope import RequestScope
from gateway.request.public_errors import MISTAKE
from gateway.streaming.lane import Lane
from streams.errors import GatewayError
from streams.events import ErrorInfo
from streams.handoff import Handoff
from streams.pipe import PIECES_QUEUED, Chunk, pump

log = logging.getLogger("trigate")


class BegunAnswer(CacheableAnswer, Protocol):
    """An answer that has begun: ``chunks`` are the rest of it, and go to the client through its ``lane``."""

    source: AnswerSource

    @property
    def is_held(self) -> bool:
        """Whether all of it was read, and is not to go out before its end has."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """The rest as it comes. Raises ``GatewayError`` when it breaks off."""
        ...


B = TypeVar("B", bound=BegunAnswer)

Survival: TypeAlias = Callable[[Callable[[], object]], AbstractContextManager[object]]
"""Returns a context that may outlive the client, and calls its argument when the client leaves."""


class DeliveredAnswer(Generic[B]):
    """The tasks of one answer, in the nursery of ``scope``, which ``begin`` starts. A kind of answers is a subclass."""

    def __init__(
        self,
        context: ExchangeContext,
        origin: AnswerOrigin,
        scope: RequestScope,
        delivery: Delivery,
        survival: Survival | None,
        turn: TurnRecorder = UNRECORDED,
        most_unread: float = math.inf,
    ) -> None:
        """``survival`` says how the answer goes on without its client, if it does; ``most_unread`` are the bytes that
        are read in place of a client that has left."""
        self.context = context
        self.origin = origin
        self.scope = scope
        self.delivery = delivery
        self.chunks: Handoff[Chunk] = Handoff(PIECES_QUEUED)
        self._survival = survival
        self._turn = turn
        self._body = StreamBody(delivery, self.chunks, context.record, turn, scope.send_last_bytes)
        self._most_unread = most_unread
        self._gone = trio.Event()

    # What a kind of answers defines

    def make(self, source: AnswerSource) -> B:
        """Return what reads the answer of ``source``."""
        raise NotImplementedError

    def first_events(self, answer: B) -> tuple[Lane, bytes]:
        """Return the lane of ``answer``, which goes to the client from here on, and the first bytes for the client."""
        raise NotImplementedError

    async def refusing_lane(self) -> Lane | None:
        """Return the lane that says in the client's words that there is no answer, ``None`` if that is the first."""
        return None

    # Its tasks

    async def begin(self) -> StreamBody | BufferedBody | bytes:
        """Start the tasks and return what the client reads, once there is something for it: all of it where it goes out
        whole. Raises ``GatewayError`` where there is no answer. The client leaving cancels the tasks, at once or when
        ``survival`` says."""
        body = self._start_for_client()
        match await body.open():
            case Refuse(failed):
                raise GatewayError.of(failed)
            case Whole(data):
                self._gone.set()  # nobody reads more
                return data
        return body

    def _start_for_client(self) -> StreamBody | BufferedBody:
        """Start the tasks; the body has a buffer where the answer goes on without the client."""
        if self._survival is None:
            self._start(self.scope.nursery)
            return self._body
        buffered = BufferedBody(self._body)
        self.scope.nursery.start_soon(self._finish, self._survival, buffered)
        return buffered

    def _start(self, nursery: trio.Nursery) -> None:
        if self._turn.records:
            nursery.start_soon(self._body.store_on_cancel)
        nursery.start_soon(self._pump)

    async def _pump(self) -> None:
        """Have the answer begin, and pump it. Never raises but for cancellation: whatever ends it goes to the body."""
        with self.chunks, self.origin as origin:
            try:
                await self._pump_on(await origin.run(self.make))
            except GatewayError as error:
                if (lane := await self.refusing_lane()) is not None:
                    self.delivery.carry(lane)
                await self._tell(error.failed)
            except Exception:  # a closed channel would be taken for a good end
                log.exception("request %s: reading the provider's response failed", self.scope.id)
                await self._tell(MISTAKE)

    async def _pump_on(self, answer: B) -> None:
        """Pump the rest of an answer that has begun, and goes to the client."""
        context, watch = self.context, answer.source.watch
        try:
            self._deliver(answer)
        except BaseException:
            await answer.aclose()
            raise
        with context.service.lifecycle.pump(watch.renew_scope()):
            try:
                failed = await pump(answer, self.chunks, watch)
            finally:  # cancelled, too: a client that does not read never takes the failure from the channel
                context.record.shut_down = is_shut_down(watch)
        if failed is not None:
            self.origin.fail(failed)
            await self._tell(failed)

    def _deliver(self, answer: B) -> None:
        """Let the first content go to the client."""
        lane, first = self.first_events(answer)
        self.origin.release()
        if not self._turn.records:  # which keeps it
            self.scope.release_text()
        self.delivery.carry(lane)
        self.delivery.begin(first)
        self.delivery.on_failure = self.origin.fail
        if not answer.is_held and not self.chunks.offer(b""):
            with contextlib.suppress(trio.BrokenResourceError):  # nobody reads: the pump finds out, too
                self.chunks.send_nowait(b"")

    async def _tell(self, failed: ErrorInfo) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await self.chunks.send(failed)

    # The client leaves

    async def _finish(self, survival: Survival, body: BufferedBody) -> None:
        """Run the tasks, and when the client has left read the answer in its place."""

        def left() -> None:
            self._gone.set()
            if self.origin.followers is not None:
                self.origin.followers.leave()
            if self.scope.left or not self.delivery.lane.seen.over:
                self.context.record.abandoned = True

        with survival(left):
            async with trio.open_nursery() as nursery:
                self._start(nursery)
                nursery.start_soon(body.run)
                await self._gone.wait()
                await discard(body, self._most_unread)
                nursery.cancel_scope.cancel()
