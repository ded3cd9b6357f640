"""The way of a relayed request to a provider, and of the answer back as it comes.

One task walks the plan and reads the provider's answer, at most a few pieces ahead of the client. Nothing goes to the
client before a piece of the answer is there, or all of it where it is short: until then a failure is an honest status,
and another place may be asked.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import trio

from gateway.exchange.attempt import Attempt
from gateway.exchange.disconnect import survive_disconnect, survive_disconnect_later
from gateway.exchange.exchange import Exchange
from gateway.exchange.service import Service
from gateway.exchange.walk import Ask, Walk, is_shut_down
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.http.response import Response, ResponseBody, Truncated, stream_headers
from gateway.ledger.record import Record
from gateway.relay.answers import AnswerFilter
from gateway.relay.cached_answers import RelayedAnswers
from gateway.relay.relaying import RelayedRequest
from gateway.request.public_errors import MISTAKE
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError
from streams.events import ErrorInfo
from streams.framing import FramingError
from streams.pipe import Watch
from streams.sse import SSE, SseEvents

log = logging.getLogger("trigate")

AHEAD: Final = 4
"""Pieces that are read ahead of the client."""


class RelayedBody(ResponseBody):
    """The body of an answer that is read as its client takes it. After ``seconds`` of silence a ``ping`` goes out,
    where there is one."""

    def __init__(self, channel: trio.MemoryReceiveChannel[bytes], record: Record, seconds: float) -> None:
        self.ping = b""
        self._channel = channel
        self._record = record
        self._seconds = seconds
        self._cut = False

    def close(self) -> None:
        """Nobody takes any of it."""
        self._channel.close()

    def cut(self) -> None:
        """The answer is not whole, and must not look so."""
        self._cut = True

    async def __aexit__(self, *_: object) -> None:
        self._channel.close()

    async def __anext__(self) -> bytes:
        self._record.wrote()
        while True:
            with trio.move_on_after(self._seconds):
                try:
                    return await self._channel.receive()
                except trio.EndOfChannel:
                    if self._cut:
                        raise Truncated from None
                    raise StopAsyncIteration from None
            if self.ping:
                return self.ping


class Relay:
    """One request that is relayed, in the nursery of ``scope``. ``answer`` is called once."""

    def __init__(self, exchange: Exchange, service: Service, scope: RequestScope, request: RelayedRequest) -> None:
        self._exchange = exchange
        self._service = service
        self._scope = scope
        self._request = request
        self._settled = trio.Event()
        self._response: Response | None = None
        self._failed: ErrorInfo | None = None
        self._send, receive = trio.open_memory_channel[bytes](AHEAD)
        self._body = RelayedBody(receive, exchange.record, service.keep_alive)

    async def answer(self) -> Response:
        """The response, the rest of its body follows from the nursery's task. Raises ``GatewayError``. Cancellation
        (the client has left) closes the connection to the provider and passes on."""
        walk = await self._exchange.walk(self._request.planned)
        if self._service.cache_uses is not None:
            self._exchange.use_cache(walk, RelayedAnswers(self._request, self._exchange.record.endpoint))
        self._scope.nursery.start_soon(self._run, walk)
        streamed = self._request.planned.incoming.stream
        with trio.move_on_after(self._service.keep_alive if streamed else float("inf")):
            await self._settled.wait()
        if not self._settled.is_set():  # a stream is opened for keep-alives
            self._begin(200, stream_headers(SSE), SSE.comment)
            await self._send.send(SSE.comment)
        if self._failed is not None and self._response is None:
            raise GatewayError.of(self._failed)
        assert self._response is not None, "it is settled by one of both"
        return self._response

    async def _run(self, walk: Walk) -> None:
        """Walk the plan. Raises nothing but for cancellation: whatever ends it goes to the client."""
        with self._send:
            try:
                with self._going_on(walk) as before_end:
                    await walk.run(self._ask_of(walk, before_end))
            except GatewayError as error:
                await self._give_up(error.failed)
            except Exception:
                log.exception("request %s: the relay failed", self._scope.id)
                await self._give_up(MISTAKE)

    @contextlib.contextmanager
    def _going_on(self, walk: Walk) -> Iterator[Callable[[], None] | None]:
        """A block that may outlive its client: while others follow its answer, or, where that is read on, from the call
        of what it gets."""
        cached, nursery, first = walk.cached, self._scope.nursery, self._request.planned.plan.first

        def left() -> None:
            self._exchange.record.abandoned = True
            self._body.close()
            if cached is not None:
                cached.left()

        if self._request.read_on:
            with survive_disconnect_later(nursery, first, left) as survive:
                yield survive
        elif cached is not None:
            with survive_disconnect(nursery, first, left, cached.deserted):
                yield None
        else:
            yield None

    def _ask_of(self, walk: Walk, before_end: Callable[[], None] | None) -> Ask[None]:
        async def ask(attempt: Attempt) -> None:
            watch, attempt.before_end = attempt.watch, before_end
            with self._service.lifecycle.pump(watch.scope), watch.scope:
                await self._pass_on(walk, attempt, await attempt.send_once(), watch)
                return
            self._exchange.record.shut_down = is_shut_down(watch)
            await self._fail(attempt, watch.failed())

        return ask

    async def _pass_on(self, walk: Walk, attempt: Attempt, response: UpstreamResponse, watch: Watch) -> None:
        try:
            passing = _Passing(self, walk, attempt, self._request.filter(attempt.target), watch)
            await passing.run(response, self._request.further(attempt.target))
        except FramingError as error:
            await self._fail(attempt, ErrorInfo("upstream", str(error), reason="bad_answer"))
        except GatewayError as error:
            await self._fail(attempt, error.failed)

    async def _fail(self, attempt: Attempt, failed: ErrorInfo) -> None:
        """``attempt`` has failed: another may follow, unless it has committed."""
        if not attempt.committed:
            raise GatewayError.of(failed)
        attempt.fail(failed)
        await self._give_up(attempt.public_error(failed))

    async def _give_up(self, failed: ErrorInfo) -> None:
        """There is no other attempt. What has begun to go to the client ends in the failure."""
        self._exchange.record.failed = failed
        if self._response is None:
            self._failed = failed
            self._settled.set()
        elif self._body.ping:
            await self._send.send(self._request.last_event(failed))
        else:
            self._body.cut()

    # What a passing answer does with its client

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """The whole answer."""
        self._response = self._exchange.respond(body, status, headers)
        self._settled.set()

    def begin(self, status: int, headers: Headers, ping: bytes) -> None:
        """The head of an answer that goes on, unless there has been one."""
        if self._response is None:
            self._begin(status, headers, ping)

    def _begin(self, status: int, headers: Headers, ping: bytes) -> None:
        self._scope.release_text()
        self._body.ping = ping
        self._response = self._exchange.respond(self._body, status, headers)
        self._settled.set()

    async def send(self, piece: bytes) -> None:
        """Give ``piece`` to the client, and wait until it has taken most of those before it."""
        self._exchange.record.writes()
        with contextlib.suppress(trio.BrokenResourceError):  # it has left, and others follow
            await self._send.send(piece)

    @property
    def begun(self) -> bool:
        """The client has the head of its answer."""
        return self._response is not None

    async def ended(self) -> None:
        """The answer is whole."""
        self._exchange.record.whole = True
        if self._request.on_whole is not None:
            await self._request.on_whole()

    def note(self, filter: AnswerFilter) -> None:
        """Put on record what the answer says of itself."""
        self._exchange.record.usage = filter.usage


class _Passing:
    """The answer of one attempt on its way through its filter."""

    def __init__(self, relay: Relay, walk: Walk, attempt: Attempt, filter: AnswerFilter, watch: Watch) -> None:
        self._relay = relay
        self._walk = walk
        self._attempt = attempt
        self._filter = filter
        self._watch = watch
        self._held: list[bytes] | None = []
        self._size = 0
        self._kept = 0  # bytes that the filter holds, about

    async def run(self, response: UpstreamResponse, further: Sequence[bytes]) -> None:
        """Raises ``GatewayError`` where the answer fails, and ``FramingError``."""
        try:
            await self._take(response)
            for body in further:
                await self._take(await self._attempt.send_another(body))
            out = await offload(self._kept, self._filter.close)
        finally:
            self._attempt.usage = self._filter.usage
            if self._attempt.committed:
                self._relay.note(self._filter)
        if self._is_late and self._held is not None:
            self._held = [SseEvents().event("", self._attempt.redact(b"".join([*self._held, out])))]
            out = b""
        elif self._held is not None and not self._relay.begun:
            self._commit()
            status, headers = self._head
            await self._relay.ended()
            self._relay.respond(status, _without_length(headers), self._attempt.redact(b"".join([*self._held, out])))
            return
        if out:
            await self._give(out)
        await self._flush()
        await self._relay.ended()

    async def _take(self, response: UpstreamResponse) -> None:
        """One of the provider's answers, which is closed then."""
        try:
            self._watch.heard()
            self._attempt.keep_headers(response)
            own = await offload(self._kept, self._filter.head, response.status, response.headers)
            self._head = response.status, (*own, *self._attempt.passed, *self._walk.request.headers)
            async for piece in response.chunks():
                self._watch.heard()
                out = self._filter.take(piece)
                self._kept += len(piece) - len(out)
                if out:
                    await self._give(out)
        finally:
            await response.aclose()

    async def _give(self, piece: bytes) -> None:
        if self._held is not None:
            self._held.append(piece)
            self._size += len(piece)
            if self._is_late and self._size > (most := self._attempt.context.service.limits.answer):
                raise GatewayError("upstream", f"the provider's answer is larger than limits.answer, {most} bytes")
            if self._is_late or self._size <= self._filter.held:
                return
            await self._flush()
        else:
            await self._send(piece)

    @property
    def _is_late(self) -> bool:
        """Whether a stream was opened for keep-alives before it was known that the answer is none: a model may ignore
        that one is wanted. The whole answer is its one event then."""
        return self._held is not None and self._relay.begun and not self._filter.ping

    async def _flush(self) -> None:
        """Let go what was held back: the answer goes to the client from here on."""
        if self._held is None:
            return
        held, self._held = self._held, None
        self._commit()
        self._relay.begin(*self._head, self._filter.ping)
        for piece in held:
            await self._send(piece)

    async def _send(self, piece: bytes) -> None:
        self._watch.pause()  # from here on the client is the slow one
        await self._relay.send(piece)
        self._watch.heard()

    def _commit(self) -> None:
        self._walk.commit(self._attempt)
        self._walk.release()
        self._relay.note(self._filter)


def _without_length(headers: Headers) -> Headers:
    return tuple(pair for pair in headers if pair[0] != "content-length")
