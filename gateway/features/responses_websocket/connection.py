"""Responses over a WebSocket: ``GET /v1/responses`` with an upgrade, as Codex and OpenAI's SDKs use it
(https://developers.openai.com/api/docs/guides/websocket-mode, experientiallabs/experiential#706).

A text frame ``response.create`` contains the body of a POST and is an exchange with its own nursery, id and ledger
line. Its response is sent as the stream's events, one per frame. Earlier failures are a frame ``error`` with the POST's
status, and the connection stays usable. The frames of a lane wait for the end of its response; different lanes run side
by side. Other frames are answered immediately. Unstored turns can be continued on any lane while the connection
lives."""

import contextlib
import logging
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias, cast

import trio
from quart import Response as QuartResponse
from quart import websocket

from gateway.access.body_memory import HeldBody
from gateway.conversations.resolved import StateScope
from gateway.exchange.exchange import Exchange
from gateway.exchange.responding import error_response, open_record
from gateway.exchange.service import Service
from gateway.features.responses_websocket.envelopes import (
    CREATE,
    STEER,
    Envelope,
    Frames,
    LaneFrame,
    Members,
    body_of,
    error_frame,
    is_processed,
    read_envelope,
    read_lane,
    steer_failed_frame,
)
from gateway.features.responses_websocket.lanes import MAX_OPEN, WAITING, Lanes
from gateway.features.responses_websocket.prewarm import Prewarms, write_prewarm_response
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.http.response import STREAM_HEADERS, Response, as_pieces
from gateway.ledger.record import ArrivedRequest
from gateway.request.client_request import ClientRequest
from gateway.request.public_errors import MISTAKE
from gateway.request.structure import COUNTED, check_structure
from gateway.serving.asgi_extensions import ON_ARRIVING, TAKE_MESSAGES
from gateway.stores.memory import MemoryStore
from gateway.stores.nodes import OwnerBytes
from gateway.stores.overlay import OverlayStore
from gateway.websockets.frames import size_of
from gateway.websockets.handshake import CLOSES, AdmittedWebSocket, WebSocketArrival, admit_websocket
from gateway.websockets.in_quart import through_quart
from providers.neutral.fields import too_deep_error
from providers.responses.tools import own_id
from streams.errors import GatewayError


