"""A streamed answer: the plan is walked in the task that pumps, the client reads from the delivery."""

import contextlib
import logging
from collections.abc import Callable

import trio

from gateway.config.redaction import Secrets
from gateway.exchange.answering import stream_lane, whole_answer_lane
from gateway.exchange.attempt import is_stream
from gateway.exchange.body import BufferedBody, StreamBody
from gateway.exchange.context import ExchangeContext
from gateway.exchange.delivery import Delivery, Refuse
from gateway.exchange.disconnect import Audience, discard, survive_disconnect
from gateway.exchange.planned import Form
from gateway.exchange.walk import Walk, is_shut_down
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.request.public_errors import MISTAKE, secrets_of
from gateway.routing.target import Target
from gateway.streaming.lane import Lane
from gateway.telemetry.live import LiveStream
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError
from streams.handoff import Handoff
from streams.pipe import PIECES_QUEUED, Chunk, Watch, pump

log = logging.getLogger("trigate")


async def first_lane(walk: Walk) -> Lane:
    """The lane of the walk's attempt. One that translates may repeat much of the request."""
    size = walk.request.incoming.size if walk.attempt.target.lane == "hub" else 0
    return await offload(size, stream_lane, walk.attempt, walk.request.turn)


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
        self._chunks = Handoff[Chunk](PIECES_QUEUED)
        check = self._checker() if service.check_streams else None
        record = context.record
        self._delivery = Delivery(lane, record, service.keep_alive, trio.current_time, turn=turn, check=check)
        self._body = StreamBody(self._delivery, self._chunks, record, turn)

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
        if not self._audience.survives(self._target):
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
        context, chunks = self._context, self._chunks
        watch = Watch(self._target.entry.timeouts)
        with chunks, context.service.lifecycle.pump(watch.scope):
            try:
                await pump(self._connect, self._opened, chunks, watch)
            except Exception:  # a closed channel would be taken for a good end
                log.exception("request %s: the pump failed", context.record.id)
                with contextlib.suppress(trio.BrokenResourceError):
                    await chunks.send(MISTAKE)
            finally:  # cancelled, too: a client that does not read never takes the failure from the channel
                context.record.shut_down = is_shut_down(watch)

    async def _connect(self) -> UpstreamResponse:
        """The response of the attempt that the plan's walk comes to."""
        first = self._walk.attempt
        response = await self._walk.send()
        attempt = self._walk.attempt
        try:
            if attempt is not first:
                self._delivery.carry(await first_lane(self._walk))
            translated = self._walk.request.form is Form.TRANSLATED
            if translated and not is_stream(attempt.target, response):  # which takes the request
                await offload(attempt.incoming.size, lambda: attempt.incoming.request)
        except BaseException:
            await response.aclose()
            raise
        return response

    def _opened(self, response: UpstreamResponse) -> None:
        """The provider has begun to answer. Raises ``GatewayError`` for an answer that the client cannot be given."""
        attempt = self._walk.attempt
        if not is_stream(attempt.target, response):
            if self._walk.request.form is Form.AS_ASKED:
                raise GatewayError("upstream", "the provider gave no stream: ask for it without stream=true")
            self._delivery.carry(whole_answer_lane(attempt, self._turn))
        attempt.keep_headers(response)
        self._walk.commit()
        if not self._turn.records:  # which keeps it
            self._scope.release_text()

    def _checker(self) -> Callable[[bytes], None] | None:
        """Holds what goes to the client against its API's grammar, if there is one; a provider's own stream in a
        tolerant way."""
        from providers.grammar import GRAMMARS, Judge  # who does not ask for it does not pay for it

        context = self._context
        if context.codec.api not in GRAMMARS:
            return None
        judge = Judge(context.codec.api, tolerant=self._target.lane == "byte")
        splitter = context.codec.wire.framing.splitter(context.service.limits.event)

        def check(data: bytes) -> None:
            for raw in splitter.feed(data):
                if (broken := judge.feed(raw)) is not None:
                    log.warning("request %s: the stream breaks %s: %s", context.record.id, broken.rule, broken.found)

        return check

    # The client leaves

    async def _finish(self, body: BufferedBody) -> None:
        """Run the tasks, and when the client has left read the stream in its place."""
        gone = trio.Event()

        def left() -> None:
            gone.set()
            if self._scope.left or not self._delivery.lane.seen.over:
                self._context.record.abandoned = True

        with survive_disconnect(self._scope.nursery, self._target, left):
            async with trio.open_nursery() as nursery:
                self._start(nursery)
                nursery.start_soon(body.run)
                await gone.wait()
                await discard(body, self._context.service.limits.answer)
                nursery.cancel_scope.cancel()


def _secrets_of_all(targets: tuple[Target, ...], credential: str | None) -> Callable[[], Secrets]:
    """Finds the credentials that any of ``targets`` may repeat. It holds nothing of the request."""
    return lambda: tuple(secret for target in targets for secret in secrets_of(target, credential))
