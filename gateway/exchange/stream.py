"""A streamed answer: the plan is walked in the task that pumps, the client reads from the delivery."""

import contextlib
import logging
from collections.abc import Callable
from functools import partial

import trio

from gateway.config.redaction import Secrets
from gateway.exchange.answering import stream_lane, whole_answer_lane
from gateway.exchange.attempt import Attempt, is_stream
from gateway.exchange.body import BufferedBody, StreamBody
from gateway.exchange.cached import going_on
from gateway.exchange.context import ExchangeContext
from gateway.exchange.delivery import HELD, Delivery, Refuse
from gateway.exchange.disconnect import Audience, discard, survive_disconnect
from gateway.exchange.planned import Form
from gateway.exchange.stamped import stamped_lane
from gateway.exchange.walk import Walk, is_shut_down
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.logs.masking import unquoted
from gateway.request.public_errors import MISTAKE, secrets_of
from gateway.routing.target import Target
from gateway.streaming.doubt import stream_doubt
from gateway.streaming.lane import Lane
from gateway.telemetry.live import LiveStream
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError
from streams.events import ErrorInfo
from streams.framing import FramingError
from streams.handoff import Handoff
from streams.pipe import PIECES_QUEUED, Chunk, pump

log = logging.getLogger("trigate")


async def first_lane(walk: Walk) -> Lane:
    """The lane of the walk's attempt."""
    return await attempt_lane(walk, walk.attempt)


async def attempt_lane(walk: Walk, attempt: Attempt) -> Lane:
    """The lane of ``attempt``. One that translates may repeat much of the request."""
    size = walk.request.incoming.size if attempt.target.lane == "hub" else 0
    if attempt.stamp is not None:
        return await offload(size, stamped_lane, attempt.stamp, partial(stream_lane, attempt, walk.request.turn))
    return await offload(size, stream_lane, attempt, walk.request.turn)


