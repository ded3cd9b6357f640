"""Responses over a WebSocket: ``GET /v1/responses`` with an upgrade, as Codex and OpenAI's SDKs speak it
(https://developers.openai.com/api/docs/guides/websocket-mode, experientiallabs/experiential#706).

A text frame ``response.create`` holds the body of a POST, and is an exchange of its own: a nursery, an id, a line in
the ledger. Its answer comes as the events of the stream, one a frame, up to the terminal one; what fails before that is
a frame ``error`` with the status that a POST would have got, and the connection stays usable. Frames that come while an
answer is under way wait for its end, as those of one lane do at OpenAI. What is not stored can be continued as long as
the connection lives.
"""

import contextlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast

import trio
from quart import Response as QuartResponse
from quart import websocket

from gateway.access.body_memory import HeldBody
from gateway.conversations.resolved import StateScope
from gateway.endpoints.websocket.envelopes import (
    Envelope,
    Frames,
    Members,
    body_of,
    error_frame,
    is_processed,
    read_envelope,
)
from gateway.endpoints.websocket.handshake import CLOSES, AdmittedWebSocket, WebSocketArrival, admit_websocket
from gateway.endpoints.websocket.prewarm import Prewarmed, prewarm
from gateway.exchange.exchange import Exchange
from gateway.exchange.responding import open_record, refused
from gateway.exchange.service import Service
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.http.response import STREAM_HEADERS, Response, as_pieces
from gateway.ledger.record import Record
from gateway.request.client_request import ClientRequest
from gateway.request.public_errors import MISTAKE
from gateway.request.structure import COUNTED, check_structure
from gateway.serving.asgi_extensions import ON_ARRIVING
from gateway.serving.quart_views import through_quart
from gateway.stores.nodes import OwnerBytes
from providers.neutral.fields import too_deep
from providers.responses.ids import own_id
from streams.errors import GatewayError


class RememberingConnection(Protocol):
    """A connection that remembers turns."""

    def let_go(self) -> None:
        """End as soon as what it was asked is answered: its client connects again, and sends what it goes on from. To
        forget turns and stay open would be an unknown ``previous_response_id``, which some clients take for the end
        (can1357/oh-my-pi#925)."""
        ...