class RememberedBytes:
    """The memory of a process's connections, at most ``max_bytes``.

    Beyond it, the least recently used connections of the largest holder are closed, but never the one just used."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._total = 0
        self._held: OrderedDict[_Connection, tuple[str, int]] = OrderedDict()
        self._owners = OwnerBytes()

    def remember(self, connection: "_Connection", holder: str, size: int) -> None:
        """Record that ``connection`` of ``holder`` was used and now remembers ``size`` bytes."""
        self.forget(connection)
        self._held[connection] = (holder, size)
        self._count(holder, size)
        while self._total > self._max_bytes and (first := self._next_to_close(connection)) is not None:
            self.forget(first)
            first.end_when_idle()

    def forget(self, connection: "_Connection") -> None:
        if connection in self._held:
            holder, size = self._held.pop(connection)
            self._count(holder, -size)

    def _count(self, holder: str, size: int) -> None:
        self._total += size
        self._owners.add(holder, size)

    def _next_to_close(self, used: "_Connection") -> "_Connection | None":
        skipped: set[str] = set()
        while (owner := self._owners.largest_owner(skipped)) is not None:
            for connection, (holder, size) in self._held.items():
                if holder == owner and size and connection is not used:
                    return connection
            skipped.add(owner)
        return None


if TYPE_CHECKING:
    from gateway.serving.asgi_extensions import OnArriving, TakeMessages

log = logging.getLogger("trigate")

GOING_AWAY: Final = (1001, "the gateway is shutting down: connect again")
IDLE: Final = (1001, "the connection was idle for too long (websocket_idle): connect again")
OUT_OF_MEMORY: Final = (1001, "other connections need the memory of this one: connect again")
REPLACED: Final = (1001, "the gateway has a new configuration: connect again")
OTHER_CLIENT: Final = (1008, "the token now belongs to another client: connect again")
TOO_MANY: Final = (1008, "too many requests are waiting for the current response")
TRY_AGAIN: Final = 1013
OUR_MISTAKE: Final = (1011, MISTAKE.message)  # 1000 would mean success

MakeStateScope: TypeAlias = Callable[[str, bool], StateScope]
"""A function that returns the state of a connection, for the name of its owner and whether that is a named client."""


def websocket_views(service: Service, idle: float) -> Mapping[str, Callable[[], Awaitable[QuartResponse | None]]]:
    """Return the view of ``GET /v1/responses`` with an upgrade, by name."""
    return {"responses": responses_view(service, partial(_connection_state, service), idle)}


def _connection_state(service: Service, owner: str, is_named_client: bool) -> StateScope:
    """Return the stored turns that one connection can refer to, including those sent with ``store: false``: Codex
    continues only from these."""
    local = MemoryStore(math.inf, service.settings.limits.request_body)
    return StateScope(owner, service.turns.store, OverlayStore(local, service.turns.store), is_named_client)


def responses_view(
    service: Service, make_state_scope: MakeStateScope, idle: float = 600.0
) -> Callable[[], Awaitable[QuartResponse | None]]:
    """Return the view of ``GET /v1/responses`` with an upgrade. A connection may be ``idle`` for these seconds."""
    remembered = RememberedBytes(service.settings.limits.request_body)

    async def view() -> QuartResponse | None:
        arrival = WebSocketArrival()
        try:
            admitted = admit_websocket(service, arrival)
        except GatewayError as error:
            record = open_record("responses", service.ledger, arrival.scope)
            return through_quart(error_response(record, error.info, headers=CLOSES))
        received = _ReceivedFrames(arrival)
        await websocket.accept({"x-request-id": arrival.scope.id})
        client_request = ClientRequest(
            _without_beta(arrival.headers), websocket.query_string.decode("latin-1"), admitted.client
        )
        closing = OUR_MISTAKE
        try:
            state_scope = make_state_scope(admitted.holder, admitted.client is not None)
            connection = _Connection(
                service, client_request, state_scope, arrival, admitted, remembered, received, idle
            )
            arrival.scope.on_close(lambda _: remembered.forget(connection))
            closing = await connection.run()
        except* Exception:  # a bug here becomes the client's close
            log.exception("WebSocket %s failed and is closed", arrival.scope.id)
        finally:
            received.close()
        await websocket.close(*closing)
        return None

    return view


# The handshake


def _without_beta(headers: Headers) -> Headers:
    """Return ``headers`` as those of a POST, without the mark of the websocket."""
    return tuple((name, value) for name, value in headers if not (name == "openai-beta" and "websocket" in value))


# The connection


class _ReceivedFrames:
    """A receiver of a client's frames, one at a time: a ``MessageTaker`` of the server, whose queue is unbounded.

    Another server delivers them to Quart's queue."""

    def __init__(self, arrival: WebSocketArrival) -> None:
        self._to, self._frames = trio.open_memory_channel[str | bytes](0)
        take = arrival.asgi["extensions"].get(TAKE_MESSAGES)
        if take is not None:
            cast("TakeMessages", take)(self)
        self.receive = websocket.receive if take is None else self._frames.receive
        """Return the next frame."""

    async def take(self, message: str | bytes) -> None:
        if is_processed(message):
            return
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._to.send(message)

    def note_close(self, code: int, reason: str) -> None:
        """Do nothing: the loss of the client cancels the connection."""

    def close(self) -> None:
        """Accept no more frames: the server would wait forever with a frame that the connection does not receive."""
        self._frames.close()


