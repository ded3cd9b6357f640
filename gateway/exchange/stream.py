"""A streamed answer: the plan is walked in the task that pumps, the client reads from the delivery."""

import contextlib
import logging
from collections.abc import Callable

import trio

from gateway.answer_cache.stored_answer import AnswerStamp
from gateway.config.redaction import Secrets
from gateway.conversations.recorder import TurnRecorder
from gateway.exchange.answering import is_stream, stream_lane, whole_answer_lane
from gateway.exchange.attempt_answer import OtherAttempts, Pieces, is_shut_down
from gateway.exchange.body import BufferedBody, StreamBody
from gateway.exchange.context import ExchangeContext
from gateway.exchange.delivery import HELD, Delivery, Refuse
from gateway.exchange.disconnect import Audience, discard, survive_disconnect
from gateway.exchange.origin import AnswerOrigin, going_on
from gateway.exchange.planned import Form, PlannedRequest
from gateway.exchange.target_request import AnswerSource, TargetRequest
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.logs.masking import unquoted
from gateway.request.public_errors import MISTAKE, secrets_of
from gateway.routing.target import LaneName, Target
from gateway.streaming.doubt import stream_doubt
from gateway.streaming.lane import Lane
from gateway.telemetry.live import LiveStream
from gateway.telemetry.tap import beside
from gateway.upstream.response import UpstreamResponse
from providers.neutral.codec import Writer
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage
from streams.framing import FramingError
from streams.handoff import Handoff
from streams.pipe import PIECES_QUEUED, Chunk, pump

log = logging.getLogger("trigate")


class FirstLane:
    """The lane that a stream has before any target has answered: it refuses, and keeps the client's connection alive.
    The answer to ``made`` takes it over."""

    def __init__(self, made: TargetRequest, lane: Lane, writer: Writer | None) -> None:
        self.lane = lane
        self._made: TargetRequest | None = made
        self._writer = writer

    def release(self) -> None:
        """Let go of the request: an answer has begun."""
        self._made = None

    @property
    def is_taken(self) -> bool:
        """Whether an answer has taken it over."""
        return self._made is None

    def take(self, source: AnswerSource) -> tuple[Lane, Writer | None] | None:
        """Return the lane, and its writer, for the answer of ``source``; ``None`` where it is not for that one, or was
        taken."""
        if self._made is not source.made or source.stamp is not None:
            return None
        self._made = None
        return self.lane, self._writer


async def first_lane(origin: AnswerOrigin) -> FirstLane:
    """Return the lane for the target that is asked first."""
    made = origin.made
    return FirstLane(made, *await _make_lane(made, None, origin.request.turn))


async def _make_lane(made: TargetRequest, stamp: AnswerStamp | None, turn: TurnRecorder) -> tuple[Lane, Writer | None]:
    """Return the lane of a stream, and its writer. One that translates may repeat much of the request."""
    size = made.request.incoming.size if made.target.lane == "hub" else 0
    return await offload(size, stream_lane, made, stamp, turn)


class BegunStream:
    """The ``CacheableAnswer`` of a stream, read up to its first content. ``lane`` makes the client's stream of it,
    ``first`` is what goes to the client for what was read."""

    lane: Lane
    lane_name: LaneName
    response: UpstreamResponse
    usage: Usage | None
    writer: Writer | None
    came: Pieces

    def __init__(
        self, source: AnswerSource, request: PlannedRequest, others: OtherAttempts, first_lane: FirstLane, tap: Lane
    ) -> None:
        """``tap`` is the lane to which those listen who observe the stream."""
        self.source = source
        self.lane_name = source.made.target.lane
        self.usage = self.writer = None
        self.first = b""
        self.came = []
        self._form, self._turn = request.form, request.turn
        self._others = others
        self._first_lane = first_lane
        self._tap = tap

    async def begin(self) -> None:
        self.response = response = await self.source.send()
        try:
            self.source.watch.heard()
            self.lane = beside(self._tap, await self._choose_lane(response))
            self.first = await self._read_on(response)
        except BaseException:
            await response.aclose()
            raise

    async def aclose(self) -> None:
        await self.response.aclose()

    @property
    def rest(self) -> UpstreamResponse:
        return self.response

    @property
    def content_type(self) -> str:
        return self.response.header("content-type") or ""

    def go_on_with(self, response: UpstreamResponse) -> None:
        self.response = response

    async def _choose_lane(self, response: UpstreamResponse) -> Lane:
        """Return the lane of the answer. Raises ``GatewayError`` for an answer that the client cannot be given."""
        source, made = self.source, self.source.made
        if is_stream(made, response.header("content-type")):
            lane, self.writer = self._first_lane.take(source) or await _make_lane(made, source.stamp, self._turn)
            return lane
        if self._form is Form.AS_ASKED:
            raise GatewayError("upstream", "the provider gave no stream: ask for it without stream=true")
        incoming = made.request.incoming
        await offload(incoming.size, lambda: incoming.request)  # which the lane takes
        self.lane_name = "hub"
        lane, self.writer = whole_answer_lane(made, source.stamp, self._turn)
        return lane

    async def _read_on(self, response: UpstreamResponse) -> bytes:
        """Read up to the first content of the answer, and return what goes to the client for it. Nothing of an answer
        that fails before that has gone there: another attempt may follow. So it may for one that fails in the same
        piece. Of openings without an end no more is held than ``HELD``."""
        lane, source = self.lane, self.source
        kept = None if source.stamp is None else self.came
        first: list[bytes] = []
        size = 0
        if kept is not None:
            kept.append((trio.current_time(), b""))
        try:
            async for chunk in response.chunks():
                source.watch.heard()
                if kept is not None:
                    kept.append((trio.current_time(), chunk))
                if out := lane.feed(chunk):
                    first.append(out)
                size += len(out)
                if lane.seen.committed or lane.seen.failed is not None or size > HELD:
                    break
            else:
                first.append(lane.end())
        except FramingError as error:
            first.append(lane.end(ErrorInfo("upstream", str(error), reason="bad_answer")))
        self.usage = lane.seen.usage
        failed = lane.seen.failed or stream_doubt(lane.seen)
        if failed is not None and (not lane.seen.committed or self._others.goes_on_after(source, failed)):
            raise GatewayError.of(source.made.disclosure.error_with(failed, response.headers, self.lane_name))
        return b"".join(first)