class RememberedBytes:
    """What the connections of a process remember: ``most`` bytes. Beyond that the connections of whoever has most go,
    those first that were used least recently, but never the one that has just been used."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._total = 0
        self._held: OrderedDict[RememberingConnection, tuple[str, int]] = OrderedDict()
        self._owners = OwnerBytes()

    def remember(self, connection: RememberingConnection, holder: str, size: int) -> None:
        """``connection`` of ``holder`` has been used, and remembers ``size`` bytes by now."""
        self.forget(connection)
        self._held[connection] = (holder, size)
        self._count(holder, size)
        while self._total > self._most and (first := self._first_to_go(connection)) is not None:
            self.forget(first)
            first.let_go()

    def forget(self, connection: RememberingConnection) -> None:
        """``connection`` has ended."""
        if connection in self._held:
            holder, size = self._held.pop(connection)
            self._count(holder, -size)

    def _count(self, holder: str, size: int) -> None:
        self._total += size
        self._owners.add(holder, size)

    def _first_to_go(self, used: RememberingConnection) -> RememberingConnection | None:
        passed: set[str] = set()
        while (owner := self._owners.largest_owner(passed)) is not None:
            for connection, (holder, size) in self._held.items():
                if holder == owner and size and connection is not used:
                    return connection
            passed.add(owner)
        return None


if TYPE_CHECKING:
    from gateway.serving.asgi_extensions import OnArriving

log = logging.getLogger("trigate")

WAITING: Final = 32
"""Frames that may wait for the end of the answer under way; beyond it, or beyond ``limits.request_body`` bytes of them,
the connection is closed: whoever does not wait for answers must not fill our memory."""

GOING_AWAY: Final = (1001, "the gateway is shutting down: connect again")
IDLE: Final = (1001, "nothing was asked for a while (websocket_idle): connect again")
LET_GO: Final = (1001, "other connections need the memory that this one holds: connect again")
REPLACED: Final = (1001, "the gateway has a new configuration: connect again")
TOO_MANY: Final = (1008, "too many requests wait for the answer under way")
TRY_AGAIN: Final = 1013
OUR_MISTAKE: Final = (1011, MISTAKE.message)  # 1000 would say that all is well


Remembering: TypeAlias = Callable[[str, bool], StateScope]
"""Makes the memory of one connection, for that owner ("" where the door is open to all), who is a client with a name or
not."""


def responses_view(service: Service, remembering: Remembering) -> Callable[[], Awaitable[QuartResponse | None]]:
    """Return the view of ``GET /v1/responses`` with an upgrade."""
    remembered = RememberedBytes(service.limits.request_body)

    async def view() -> QuartResponse | None:
        arrival = WebSocketArrival()
        try:
            admitted = admit_websocket(service, arrival)
        except GatewayError as error:
            record = open_record("responses", service.ledger, arrival.scope)
            return through_quart(refused(record, error.failed, headers=CLOSES))
        await websocket.accept({"x-request-id": arrival.scope.id})
        asked = ClientRequest(_without_beta(arrival.headers), websocket.query_string.decode("latin-1"), admitted.client)
        closing = OUR_MISTAKE
        try:
            memory = remembering(admitted.holder, admitted.client is not None)
            connection = _Connection(service, asked, memory, arrival, admitted, remembered)
            arrival.scope.on_close(lambda _: remembered.forget(connection))
            closing = await connection.run()
        except* Exception:  # the border where our own mistake becomes the client's close
            log.exception("websocket %s: failed, and is closed", arrival.scope.id)
        await websocket.close(*closing)
        return None

    return view


# The handshake


def _without_beta(headers: Headers) -> Headers:
    """``headers`` as a POST would have them, without the mark of this transport."""
    return tuple((name, value) for name, value in headers if not (name == "openai-beta" and "websocket" in value))


# The connection


class _Connection:
    """One client's websocket from the upgrade on."""

    def __init__(
        self,
        service: Service,
        asked: ClientRequest,
        memory: StateScope,
        arrival: WebSocketArrival,
        admitted: AdmittedWebSocket,
        remembered: RememberedBytes,
    ) -> None:
        self._service = service
        self._asked = asked
        self._memory = memory
        self._arrival = arrival
        self._holder = admitted.holder
        self._scope = arrival.scope
        self._prewarmed = Prewarmed(service.limits.request_body)
        self._held = service.admission.body(admitted.holder, arrival.scope)
        self._count = 0
        self._ended_by = GOING_AWAY
        self._remembered = remembered
        self._replaced = admitted.replaced
        self._closing = OUR_MISTAKE
        self._arriving_size = self._waiting_size = 0
        self._put, self._waiting = trio.open_memory_channel[str | bytes | None](WAITING)

    async def run(self) -> tuple[int, str]:
        """Answer one frame after the other, until the gateway shuts down or the client asks for too much: the code and
        the reason to close with. The client leaving cancels it."""
        async with trio.open_nursery() as nursery:
            if (on_arriving := self._arrival.asgi["extensions"].get(ON_ARRIVING)) is not None:
                cast("OnArriving", on_arriving)(partial(self._arrives, nursery.cancel_scope))
            nursery.start_soon(self._listen, nursery.cancel_scope)
            nursery.start_soon(self._stop, self._service.lifecycle.closing, GOING_AWAY)
            nursery.start_soon(self._stop, self._replaced, REPLACED)
            await self._answer_all(nursery.cancel_scope)
            nursery.cancel_scope.cancel()
        return self._closing

    async def _answer_all(self, scope: trio.CancelScope) -> None:
        with contextlib.suppress(trio.EndOfChannel):
            while True:
                with trio.move_on_after(self._service.websocket_idle) as idle:
                    frame = await self._waiting.receive()
                if idle.cancelled_caught:
                    self._closing = IDLE
                    return
                self._waiting_size -= len(frame or b"")
                self._hold(scope)
                await self._answer(frame)
                self._hold(scope)
                await self._remember()
        self._closing = self._ended_by

    async def _remember(self) -> None:
        local = self._memory.local
        size = 0 if local is None else (await local.size()).bytes
        self._remembered.remember(self, self._holder, size + self._prewarmed.size)

    def let_go(self) -> None:
        """End once what was asked is answered."""
        self._ended_by = LET_GO
        self._put.close()

    def _arrives(self, scope: trio.CancelScope, size: int) -> None:
        """Note that ``size`` bytes of the next frame are there."""
        self._arriving_size = size
        if size:
            self._hold(scope)

    def _hold(self, scope: trio.CancelScope) -> None:
        """Hold the memory of frames that arrive or wait and of what was sent ahead, or end the connection where there
        is none for them."""
        try:
            self._held.arrive(self._arriving_size + self._waiting_size + self._prewarmed.size)
        except GatewayError as error:
            self._end(scope, (TRY_AGAIN, error.failed.message))

    async def _listen(self, scope: trio.CancelScope) -> None:
        """Always receives: a disconnect is not seen behind frames that nobody has taken."""
        while True:
            frame: str | bytes | None = await websocket.receive()
            if is_processed(frame):
                continue
            self._waiting_size += len(frame or b"")
            self._hold(scope)
            try:
                if self._waiting_size > self._service.limits.request_body:
                    raise trio.WouldBlock
                self._put.send_nowait(frame)
            except trio.WouldBlock:
                self._end(scope, TOO_MANY)
            except trio.ClosedResourceError:  # shutting down: what waits is still answered, nothing more
                self._waiting_size -= len(frame or b"")

    def _end(self, scope: trio.CancelScope, closing: tuple[int, str]) -> None:
        self._closing = closing
        self._scope.left = True
        scope.cancel()

    async def _stop(self, event: trio.Event, ended_by: tuple[int, str]) -> None:
        await event.wait()
        self._ended_by = ended_by
        self._put.close()

    async def _answer(self, frame: str | bytes | None) -> None:
        """One exchange, from its frame to its line in the ledger."""
        self._count += 1
        lifecycle = self._service.lifecycle
        lifecycle.in_flight += 1
        try:
            async with self._scope.part(f"{self._scope.id}-{self._count}") as scope:
                record = open_record("responses", self._service.ledger, scope)
                record.client = self._asked.client
                trace = self._service.tracing.begin(record, self._asked.headers, "/v1/responses")
                exchange = Exchange(self._service, "responses", self._asked, scope, record, self._memory, trace)
                envelope = Envelope({})
                try:
                    self._service.admission.authenticate(self._arrival)  # the key may have ended by now
                    self._service.admission.take("in_flight", self._holder, scope)
                    envelope = await self._read(frame, self._service.admission.body(self._holder, scope))
                    response = await self._response(exchange, envelope)
                except GatewayError as error:
                    response = exchange.refuse(error.failed)
                except RecursionError:
                    response = exchange.refuse(too_deep().failed)
                await _tell(response, envelope.stream_id, record)
        finally:
            lifecycle.in_flight -= 1

    async def _response(self, exchange: Exchange, envelope: Envelope) -> Response:
        """Raises ``GatewayError``."""
        size = sum(map(len, envelope.members.values()))
        members, body = await offload(size, self._continued, envelope.members)
        if envelope.generate:
            return await exchange.answer(body)
        return await self._prewarm(exchange, members, body)

    async def _read(self, frame: str | bytes | None, held: HeldBody) -> Envelope:
        """Raises ``GatewayError``: 400 for what is no request, 413 for too much of one, 429 or 503 where no memory is
        left for it."""
        size = len(frame or b"")
        held.decode(size, await offload(size // 4, _elements, frame, self._service.limits.elements))
        return await offload(size // 4, read_envelope, frame)

    def _continued(self, members: Members) -> tuple[Members, bytes]:
        """The members with what was sent ahead, and the body of the POST that asks for the same. Raises
        ``GatewayError``."""
        members = self._prewarmed.continued(members)
        body = body_of(members)
        check_structure(body, len(body), self._service.limits.elements)
        return members, body

    async def _prewarm(self, exchange: Exchange, members: Members, body: bytes) -> Response:
        planned = await exchange.read(body)
        id = own_id("resp_")
        events = prewarm(id, planned.incoming, planned.plan.first)
        self._prewarmed.remember(id, members)
        exchange.record.bill.whole = True
        return exchange.respond(events, 200, STREAM_HEADERS)


def _elements(frame: str | bytes | None, most: int) -> int:
    """Raises ``GatewayError`` (413) for more than ``most``."""
    if not isinstance(frame, str) or len(frame) <= COUNTED:
        return 0
    body = frame.encode()
    return check_structure(body, len(body), most)


# The answer


async def _tell(response: Response, stream_id: str | None, record: Record) -> None:
    """The response as frames. A client that does not read holds up its own stream only."""
    if response.status >= 400 and isinstance(response.body, bytes):
        await websocket.send(error_frame(response.status, response.body, response.headers, stream_id))
        return
    frames = Frames(response.headers, stream_id)
    async with as_pieces(response.body) as pieces:
        async for piece in pieces:
            for frame in frames.take(piece):
                await websocket.send(frame)
    if (last := frames.end(record.failed.status if record.failed is not None else 500)) is not None:
        await websocket.send(last)