class _Connection:
    """One client's websocket after the upgrade."""

    def __init__(
        self,
        service: Service,
        client_request: ClientRequest,
        state_scope: StateScope,
        arrival: WebSocketArrival,
        admitted: AdmittedWebSocket,
        remembered: RememberedBytes,
        received: _ReceivedFrames,
        idle: float,
    ) -> None:
        self._receive = received.receive
        self._idle = idle
        self._service = service
        self._client_request = client_request
        self._state_scope = state_scope
        self._arrival = arrival
        self._holder = admitted.holder
        self._scope = arrival.scope
        self._prewarms = Prewarms(service.settings.limits.request_body)
        self._held = service.admission.body(admitted.holder, arrival.scope)
        self._count = 0
        self._ended_by = GOING_AWAY
        self._remembered = remembered
        self._replaced = admitted.replaced
        self._closing = OUR_MISTAKE
        self._arriving_size = self._waiting_size = 0
        self._put, self._received = trio.open_memory_channel[str | bytes | None](WAITING + MAX_OPEN)
        self._end_scope = trio.CancelScope()
        self._sending = trio.Lock()
        self._active_at = trio.current_time()

    async def run(self) -> tuple[int, str]:
        """Answer frames until the connection must end, and return the code and reason to close with.

        The client leaving cancels it."""
        with self._end_scope:
            async with trio.open_nursery() as nursery:
                if (on_arriving := self._arrival.asgi["extensions"].get(ON_ARRIVING)) is not None:
                    cast("OnArriving", on_arriving)(self._count_arriving)
                nursery.start_soon(self._receive_frames)
                nursery.start_soon(self._end_on, self._service.lifecycle.closing, GOING_AWAY)
                nursery.start_soon(self._end_on, self._replaced, REPLACED)
                self._closing = await self._answer_all()
                nursery.cancel_scope.cancel()
        return self._closing

    async def _answer_all(self) -> tuple[int, str]:
        """Answer all frames that arrive, and return the code and reason to close with."""
        async with trio.open_nursery() as nursery:
            lanes = Lanes(nursery, self._answer_waiting)
            closing = await self._route_all(lanes)
            lanes.close()
        return self._ended_by if closing is None else closing

    async def _route_all(self, lanes: Lanes) -> tuple[int, str] | None:
        """Route all frames that arrive until the connection is idle for too long, or accepts no more (``None``)."""
        try:
            while True:
                with trio.move_on_at(self._idle_limit(lanes)) as idle:
                    frame = await self._received.receive()
                if not idle.cancelled_caught:
                    self._active_at = trio.current_time()
                    await self._route(frame, lanes)
                    del frame
                elif self._idle_limit(lanes) <= trio.current_time():
                    return IDLE
        except trio.EndOfChannel:
            return None

    def _idle_limit(self, lanes: Lanes) -> float:
        """Return the time from which on the connection is idle for too long if no frame arrives."""
        since = max(self._active_at, lanes.idle_since) if lanes.is_idle else trio.current_time()
        return since + self._idle

    async def _route(self, text: str | bytes | None, lanes: Lanes) -> None:
        """Pass a request to its lane, and answer any other frame immediately."""
        frame = await offload(len(text or b"") // 4, read_lane, text)
        try:
            if frame.kind == CREATE:
                lanes.add(frame)
                return
            if frame.kind == STEER:
                await self._send(await offload(frame.size, steer_failed_frame, frame))
            else:
                await self._answer(frame)
        except GatewayError as error:
            await self._answer(frame, error)
        except trio.WouldBlock:
            self._end(TOO_MANY)
        self._forget_waiting(frame)

    async def _answer_waiting(self, frame: LaneFrame) -> None:
        """Answer a frame whose turn it is in its lane."""
        self._forget_waiting(frame)
        await self._answer(frame)
        self._count_memory()
        local = self._state_scope.local
        size = 0 if local is None else (await local.size()).bytes
        self._remembered.remember(self, self._holder, size + self._prewarms.size)

    def _forget_waiting(self, frame: LaneFrame) -> None:
        self._waiting_size -= frame.size
        self._count_memory()

    def end_when_idle(self) -> None:
        """End after the frames received so far are answered: the client reconnects, and sends the whole conversation.

        Forgetting turns without closing would cause errors about unknown ``previous_response_id``, which some clients
        take for the conversation's end (can1357/oh-my-pi#925)."""
        self._ended_by = OUT_OF_MEMORY
        self._put.close()

    def _count_arriving(self, size: int) -> None:
        """Count the bytes of the next frame that have arrived."""
        self._arriving_size = size
        if size:
            self._count_memory()

    def _count_memory(self) -> None:
        """Count the memory of arriving and waiting frames and of prewarms, or end the connection if it is exceeded."""
        try:
            self._held.arrive(self._arriving_size + self._waiting_size + self._prewarms.size)
        except GatewayError as error:
            self._end((TRY_AGAIN, error.info.message))

    async def _receive_frames(self) -> None:
        """Receive frames continuously, because a disconnect is only visible after all earlier frames."""
        while True:
            frame: str | bytes | None = await self._receive()
            if is_processed(frame):
                continue
            size = size_of(frame or b"")
            self._waiting_size += size
            self._count_memory()
            try:
                if self._waiting_size > self._service.settings.limits.request_body:
                    raise trio.WouldBlock
                self._put.send_nowait(frame)
            except trio.WouldBlock:
                self._end(TOO_MANY)
            except trio.ClosedResourceError:  # shutting down: waiting frames are answered, new ones are not
                self._waiting_size -= size
            del frame  # its lane has it

    def _end(self, closing: tuple[int, str]) -> None:
        self._closing = closing
        self._scope.left = True
        self._end_scope.cancel()

    async def _end_on(self, event: trio.Event, ended_by: tuple[int, str]) -> None:
        await event.wait()
        self._ended_by = ended_by
        self._put.close()

    async def _send(self, text: str) -> None:
        """Send a frame; those of all lanes one after the other."""
        async with self._sending:
            await websocket.send(text)

    async def _answer(self, frame: LaneFrame, refusal: GatewayError | None = None) -> None:
        """Perform one exchange, from its frame to its ledger line, or answer it with ``refusal``."""
        self._count += 1
        lifecycle = self._service.lifecycle
        lifecycle.in_flight += 1
        try:
            async with self._scope.part(f"{self._scope.id}-{self._count}") as scope:
                arrival = ArrivedRequest(self._client_request.headers, "/v1/responses")
                record = open_record("responses", self._service.ledger, scope, arrival=arrival)
                record.client = self._client_request.client
                exchange = Exchange(self._service, "responses", self._client_request, scope, record, self._state_scope)
                envelope = Envelope({}, stream_id=frame.stream_id)
                try:
                    if refusal is not None:
                        raise refusal
                    if self._service.authenticator.unlisted is not None:
                        await self._service.admission.prepare(self._arrival)
                    self._authenticate_again()
                    admission = self._service.admission
                    admission.take(admission.requests, self._holder, scope)
                    envelope = await self._read(frame.text, admission.body(self._holder, scope))
                    exchange.replace_headers(envelope.headers)
                    response = await self._response(exchange, envelope)
                except GatewayError as error:
                    response = exchange.refuse(error.info)
                except RecursionError:
                    response = exchange.refuse(too_deep_error().info)
                await self._send_response(response, envelope.stream_id)
        finally:
            lifecycle.in_flight -= 1

    def _authenticate_again(self) -> None:
        """Check the client's key, which may have expired. Raises ``GatewayError`` (401).

        If an issuer now reports another person for the token, the connection ends after the waiting frames: its turns,
        shares and ledger lines belong to the first one."""
        if self._service.admission.authenticate(self._arrival) != self._client_request.client:
            self._ended_by = OTHER_CLIENT
            self._put.close()
            raise GatewayError("authentication", OTHER_CLIENT[1])

    async def _response(self, exchange: Exchange, envelope: Envelope) -> Response:
        """Return the response to a frame. Raises ``GatewayError``."""
        size = sum(map(len, envelope.members.values()))
        members, body = await offload(size, self._with_prewarm, envelope.members)
        if envelope.generate:
            return await exchange.answer(body)
        planned = await exchange.read(body)
        id = own_id("resp_")
        events = write_prewarm_response(id, planned.incoming, planned.plan.first)
        self._prewarms.remember(id, members)
        exchange.record.bill.is_complete = True
        return exchange.respond(events, 200, STREAM_HEADERS)

    async def _read(self, frame: str | bytes | None, held: HeldBody) -> Envelope:
        """Return the frame's contents. Raises ``GatewayError``: 400 if invalid, 413 if too large, 429 or 503 without
        memory."""
        size = size_of(frame or b"")
        held.decode(size, await offload(size // 4, _elements, frame, self._service.settings.limits.elements))
        return await offload(size // 4, read_envelope, frame)

    def _with_prewarm(self, members: Members) -> tuple[Members, bytes]:
        """Return the members with those of a prewarm, and the equivalent POST's body. Raises ``GatewayError``."""
        members = self._prewarms.with_prewarm(members)
        body = body_of(members)
        check_structure(body, len(body), self._service.settings.limits.elements)
        return members, body

    async def _send_response(self, response: Response, stream_id: str | None) -> None:
        """Send the response as frames. A client that does not read delays only its own streams."""
        if response.status >= 400 and isinstance(response.body, bytes):
            await self._send(error_frame(response.status, response.body, response.headers, stream_id))
            return
        frames = Frames(response.headers, stream_id)
        async with as_pieces(response.body) as pieces:
            async for piece in pieces:
                for frame in frames.take(piece):
                    await self._send(frame)
        if (last := frames.end(500 if response.failure is None else response.failure.status)) is not None:
            await self._send(last)


def _elements(frame: str | bytes | None, max_elements: int) -> int:
    """Return the frame's number of elements. Raises ``GatewayError`` (413) for more than ``max_elements``."""
    if not isinstance(frame, str) or len(frame) <= COUNTED:
        return 0
    body = frame.encode()
    return check_structure(body, len(body), max_elements)
