"""One request from its body to its settlement: resolve, prepare, send, and answer in the client's API.

Every task of an exchange lives in the request's nursery (``scope.nursery``): the client leaving cancels that nursery,
which closes the upstream connection. Until the commit point (the first content of the upstream's answer) a failure is
an honest HTTP status; after it, one error event.
"""

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import msgspec
import trio
from quart import Response

from gateway.door import Door
from gateway.errors import MISTAKE, Secrets, passes, redact, secrets_of, told
from gateway.headers import (
    Headers,
    downstream_headers,
    dropped_header,
    header_safe,
    telling_headers,
    upstream_id,
)
from gateway.incoming import Incoming, decoded, read_incoming
from gateway.lanes import ByteLane, HubLane, Lane, WholeLane, too_large
from gateway.leaving import PATIENCE, discard, outliving
from gateway.ledger import Record
from gateway.outgoing import Asked, Prepared, prepare, refuse_losses, upstream_request, without_reasoning
from gateway.relay import Relay
from gateway.routing import Router, Target
from gateway.scope import ChannelBody, Scope, respond
from gateway.server import Lifecycle
from gateway.settings import Limits
from gateway.upstream import Upstream, UpstreamResponse
from providers.apis import CODECS
from providers.codec import Codec, Outgoing, Reply
from providers.failures import read_failure, refuses_reasoning
from providers.grammar import Judge
from providers.messages import read_count_request
from providers.names import restored
from providers.tokens import estimate
from streams import sse
from streams.errors import GatewayError
from streams.events import Api, Event, Failed
from streams.fold import Fold
from streams.pipe import PIECES_QUEUED, WRITES_QUEUED, Watch, pump

log = logging.getLogger("trigate")

STREAM_HEADERS: Headers = (
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache"),
    ("x-accel-buffering", "no"),
)
JSON_HEADERS: Headers = (("content-type", "application/json"),)

ERROR_BODY = 2**20  # bytes of an upstream's error response that are read
NO_COUNT = (404, 405, 501)  # how a Messages server says that it does not count tokens


@attrs.frozen
class Service:
    """What all exchanges of a process share. ``keep_alive`` is the longest silence towards a client, in seconds;
    ``check_streams`` holds every stream that goes out against its API's grammar."""

    router: Router
    upstream: Upstream
    lifecycle: Lifecycle
    limits: Limits
    keep_alive: float
    strict: bool = False
    check_streams: bool = False
    door: Door | None = None


