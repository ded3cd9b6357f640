"""The way of a relayed request to a provider, and of the answer back as it comes.

One task walks the plan and reads the provider's answer, at most a few pieces ahead of the client. Nothing goes to the
client before a piece of the answer is there, or all of it where it is short: until then a failure is an honest status,
and another place may be asked.
"""

import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Iterator
from functools import partial
from typing import Final

import attrs
import trio

from gateway.exchange.attempt import Attempt
from gateway.exchange.attempt_answer import Pieces, is_shut_down
from gateway.exchange.disconnect import survive_disconnect, survive_disconnect_later
from gateway.exchange.exchange import Exchange
from gateway.exchange.origin import AnswerOrigin
from gateway.exchange.service import Service
from gateway.exchange.target_request import AnswerSource
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.http.response import Response, ResponseBody, Truncated, stream_headers
from gateway.ledger.record import Record
from gateway.relay.cached_answers import RelayedAnswers
from gateway.relay.relaying import RelayedRequest
from gateway.request.public_errors import MISTAKE
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage
from streams.framing import FramingError
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
        self._survive: Callable[[], None] | None = None
        self._send, receive = trio.open_memory_channel[bytes](AHEAD)
        self._body = RelayedBody(receive, exchange.record, service.keep_alive)

    async def answer(self) -> Response:
        """The response, the rest of its body follows from the nursery's task. Raises ``GatewayError``. Cancellation
        (the client has left) closes the connection to the provider and passes on."""
        planned = attrs.evolve(self._request.planned, before_end=self._survive_from_now)
        kind = RelayedAnswers(self._request, self._exchange.record.endpoint)
        self._scope.nursery.start_soon(self._run, await self._exchange.origin(planned, kind))
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

    async def _run(self, origin: AnswerOrigin) -> None:
        """Have the answer begin, and pass it on. Raises nothing but for cancellation: whatever ends it goes to the
        client."""
        with self._send:
            try:
                with self._going_on(origin), origin:
                    await self._pass_on(origin, await origin.run(partial(RelayedAnswer, self, self._request)))
            except GatewayError as error:
                await self._give_up(error.failed)
            except Exception:
                log.exception("request %s: the relay failed", self._scope.id)
                await self._give_up(MISTAKE)

    @contextlib.contextmanager
    def _going_on(self, origin: AnswerOrigin) -> Iterator[None]:
        """A block that may outlive its client: while others follow its answer, or, where that is read on, once its
        provider has the whole request."""
        followers, nursery, first = origin.followers, self._scope.nursery, self._request.planned.plan.first

        def left() -> None:
            self._exchange.record.abandoned = True
            self._body.close()
            if followers is not None:
                followers.leave()

        if self._request.read_on:
            with survive_disconnect_later(nursery, first, left) as self._survive:
                yield
        elif followers is not None:
            with survive_disconnect(nursery, first, left, followers.deserted):
                yield
        else:
            yield

    def _survive_from_now(self) -> None:
        if self._survive is not None:
            self._survive()

    async def _pass_on(self, origin: AnswerOrigin, answer: "RelayedAnswer") -> None:
        """Pass on an answer that has begun."""
        watch, record = answer.source.watch, self._exchange.record
        origin.release()
        self.note(answer)
        try:
            with self._service.lifecycle.pump(watch.again()), watch.scope:
                await answer.go_on(self)
                return
            failed = watch.failed()
        except GatewayError as error:
            failed = error.failed
        except FramingError as error:
            failed = ErrorInfo("upstream", str(error), reason="bad_answer")
        finally:
            record.shut_down = is_shut_down(watch)
            await answer.aclose()
        origin.fail(failed)
        await self._give_up(answer.source.made.disclosure.error(failed))

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
        self._exchange.record.bill.whole = True
        if self._request.on_whole is not None:
            await self._request.on_whole()

    def note(self, answer: "RelayedAnswer") -> None:
        """Put on record what the answer says of itself."""
        self._exchange.record.bill.usage = answer.usage


