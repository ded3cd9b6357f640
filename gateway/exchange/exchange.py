"""One request from its body to its settlement: resolve, recall, call the provider, and answer in the client's API.

Every task of an exchange lives in the request's nursery (``scope.nursery``): the client leaving cancels that nursery,
which closes the upstream connection. Until the commit point (the first content of the upstream's answer) a failure is
an honest HTTP status; after it, one error event.
"""

import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from gateway.conversations.background import BackgroundTurn
from gateway.conversations.history import load_history
from gateway.conversations.local_turn import LocalTurn
from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.conversations.resolved import StateScope
from gateway.exchange.attempt import Calling, is_shut_down, is_stream
from gateway.exchange.body import BufferedBody, StreamBody
from gateway.exchange.delivery import Delivery, Refuse
from gateway.exchange.disconnect import PATIENCE, discard, outliving
from gateway.exchange.service import Service
from gateway.http.headers import Headers, header_safe, paths_header
from gateway.http.request_scope import RequestScope
from gateway.http.response import Body, Response
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest
from gateway.request.parse import Incoming, read_incoming
from gateway.request.prepare import prepare, refuse_losses
from gateway.request.prepared import Prepared
from gateway.request.public_errors import MISTAKE, secrets_of
from gateway.request.rejections import RejectionKey
from gateway.request.tools_in_chat import where_tools_are_taken
from gateway.routing.omissions import Omissions
from gateway.routing.target import Target
from gateway.streaming.lane import Lane
from gateway.streaming.passthrough import Passthrough
from gateway.streaming.progress import spoken
from gateway.streaming.translation import Translation, WholeAnswerTranslation
from gateway.telemetry.live import LiveStream
from gateway.telemetry.tap import listen
from gateway.upstream.response import UpstreamResponse
from providers.apis import CODECS
from providers.neutral.codec import Codec, Reply, Writer
from providers.neutral.tool_names import restored
from providers.responses.output import ResponseTemplate
from streams import sse
from streams.errors import GatewayError, invalid
from streams.events import Api, ErrorInfo, Event, Usage
from streams.fold import Fold
from streams.framing import Framing
from streams.handoff import Handoff
from streams.pipe import PIECES_QUEUED, Chunk, Watch, pump

if TYPE_CHECKING:
    from gateway.telemetry.recording import Recording

log = logging.getLogger("trigate")


def stream_headers(framing: Framing) -> Headers:
    """The headers of a streamed answer."""
    return (("content-type", framing.content_type), ("cache-control", "no-cache"), ("x-accel-buffering", "no"))


STREAM_HEADERS: Headers = stream_headers(sse.SSE)
JSON_HEADERS: Headers = (("content-type", "application/json"),)

GRACE = 1.0  # seconds by which the pump's own total limit comes first, and says so