class StreamedAnswer:
    """The tasks of one streamed answer, in the nursery of ``scope``. ``passed`` are the headers of the provider's
    response that are for the client, none before it is there."""

    passed: Headers

    def __init__(
        self,
        context: ExchangeContext,
        origin: AnswerOrigin,
        scope: RequestScope,
        audience: Audience,
        first_lane: FirstLane,
    ) -> None:
        service, turn = context.service, origin.request.turn
        self.passed = ()
        self._context = context
        self._origin = origin
        self._target = origin.made.target
        self._turn = turn
        self._scope = scope
        self._audience = audience
        self._first_lane = first_lane
        self._chunks = Handoff[Chunk](PIECES_QUEUED)
        check = self._checker() if service.check_streams else None
        record = context.record
        self._delivery = Delivery(
            first_lane.lane, record, service.keep_alive, trio.current_time, turn=turn, check=check
        )
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
        context, targets = self._context, self._origin.request.plan.targets
        secrets = _secrets_of_all(targets, context.asked.credential)
        context.service.live_view.stream(context.record, LiveStream(self._delivery, secrets, self._chunks))
        context.recording.follow(self._delivery)

    def _start_for_client(self) -> StreamBody | BufferedBody:
        """Start the tasks; the body has a buffer where the stream goes on without the client."""
        nursery = self._scope.nursery
        if not self._audience.survives(self._target) and self._origin.followers is None:
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
        """Have the answer begin, and pump it. Never raises but for cancellation: whatever ends it goes to the body."""
        with self._chunks, self._origin as origin:
            try:
                await self._pump_on(await origin.run(self._begun))
            except GatewayError as error:
                await self._give_up(error.failed)
            except Exception:  # a closed channel would be taken for a good end
                log.exception("request %s: the pump failed", self._scope.id)
                await self._tell(MISTAKE)

    def _begun(self, source: AnswerSource) -> BegunStream:
        return BegunStream(source, self._origin.request, self._origin, self._first_lane, self._delivery.lane)

    async def _pump_on(self, answer: BegunStream) -> None:
        """Pump the rest of an answer that has begun, and goes to the client."""
        context, watch = self._context, answer.source.watch
        try:
            self._deliver(answer)
        except BaseException:
            await answer.aclose()
            raise
        with context.service.lifecycle.pump(watch.again()):
            try:
                failed = await pump(answer.response, self._chunks, watch)
            finally:  # cancelled, too: a client that does not read never takes the failure from the channel
                context.record.shut_down = is_shut_down(watch)
        if failed is not None:
            self._origin.fail(failed)
            await self._tell(failed)

    async def _give_up(self, failed: ErrorInfo) -> None:
        """Tell the body that no attempt has committed: nothing of any reaches the client."""
        if self._first_lane.is_taken:
            lane, _ = await _make_lane(self._origin.made, None, self._turn)
            self._delivery.carry(lane)
        await self._tell(failed)

    def _deliver(self, answer: BegunStream) -> None:
        """Let the first content go to the client."""
        self.passed = answer.source.made.disclosure.headers(answer.response.headers, answer.lane_name)
        self._origin.release()
        self._first_lane.release()
        self._delivery.carry(answer.lane)
        self._delivery.begin(answer.first)
        self._delivery.on_failure = self._origin.fail
        if not self._turn.records:  # which keeps it
            self._scope.release_text()
        if not self._chunks.offer(b""):
            with contextlib.suppress(trio.BrokenResourceError):  # nobody reads: the pump finds out, too
                self._chunks.send_nowait(b"")

    async def _tell(self, failed: ErrorInfo) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await self._chunks.send(failed)

    def _checker(self) -> Callable[[bytes], None] | None:
        """Holds what goes to the client against its API's grammar, if there is one; a provider's own stream in a
        tolerant way."""
        from providers.grammar import GRAMMARS, Judge  # who does not ask for it does not pay for it

        context = self._context
        wire = context.codec.wire
        if context.codec.api not in GRAMMARS or wire.framing_for(context.asked.query) is not wire.framing:
            return None
        judge = Judge(context.codec.api, tolerant=any(one.lane == "byte" for one in self._origin.request.plan.targets))
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
        gone = trio.Event()
        followers = going_on(self._origin.followers, self._audience, self._target)

        def left() -> None:
            gone.set()
            if followers is not None:
                followers.leave()
            if self._scope.left or not self._delivery.lane.seen.over:
                self._context.record.abandoned = True

        deserted = None if followers is None else followers.deserted
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