class StreamedAnswer:
    """The tasks of one streamed answer, in the nursery of ``scope``; ``lane`` is that of the first attempt."""

    def __init__(
        self, context: ExchangeContext, walk: Walk, scope: RequestScope, audience: Audience, lane: Lane
    ) -> None:
        service, turn = context.service, walk.request.turn
        self._context = context
        self._walk = walk
        self._target = walk.attempt.target
        self._turn = turn
        self._scope = scope
        self._audience = audience
        self._beginnings: dict[Attempt, tuple[Lane, list[bytes | None]]] = {}
        self._fresh: Attempt | None = walk.attempt  # whose lane is delivered, and has been given nothing yet
        self._chunks = Handoff[Chunk](PIECES_QUEUED)
        check = self._checker() if service.check_streams else None
        record = context.record
        self._delivery = Delivery(lane, record, service.keep_alive, trio.current_time, turn=turn, check=check)
        self._body = StreamBody(self._delivery, self._chunks, record, turn, scope.send_last_bytes)

    async def begin(self) -> StreamBody | BufferedBody:
        """Start the tasks and return what the client reads, once there is something for it. Raises ``GatewayError``
        where the plan is given up before that. The client leaving cancels the tasks, at once or when
        ``on_disconnect`` says."""
        self._show()
        body = self._start_for_client()
        match await body.open():
            case Refuse(failed):
                raise GatewayError.of(failed)
        return body

    def _show(self) -> None:
        """Let those who observe the exchange see the stream."""
        context, targets = self._context, self._walk.request.plan.targets
        secrets = _secrets_of_all(targets, context.asked.credential)
        context.service.live_view.stream(context.record, LiveStream(self._delivery, secrets, self._chunks))
        context.recording.follow(self._delivery)

    def _start_for_client(self) -> StreamBody | BufferedBody:
        """Start the tasks; the body has a buffer where the stream goes on without the client."""
        nursery = self._scope.nursery
        if not self._audience.survives(self._target) and self._walk.cached is None:
            self._start(nursery)
            return self._body
        buffered = BufferedBody(self._body)
        nursery.start_soon(self._finish, buffered)
        return buffered

    def _start(self, nursery: trio.Nursery) -> None:
        if self._turn.records:
            nursery.start_soon(self._body.store_on_cancel)
        nursery.start_soon(self._pump)

    async def _pump(self) -> None:
        """Walk the plan and pump the answer. Never raises but for cancellation: whatever ends it goes to the body."""
        with self._chunks:
            try:
                await self._walk.run(self._ask)
            except GatewayError as error:
                await self._give_up(error.failed)
            except Exception:  # a closed channel would be taken for a good end
                log.exception("request %s: the pump failed", self._context.record.id)
                await self._tell(MISTAKE)

    async def _ask(self, attempt: Attempt) -> None:
        """Pump the answer of ``attempt``: an ``Ask``."""
        watch, context = attempt.watch, self._context
        with context.service.lifecycle.pump(watch.scope):
            try:
                connect, opened = partial(self._connect, attempt), partial(self._opened, attempt)
                failed = await pump(connect, opened, self._chunks, watch)
            finally:  # cancelled, too: a client that does not read never takes the failure from the channel
                context.record.shut_down = is_shut_down(watch)
        if failed is None:
            return
        if not attempt.committed:
            raise GatewayError.of(failed)
        attempt.fail(failed)
        await self._tell(failed)

    async def _tell(self, failed: ErrorInfo) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await self._chunks.send(failed)

    async def _give_up(self, failed: ErrorInfo) -> None:
        """No attempt has committed: nothing of any reaches the client."""
        if self._fresh is None:
            self._delivery.carry(await first_lane(self._walk))
        await self._tell(failed)

    async def _connect(self, attempt: Attempt) -> UpstreamResponse:
        """The response of ``attempt`` once its first content is there. Raises ``GatewayError`` where it fails before
        that."""
        response = await attempt.send_once()
        try:
            attempt.watch.heard()
            if attempt.raced:
                self._beginnings[attempt] = await self._read_beside(attempt, response)
                await attempt.leave_if_lost()
            else:
                lane = await self._lane(attempt, response)
                self._fresh = None
                if lane is not self._delivery.lane:
                    self._delivery.carry(lane)
                self._delivery.begin(await self._read_on(attempt, response, self._delivery.lane))
        except BaseException:
            await response.aclose()
            raise
        return response

    async def _lane(self, attempt: Attempt, response: UpstreamResponse) -> Lane:
        """The lane of the answer. Raises ``GatewayError`` for an answer that the client cannot be given."""
        if is_stream(attempt.target, response):
            if self._fresh is attempt and attempt.stamp is None:
                return self._delivery.lane
            return await attempt_lane(self._walk, attempt)
        if self._walk.request.form is Form.AS_ASKED:
            raise GatewayError("upstream", "the provider gave no stream: ask for it without stream=true")
        await offload(attempt.incoming.size, lambda: attempt.incoming.request)  # which the lane takes
        make = partial(whole_answer_lane, attempt, self._turn)
        return make() if attempt.stamp is None else stamped_lane(attempt.stamp, make)

    async def _read_beside(self, attempt: Attempt, response: UpstreamResponse) -> tuple[Lane, list[bytes | None]]:
        """Read up to the first content of an answer beside another one: a lane for the answer if it is the first, to
        which nobody listens yet, and what is to be given to it; ``None`` is the end."""
        self._fresh = None  # it may be another attempt's that is delivered
        came: list[bytes | None] = []
        await self._read_on(attempt, response, await self._lane(attempt, response), came)
        return await self._lane(attempt, response), came

    async def _read_on(
        self, attempt: Attempt, response: UpstreamResponse, lane: Lane, came: list[bytes | None] | None = None
    ) -> bytes:
        """Read up to the first content of the answer, taken down in ``came``; what goes to the client for it. Nothing
        of an answer that fails before that has gone there: another attempt may follow. So it may for one that fails in
        the same piece. Of openings without an end no more is held than ``HELD``."""
        first: list[bytes] = []
        size = 0
        try:
            async for chunk in response.chunks():
                attempt.watch.heard()
                if came is not None:
                    came.append(chunk)
                if out := lane.feed(chunk):
                    first.append(out)
                size += len(out if came is None else chunk)
                if lane.seen.committed or lane.seen.failed is not None or size > HELD:
                    break
            else:
                if came is not None:
                    came.append(None)
                first.append(lane.end())
        except FramingError as error:
            first.append(lane.end(ErrorInfo("upstream", str(error), reason="bad_answer")))
        attempt.usage = lane.seen.usage
        failed = lane.seen.failed or stream_doubt(lane.seen)
        if failed is not None and (not lane.seen.committed or self._walk.goes_on_after(attempt, failed)):
            raise GatewayError.of(attempt.with_headers(failed))
        return b"".join(first)

    def _opened(self, attempt: Attempt, response: UpstreamResponse) -> None:
        """The first content is there: the attempt commits."""
        attempt.keep_headers(response)
        self._walk.commit(attempt)
        self._walk.release()
        if attempt.raced:
            lane, came = self._beginnings[attempt]
            self._beginnings.clear()
            self._delivery.carry(lane)
            lane = self._delivery.lane
            self._delivery.begin(b"".join([lane.end() if data is None else lane.feed(data) for data in came]))
        self._delivery.on_failure = attempt.fail
        if not self._turn.records:  # which keeps it
            self._scope.release_text()
        if not self._chunks.offer(b""):
            self._chunks.send_nowait(b"")

    def _checker(self) -> Callable[[bytes], None] | None:
        """Holds what goes to the client against its API's grammar, if there is one; a provider's own stream in a
        tolerant way."""
        from providers.grammar import GRAMMARS, Judge  # who does not ask for it does not pay for it

        context = self._context
        wire = context.codec.wire
        if context.codec.api not in GRAMMARS or wire.framing_for(context.asked.query) is not wire.framing:
            return None
        judge = Judge(context.codec.api, tolerant=any(one.lane == "byte" for one in self._walk.request.plan.targets))
        splitter = wire.framing.splitter(context.service.limits.event)

        def check(data: bytes) -> None:
            for raw in splitter.feed(data):
                if (broken := judge.feed(raw)) is not None:
                    found = unquoted(broken.found)  # it may quote the answer
                    log.warning("request %s: the stream breaks %s: %s", context.record.id, broken.rule, found)

        return check

    # The client leaves

    async def _finish(self, body: BufferedBody) -> None:
        """Run the tasks, and when the client has left read the stream in its place."""
        gone, cached = trio.Event(), going_on(self._walk.cached, self._audience, self._target)

        def left() -> None:
            gone.set()
            if cached is not None:
                cached.left()
            if self._scope.left or not self._delivery.lane.seen.over:
                self._context.record.abandoned = True

        deserted = None if cached is None else cached.deserted
        with survive_disconnect(self._scope.nursery, self._target, left, deserted):
            async with trio.open_nursery() as nursery:
                self._start(nursery)
                nursery.start_soon(body.run)
                await gone.wait()
                await discard(body, self._context.service.limits.answer)
                nursery.cancel_scope.cancel()


def _secrets_of_all(targets: tuple[Target, ...], credential: str | None) -> Callable[[], Secrets]:
    """Finds the credentials that any of ``targets`` may repeat. It holds nothing of the request."""
    return lambda: tuple(secret for target in targets for secret in secrets_of(target, credential))