class Exchange:
    """One request. ``answer`` is called once, in a task of the request's nursery. ``memory`` is where it is remembered,
    if not in the service's store under the client's name."""

    def __init__(
        self,
        service: Service,
        api: Api,
        asked: ClientRequest,
        scope: RequestScope,
        record: Record,
        memory: StateScope | None = None,
    ) -> None:
        self._service = service
        self._codec = CODECS[api]
        self._asked = asked
        self._scope = scope
        self.record = record
        self._api = api
        self._memory = memory or StateScope(asked.client or "", service.store)
        self._calling: Calling | None = None
        self._turn: TurnRecorder = UNRECORDED
        self._recording: Recording | None = None
        self._headers: Headers = ()  # about what was not done as asked for

    async def answer(self, body: bytes) -> Response:
        """The response to ``body``; for a stream its beginning, the rest follows from the nursery's tasks.

        Cancellation (the client has left) closes the upstream connection and passes on."""
        if self._service.recorder is not None:
            self._recording = self._service.recorder.begin(self.record, self._asked, body)
        try:
            incoming, target = await self.read(body)
            calling = self.call(incoming, target)
            if isinstance(self._turn, LocalTurn) and self._turn.background:
                return await self._leave(calling, self._turn)
            return await self.answer_to(calling)
        except GatewayError as error:
            return self.refuse(error.failed)

    async def answer_to(self, calling: Calling) -> Response:
        """The response to what is asked for with ``calling``. Raises ``GatewayError``."""
        return await (self._stream if calling.incoming.stream else self._whole)(calling)

    async def _leave(self, calling: Calling, turn: LocalTurn) -> Response:
        """The beginning of a turn that goes on in the background, in a scope of its own."""

        async def go_on(scope: RequestScope) -> Response:
            self._scope = scope
            try:
                return await self.answer_to(calling)
            except GatewayError as error:
                return self.refuse(error.failed)

        background = self._service.background
        assert background is not None, "a turn is kept in the background only where there is a store"
        nursery, owner = self._scope.nursery, self._memory.owner
        begun = await background.start(
            BackgroundTurn(owner, turn, ResponseTemplate.of(self._reply(calling)), self.record, go_on)
        )
        self.record.outlives = True
        if not calling.incoming.stream:
            return self.respond(begun, 200, (*JSON_HEADERS, *self._headers))
        body = background.follow(owner, turn.id, -1, nursery, self._service.keep_alive)
        assert body is not None, "it has just begun"
        return self.respond(body, 200, (*STREAM_HEADERS, *self._headers))

    async def read(self, body: bytes) -> tuple[Incoming, Target]:
        """The request with all that it refers to, and where it goes. Raises ``GatewayError``."""
        incoming = read_incoming(self._api, body, self._asked.path)
        resolved = await load_history(self._memory, incoming, self._resolve(incoming))
        self._turn, self._headers = resolved.turn, resolved.headers
        return resolved.incoming, resolved.target

    def _resolve(self, incoming: Incoming) -> Target:
        """Raises ``GatewayError``, also for a client that may not go there."""
        record = self.record
        record.asked, record.stream = incoming.model, incoming.stream
        door = self._service.door
        may = None if door is None else partial(door.can_use, self._asked.client)
        target = where_tools_are_taken(incoming, self._service.router.resolve(incoming.model, self._api, may))
        record.asked = target.asked
        if door is not None:
            credential = self._asked.credential
            door.check(self._asked.client, target.asked, target.entry, target.model, credential)
        record.target, record.model, record.provider_api = target.name, target.model, target.api
        return target

    def call(self, incoming: Incoming, target: Target, prepared: Prepared | None = None) -> Calling:
        """The call to ``target`` that is to be made, with ``prepared`` in place of what ``incoming`` says. Raises
        ``GatewayError`` (400) for what the provider cannot honour or, in strict mode, cannot be told."""
        self.record.asked_size, self.record.lane = incoming.size, target.lane
        if prepared is None:
            prepared = prepare(incoming, target, self.learned(target))
        wish = self._asked.header("x-trigate-strict")
        strict = self._service.strict if wish is None else wish in ("1", "true")
        self._calling = Calling(self._service, self._asked, self.record, incoming, target, prepared, strict)
        self._calling.recording = self._recording
        if strict:
            refuse_losses(prepared.outgoing, target)
        return self._calling

    def learned(self, target: Target) -> Omissions:
        """What is to be left out of a request to ``target``, because it has refused it before."""
        return Omissions(paths=self._service.learned.of(RejectionKey.to(target, self._asked)))

    def refuse(self, failed: ErrorInfo) -> Response:
        """An error response in the client's shape; the upstream's own body where it fits as it is."""
        self.record.failed = failed
        told_as, body = self._calling.passing if self._calling is not None else (None, b"")
        if told_as != failed:
            body = self._codec.write_error(failed, self.record.id)
        return self.respond(body, failed.status, (*failed.headers, *JSON_HEADERS))

    def respond(self, body: bytes | Body, status: int, headers: Headers) -> Response:
        """The response, with the headers that every answer of an exchange has."""
        self.record.answered(status)
        if self._recording is not None:
            self._recording.answers(status, headers, body if isinstance(body, bytes) else None)
        return Response(status, (*headers, *own_headers(self.record)), body)

    # Whole answers

    async def _whole(self, calling: Calling) -> Response:
        with self._outliving(calling.target, self._abandon):
            response, body = await calling.fetch()
            return await self._told(calling, response, body)

    async def _told(self, calling: Calling, response: UpstreamResponse, body: bytes) -> Response:
        """The client's answer for the provider's, once it is kept."""
        folded = self.fold(calling, response, body, texts=self.record.lane != "byte")
        headers = (*JSON_HEADERS, *calling.passed, *self._headers)
        if self.record.lane == "byte" and folded.failed is not None and folded.failed.native:
            self.record.failed = folded.failed
            await self._turn.persist_failure(folded.start.id)
            return self.respond(calling.redact(body), 200, headers)
        answer = folded.answer()
        if self.record.lane == "hub":
            body = self._codec.write_answer(answer, self._reply(calling))
        body = await self._turn.persist_whole(body, answer)
        self.record.reason, self.record.whole = answer.end.reason, True
        return self.respond(body, 200, headers)

    def fold(self, calling: Calling, response: UpstreamResponse, body: bytes, *, texts: bool = True) -> Fold:
        """What the provider has answered; without ``texts`` perhaps without what it has said."""
        streamed = is_stream(calling.target, response)
        folded = Fold()
        codec = CODECS[calling.target.api]
        events = whole_events(codec, body, streamed, texts, checked=texts)
        if not any(isinstance(event, Usage) and event.prompt for event in events):
            events = events if texts else whole_events(codec, body, streamed, checked=False)
            self.record.said = sum(map(spoken, events))  # what nobody has counted is estimated by that
        for event in events:
            event = calling.public_error(event) if isinstance(event, ErrorInfo) else event
            folded.add(restored(event, calling.prepared.names))
        self.record.opening, self.record.usage = folded.start, folded.usage
        if streamed:
            self._changes_form(calling)
        calling.hear(response)
        return folded

    # Streams

    async def _stream(self, calling: Calling) -> Response:
        chunks = Handoff[Chunk](PIECES_QUEUED)
        check = self._checker(calling.target) if self._service.check_streams else None
        delivery = Delivery(
            self._lane(calling), self.record, self._service.keep_alive, trio.current_time, turn=self._turn, check=check
        )
        stream = StreamBody(delivery, chunks, self.record, self._turn)

        if self._service.board is not None:
            secrets = partial(secrets_of, calling.target, self._asked.credential)
            self._service.board.stream(self.record, LiveStream(delivery, secrets, chunks))
        if self._recording is not None:
            listen(delivery, self._recording)

        def opened(response: UpstreamResponse) -> None:
            if not is_stream(calling.target, response):
                if calling.once:
                    raise GatewayError("upstream", "the provider gave no stream: ask for it without stream=true")
                delivery.carry(self._whole_lane(calling))
            calling.hear(response)
            calling.let_go()

        def start(nursery: trio.Nursery) -> None:
            if self._turn.records:
                nursery.start_soon(stream.store_on_cancel)
            nursery.start_soon(self._pump, calling, chunks, opened)

        body = self._body(calling.target, delivery, stream, start)
        match await body.open():
            case Refuse(failed):
                raise GatewayError.of(failed)
        headers = stream_headers(self._codec.wire.framing)
        return self.respond(body, 200, (*headers, *calling.passed, *self._headers))

    def _body(
        self, target: Target, delivery: Delivery, stream: StreamBody, start: Callable[[trio.Nursery], None]
    ) -> StreamBody | BufferedBody:
        """What the client reads, with a buffer where the stream goes on without the client. Its tasks are started."""
        nursery = self._scope.nursery
        if not self._finishes(target):
            start(nursery)
            return stream
        buffered = BufferedBody(stream)

        def start_apart(nursery: trio.Nursery) -> None:
            start(nursery)
            nursery.start_soon(buffered.run)

        nursery.start_soon(self._finish, target, delivery, start_apart, buffered)
        return buffered

    async def _pump(self, calling: Calling, chunks: Handoff[Chunk], opened: Callable[[UpstreamResponse], None]) -> None:
        """Never raises but for cancellation: whatever ends the pump goes to the body."""
        watch = Watch(calling.target.entry.timeouts)
        with chunks, self._service.lifecycle.pump(watch.scope):
            try:
                await pump(calling.send, opened, chunks, watch)
            except Exception:  # a closed channel would be taken for a good end
                log.exception("request %s: the pump failed", self.record.id)
                with contextlib.suppress(trio.BrokenResourceError):
                    await chunks.send(MISTAKE)
            finally:  # cancelled, too: a client that does not read never takes the failure from the channel
                self.record.shut_down = is_shut_down(watch)

    def _checker(self, target: Target) -> Callable[[bytes], None]:
        """Holds what goes to the client against its API's grammar; a provider's own stream in a tolerant way."""
        from providers.grammar import Judge  # who does not ask for it does not pay for it

        judge = Judge(self._api, tolerant=target.lane == "byte")
        splitter = self._codec.wire.framing.splitter(self._service.limits.event)

        def check(data: bytes) -> None:
            for raw in splitter.feed(data):
                if (broken := judge.feed(raw)) is not None:
                    log.warning("request %s: the stream breaks %s: %s", self.record.id, broken.rule, broken.found)

        return check

    def _lane(self, calling: Calling) -> Lane:
        limit, target = self._service.limits.event, calling.target
        if target.lane == "byte":
            hides_usage = calling.prepared.outgoing.asks_usage
            return Passthrough(self._codec, calling.public_error, calling.redact, limit, hides_usage=hides_usage)
        writer, most = self._writer(calling), None
        if self._codec.wire.repeats_answer or self._turn.records:
            most = self._service.limits.answer  # such a stream is held until its end, which repeats it
        return Translation(
            CODECS[target.api], writer, self._codec.wire.framing, calling.public_error, limit, calling.prepared.names,
            most,
        )  # fmt: skip

    def _whole_lane(self, calling: Calling) -> Lane:
        """For a provider that answers whole though a stream was asked for."""
        self._changes_form(calling)
        writer, limit = self._writer(calling), self._service.limits.answer
        return WholeAnswerTranslation(
            CODECS[calling.target.api], writer, self._codec.wire.framing, calling.public_error, limit,
            calling.prepared.names,
        )  # fmt: skip

    def _changes_form(self, calling: Calling) -> None:
        """The provider answers whole for a stream or the other way round, so that its answer is translated. Raises
        ``GatewayError`` (400) for a client that has asked for several choices: it would get one of them."""
        self.record.lane = "hub"
        n = calling.incoming.request.parameters.get("n")
        if n is not None and n.value > 1:
            other = "whole, not as a stream" if calling.incoming.stream else "with a stream, not whole"
            raise invalid(f"{n.at} must be 1: the provider answers {other}, and one choice is translated", n.at)

    def _writer(self, calling: Calling) -> Writer:
        return self._turn.writer(self._codec.writer(self._reply(calling)))

    def _reply(self, calling: Calling) -> Reply:
        call = attrs.evolve(calling.incoming.request, model=calling.target.asked)
        estimate = max(1, calling.incoming.size // 4)
        return self._turn.reply(Reply(call, calling.target.recipient.issuer, int(time.time()), estimate))

    # The client leaves

    def _outliving(self, target: Target, left: Callable[[], object]) -> contextlib.AbstractContextManager[None]:
        """A block that goes on for a while without the client, where the provider's ``on_disconnect`` wants that."""
        if not self._finishes(target):
            return contextlib.nullcontext()
        total = target.entry.timeouts.total
        return outliving(self._scope.nursery, PATIENCE if total is None else total + GRACE, left)

    def _finishes(self, target: Target) -> bool:
        """Whether the answer is read to its end though nobody reads it. A turn in the background has no client that
        could leave: what cancels it means it."""
        return target.entry.on_disconnect == "finish" and not self.record.outlives

    def _abandon(self) -> None:
        self.record.abandoned = True

    async def _finish(
        self,
        target: Target,
        delivery: Delivery,
        start: Callable[[trio.Nursery], None],
        unread: BufferedBody,
    ) -> None:
        """Run the tasks of a stream, and when the client has left read it in the client's place."""
        gone = trio.Event()

        def left() -> None:
            gone.set()
            if self._scope.left or not delivery.lane.seen.over:
                self._abandon()

        with self._outliving(target, left):
            async with trio.open_nursery() as nursery:
                start(nursery)
                await gone.wait()
                await discard(unread, self._service.limits.answer)
                nursery.cancel_scope.cancel()


def whole_events(codec: Codec, body: bytes, streamed: bool, texts: bool = True, *, checked: bool = True) -> list[Event]:
    """The events of a whole body, also of one that came as a stream though it was not asked for."""
    if not streamed:
        return list(codec.read_answer(body, texts, checked))
    framing, reader = codec.wire.framing, codec.reader()
    splitter = framing.splitter(len(body) + 1)
    events: list[Event] = []
    for raw in (*splitter.feed(body), splitter.close()):
        if (parsed := framing.parse(raw)) is not None:
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
        "x-trigate-dropped": paths_header(record.dropped) or None,
        "x-trigate-adapted": paths_header(record.adapted) or None,
    }
    return tuple((name, header_safe(value)) for name, value in own.items() if value is not None)