class RelayedAnswer:
    """The ``CacheableAnswer`` of a relayed request, on its way through its filter. It begins with as much as that
    holds back, or with all of it."""

    writer = None

    def __init__(self, relay: Relay, request: RelayedRequest, source: AnswerSource) -> None:
        self.source = source
        self.lane_name = source.made.target.lane
        self.came: Pieces = []
        self.content_type = ""
        self._relay = relay
        self._request = request
        self._filter = request.filter(source.made.target)
        self._response: UpstreamResponse
        self._head: tuple[int, Headers]
        self._outs = self._filtered()
        self._held: list[bytes] = []
        self._size = 0
        self._kept = 0  # bytes that the filter holds, about
        self._is_read = False  # all responses are
        self._is_whole = False  # and the filter has given all
        self._begins = True

    @property
    def usage(self) -> Usage | None:
        return self._filter.usage

    @property
    def rest(self) -> UpstreamResponse | None:
        return None if self._is_read else self._response

    def go_on_with(self, response: UpstreamResponse) -> None:
        self._response = response

    async def aclose(self) -> None:
        await self._outs.aclose()

    async def begin(self) -> None:
        try:
            await self._read()
        except FramingError as error:
            await self._outs.aclose()
            raise GatewayError.of(ErrorInfo("upstream", str(error), reason="bad_answer")) from None
        except BaseException:
            await self._outs.aclose()
            raise
        self._begins = False

    async def _read(self) -> None:
        async for out in self._outs:
            self._held.append(out)
            self._size += len(out)
            most = self.source.made.context.service.limits.answer
            if self._is_late and self._size > most:
                raise GatewayError("upstream", f"the provider's answer is larger than limits.answer, {most} bytes")
            if not self._is_late and self._size > self._filter.held:
                return
        self._is_whole = True

    async def go_on(self, relay: Relay) -> None:
        """Give the answer to the client of ``relay``. Raises ``GatewayError`` and ``FramingError``."""
        status, headers = self._head
        body, redact = b"", self.source.made.disclosure.body
        if self._is_whole and not relay.begun:
            relay.note(self)
            await relay.ended()
            relay.respond(status, _without_length(headers), redact(b"".join(self._held)))
            return
        if self._is_late:
            body = SseEvents().event("", redact(b"".join(self._held)))
            self._held = [body]
        relay.begin(status, headers, self._filter.ping)
        try:
            for piece in self._held:
                await self._send(relay, piece)
            self._held = []
            if not self._is_whole:
                async for out in self._outs:
                    await self._send(relay, out)
        finally:
            relay.note(self)
        await relay.ended()

    async def _send(self, relay: Relay, piece: bytes) -> None:
        self.source.watch.pause()  # from here on the client is the slow one
        await relay.send(piece)
        self.source.watch.heard()

    @property
    def _is_late(self) -> bool:
        """Whether a stream was opened for keep-alives before it was known that the answer is none: a model may ignore
        that one is wanted. The whole answer is its one event then."""
        return self._relay.begun and not self._filter.ping

    async def _filtered(self) -> AsyncGenerator[bytes, None]:
        """Yield what goes to the client, request by request. It closes the response whatever happens."""
        source, made = self.source, self.source.made
        self._response = await source.send()
        try:
            further = iter(self._request.further(made.target))
            while True:
                await self._take_head(self._response)
                while (piece := await anext(self._response, None)) is not None:
                    source.watch.heard()
                    if self._begins and source.stamp is not None:
                        self.came.append((trio.current_time(), piece))
                    out = self._filter.take(piece)
                    self._kept += len(piece) - len(out)
                    if out:
                        yield out
                if (body := next(further, None)) is None:
                    break
                assert isinstance(source, Attempt), "an answer to several requests is not cached"
                self._response = await source.send_another(body)
        finally:
            await self._response.aclose()
        self._is_read = True
        if out := await offload(self._kept, self._filter.close):
            yield out

    async def _take_head(self, response: UpstreamResponse) -> None:
        source = self.source
        source.watch.heard()
        own = await offload(self._kept, self._filter.head, response.status, response.headers)
        passed = source.made.disclosure.headers(response.headers, self.lane_name)
        self._head = response.status, (*own, *passed, *source.made.request.headers)
        self.content_type = response.header("content-type") or ""
        if source.stamp is not None:
            self.came.append((trio.current_time(), b""))


def _without_length(headers: Headers) -> Headers:
    return tuple(pair for pair in headers if pair[0] != "content-length")