class Exchange:
    """One request. ``answer`` is called once, in a task of the request's nursery."""

    def __init__(self, service: Service, api: Api, asked: Asked, scope: Scope, record: Record) -> None:
        self._service = service
        self._codec = CODECS[api]
        self._asked = asked
        self._scope = scope
        self._record = record
        self._api = api
        self._secrets: Secrets = ()
        self._prepared = Prepared(Outgoing(b""))
        self._passing: tuple[Failed | None, bytes] = (None, b"")  # an upstream's error, and its body as it can go out
        self._passed: Headers = ()  # of the upstream's answer, once it is there

    async def answer(self, body: bytes) -> Response:
        """The response to ``body``; for a stream its beginning, the rest follows from the nursery's tasks.

        Cancellation (the client has left) closes the upstream connection and passes on."""
        try:
            incoming = read_incoming(self._api, body)
            target = self._resolve(incoming)
            self._prepare(incoming, target)
            return await (self._stream if incoming.stream else self._whole)(incoming, target)
        except GatewayError as error:
            return self.refuse(error.failed)

    def _resolve(self, incoming: Incoming) -> Target:
        record = self._record
        record.asked, record.stream = incoming.model, incoming.stream
        record.asked_size = len(incoming.body)
        target = self._service.router.resolve(incoming.model, self._api)
        record.asked = target.asked
        credential = self._asked.credential
        if self._service.door is not None:
            self._service.door.check(self._asked.client, target.asked, target.entry, target.model, credential)
        record.target, record.lane, record.model = target.name, target.lane, target.model
        self._secrets = secrets_of(target, credential)
        return target

    def refuse(self, failed: Failed) -> Response:
        """An error response in the client's shape; the upstream's own body where it fits as it is."""
        self._record.failed = failed
        told_as, body = self._passing
        if told_as != failed:
            body = self._codec.write_error(failed, self._record.id)
        return self._respond(body, failed.status, (*failed.headers, *JSON_HEADERS))

    # Outwards

    def _prepare(self, incoming: Incoming, target: Target) -> None:
        self._prepared = prepare(incoming, target)
        self._record.dropped = self._prepared.outgoing.dropped
        wish = self._asked.header("x-trigate-strict")
        if self._service.strict if wish is None else wish in ("1", "true"):
            refuse_losses(self._prepared.outgoing, target)

    async def _send(self, incoming: Incoming, target: Target) -> UpstreamResponse:
        """The upstream's response, whose status is good. Raises ``GatewayError`` for any other.

        A provider that refuses the reasoning of an earlier turn is asked once more without it."""
        try:
            return await self._ask(incoming, target)
        except GatewayError as error:
            again = without_reasoning(incoming, target) if refuses_reasoning(error.failed) else None
            if again is None:
                raise
        self._prepared = again
        self._record.dropped = again.outgoing.dropped
        return await self._ask(incoming, target)

    async def _ask(self, incoming: Incoming, target: Target, suffix: str = "") -> UpstreamResponse:
        request = upstream_request(self._prepared.outgoing, target, self._asked, incoming.stream, suffix)
        self._record.attempts += 1
        response = await self._service.upstream.send(request)
        self._record.attempts += response.attempts - 1
        self._record.upstream_id = upstream_id(response.headers)
        if 200 <= response.status < 300:
            return response
        try:
            body = await response.read(ERROR_BODY)
        except GatewayError:
            body = b""  # cut or endless: the status says enough
        finally:
            await response.aclose()
        failed = self._told(target, read_failure(response.status, body, response.headers))
        if failed.status == response.status and (passing := passes(body, self._api, target, self._secrets)) is not None:
            self._passing = (failed, passing)
        raise GatewayError.of(failed)

    def _told(self, target: Target, failed: Failed) -> Failed:
        return told(failed, self._api, target, self._secrets)

    # Counting

    async def count(self, body: bytes) -> Response:
        """The response to ``POST /v1/messages/count_tokens``: the provider's own count where it has one, else an
        estimate that errs high and says that it is one."""
        try:
            incoming = attrs.evolve(read_incoming(self._api, body), stream=False)
            target = self._resolve(incoming)
            if target.lane == "byte" and (counted := await self._counted(incoming, target)) is not None:
                return self._respond(counted, 200, (*JSON_HEADERS, *self._passed))
            tokens = estimate(read_count_request(decoded(incoming)))
        except GatewayError as error:
            return self.refuse(error.failed)
        self._record.whole = True
        headers = (*JSON_HEADERS, ("x-trigate-estimated", "1"))
        return self._respond(msgspec.json.encode({"input_tokens": tokens}), 200, headers)

    async def _counted(self, incoming: Incoming, target: Target) -> bytes | None:
        """The provider's count, ``None`` if it does not count."""
        self._prepared = prepare(incoming, target)
        try:
            response, body = await self._fetch(partial(self._ask, incoming, target, "/count_tokens"), target)
        except GatewayError as error:
            if error.failed.status in NO_COUNT:
                return None
            raise
        self._hear(response)
        self._record.whole = True
        return body

    # Whole answers

    async def _whole(self, incoming: Incoming, target: Target) -> Response:
        with self._outliving(target, self._abandon):
            response, body = await self._fetch(partial(self._send, incoming, target), target)
        streamed = is_stream(response)
        folded = Fold()
        for event in whole_events(CODECS[target.api], body, streamed):
            event = self._told(target, event) if isinstance(event, Failed) else event
            folded.add(restored(event, self._prepared.names))
        self._record.usage = folded.usage
        if streamed:
            self._record.lane = "hub"
        self._hear(response)
        if self._record.lane == "byte" and folded.failed is not None and folded.failed.native:
            self._record.failed = folded.failed
            return self._respond(redact(body, self._secrets), 200, (*JSON_HEADERS, *self._passed))
        answer = folded.answer()
        if self._record.lane == "hub":
            body = self._codec.write_answer(answer, self._reply(incoming, target))
        self._record.reason, self._record.whole = answer.end.reason, True
        return self._respond(body, 200, (*JSON_HEADERS, *self._passed))

    async def _fetch(
        self, ask: Callable[[], Awaitable[UpstreamResponse]], target: Target
    ) -> tuple[UpstreamResponse, bytes]:
        """The upstream's answer and its body. Raises ``GatewayError``."""
        watch = Watch(target.entry.timeouts)
        with self._service.lifecycle.pump(watch.scope), watch.scope:
            response = await ask()
            try:
                return response, await self._read(response, watch)
            finally:
                await response.aclose()
        raise GatewayError.of(watch.failed())

    async def _read(self, response: UpstreamResponse, watch: Watch) -> bytes:
        limit = self._service.limits.answer
        parts: list[bytes] = []
        size = 0
        watch.heard()
        async for chunk in response.chunks():
            watch.heard()
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                raise GatewayError.of(too_large(limit))
        return b"".join(parts)

    # Streams

    async def _stream(self, incoming: Incoming, target: Target) -> Response:
        into, chunks = trio.open_memory_channel[bytes | Failed](PIECES_QUEUED)
        to_client, writes = trio.open_memory_channel[bytes](WRITES_QUEUED)
        check = self._checker(target) if self._service.check_streams else None
        relay = Relay(self._lane(incoming, target), chunks, to_client, self._record, self._service.keep_alive, check)

        def opened(response: UpstreamResponse) -> None:
            if not is_stream(response):
                relay.lane = self._whole_lane(incoming, target)
            self._hear(response)

        def start(nursery: trio.Nursery) -> None:
            relay.start(nursery)
            nursery.start_soon(self._pump, incoming, target, into, opened)

        if target.entry.on_disconnect == "finish":
            self._scope.nursery.start_soon(self._finish, target, relay, start, writes.clone())
        else:
            start(self._scope.nursery)
        await relay.opened.wait()
        if relay.refused is not None:
            raise GatewayError.of(relay.refused)
        return self._respond(ChannelBody(writes), 200, (*STREAM_HEADERS, *self._passed))

    async def _pump(
        self,
        incoming: Incoming,
        target: Target,
        into: trio.MemorySendChannel[bytes | Failed],
        opened: Callable[[UpstreamResponse], None],
    ) -> None:
        """Never raises but for cancellation: whatever ends the pump is told to the relay."""
        watch = Watch(target.entry.timeouts)
        with into, self._service.lifecycle.pump(watch.scope):
            try:
                await pump(partial(self._send, incoming, target), opened, into.clone(), watch)
            except Exception:  # a closed channel would be taken for a good end
                log.exception("request %s: the pump failed", self._record.id)
                with contextlib.suppress(trio.BrokenResourceError):
                    await into.send(MISTAKE)

    def _checker(self, target: Target) -> Callable[[bytes], None]:
        """Holds what goes to the client against its API's grammar; a provider's own stream in a tolerant way."""
        judge, splitter = Judge(self._api, tolerant=target.lane == "byte"), sse.Splitter(self._service.limits.event)

        def check(data: bytes) -> None:
            for raw in splitter.feed(data):
                if (broken := judge.feed(raw)) is not None:
                    log.warning("request %s: the stream breaks %s: %s", self._record.id, broken.rule, broken.found)

        return check

    def _lane(self, incoming: Incoming, target: Target) -> Lane:
        limit, tell = self._service.limits.event, partial(self._told, target)
        if target.lane == "byte":
            return ByteLane(self._codec, tell, partial(redact, secrets=self._secrets), limit)
        writer = self._codec.writer(self._reply(incoming, target))
        return HubLane(CODECS[target.api].reader(), writer, tell, limit, self._prepared.names)

    def _whole_lane(self, incoming: Incoming, target: Target) -> Lane:
        """For a provider that answers whole though a stream was asked for."""
        self._record.lane = "hub"
        writer = self._codec.writer(self._reply(incoming, target))
        tell, limit = partial(self._told, target), self._service.limits.answer
        return WholeLane(CODECS[target.api], writer, tell, limit, self._prepared.names)

    # The client leaves

    def _outliving(self, target: Target, left: Callable[[], object]) -> contextlib.AbstractContextManager[None]:
        """A block that goes on for a while without the client, where the provider's ``on_disconnect`` wants that."""
        if target.entry.on_disconnect == "cancel":
            return contextlib.nullcontext()
        return outliving(self._scope.nursery, target.entry.timeouts.total or PATIENCE, left)

    def _abandon(self) -> None:
        self._record.abandoned = True

    async def _finish(
        self,
        target: Target,
        relay: Relay,
        start: Callable[[trio.Nursery], None],
        unread: trio.MemoryReceiveChannel[bytes],
    ) -> None:
        """Run the tasks of a stream, and when the client has left read it in the client's place."""
        gone = trio.Event()

        def left() -> None:
            gone.set()
            if not relay.lane.seen.over:
                self._abandon()

        with self._outliving(target, left):
            async with trio.open_nursery() as nursery:
                start(nursery)
                await gone.wait()
                await discard(unread, self._service.limits.answer)
                nursery.cancel_scope.cancel()

    # Back to the client

    def _reply(self, incoming: Incoming, target: Target) -> Reply:
        call = attrs.evolve(incoming.call, model=target.asked)
        return Reply(call, target.recipient.issuer, int(time.time()), max(1, len(incoming.body) // 4))

    def _hear(self, response: UpstreamResponse) -> None:
        """Keep the headers of the upstream's answer that are for the client."""
        self._passed = (downstream_headers if self._record.lane == "byte" else telling_headers)(response.headers)

    def _respond(self, body: bytes | ChannelBody, status: int, headers: Headers) -> Response:
        self._record.answered(status)
        return respond(body, status, (*headers, *own_headers(self._record)))


def is_stream(response: UpstreamResponse) -> bool:
    """Whether the upstream answers with server-sent events, whatever it was asked for."""
    return (response.header("content-type") or "").lower().startswith("text/event-stream")


def whole_events(codec: Codec, body: bytes, streamed: bool) -> list[Event]:
    """The events of a whole body, also of one that came as a stream though it was not asked for."""
    if not streamed:
        return list(codec.read_answer(body))
    splitter, reader = sse.Splitter(len(body) + 1), codec.reader()
    events: list[Event] = []
    for raw in (*splitter.feed(body), splitter.close()):
        if (parsed := sse.parse(raw)) is not None:
            events.extend(reader.take(*parsed))
    return [*events, *reader.close()]


def own_headers(record: Record) -> Headers:
    """The headers that trigate adds to every answer of an exchange."""
    own = {
        "x-request-id": record.id,
        "request-id": record.id if record.api == "messages" else None,
        "x-trigate-lane": record.lane,
        "x-trigate-target": record.target,
        "x-trigate-model": record.model,
        "x-trigate-attempts": str(record.attempts),
        "x-trigate-upstream-request-id": record.upstream_id,
        "x-trigate-dropped": dropped_header(record.dropped) or None,
    }
    return tuple((name, header_safe(value)) for name, value in own.items() if value is not None)
