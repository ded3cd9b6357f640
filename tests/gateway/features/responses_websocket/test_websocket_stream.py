"""Websockets between Hypercorn and a view, over a real socket in this process."""

import contextlib
import gc
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import h2.events
import pytest
import trio
import trio.testing
from quart import websocket
from quart_trio import QuartTrio
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong

from gateway.access.admission import Admission
from gateway.access.authentication import Authenticator
from gateway.access.shares import Shares
from gateway.config.limits import Limits
from gateway.config_files.loading import from_mapping
from gateway.conversations.resolved import StateScope
from gateway.exchange.service import Service, ServiceSettings
from gateway.features.responses_websocket.connection import responses_view
from gateway.ledger.ledger import Ledger
from gateway.processes.binding import bind
from gateway.routing.router import Router
from gateway.serving.asgi_extensions import ON_ARRIVING, TAKE_MESSAGES
from gateway.serving.http2 import MORE_WINDOW
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.listeners import ServerConfig
from gateway.serving.worker import serve
from gateway.stores.memory import MemoryStore
from gateway.upstream.client import Upstream
from gateway.websockets.in_quart import configure, websocket_scope
from gateway.websockets.stream import MessageBuffer
from tests.support.asgi_app import eventually
from tests.support.harness import PATIENCE, Wire
from tests.support.live_objects import live_objects
from tests.support.loop_steps import check_own_steps
from tests.support.websocket_client import Client, handshake
from tests.support.websocket_over_http2 import Http2WebSocket, http2_client

CONFIG = from_mapping({"version": "v0.3.0", "model_providers": [{"model": "groq/up", "access_key": "k"}]})


class Broken(MemoryStore):
    """A store that raises another error than ``Unavailable``, which its interface does not permit."""

    async def chain(self, owner, id):
        raise ValueError("a mistake")


@contextlib.asynccontextmanager
async def serving(add: Callable[[QuartTrio, Lifecycle], None]) -> AsyncIterator[tuple[int, Lifecycle]]:
    app, lifecycle, ready = QuartTrio(__name__), Lifecycle(), trio.Event()
    configure(app)
    add(app, lifecycle)
    sock = bind("127.0.0.1", 0)
    with trio.fail_after(2 * PATIENCE):
        async with trio.open_nursery() as nursery:
            port = sock.getsockname()[1]
            nursery.start_soon(lambda: serve(app, [sock], state=lifecycle, ready=ready.set, signals=False, drain=0.1))
            await ready.wait()
            yield port, lifecycle
            nursery.cancel_scope.cancel()


def with_view(view: Callable[[], Awaitable[None]]) -> Callable[[QuartTrio, Lifecycle], None]:
    return lambda app, lifecycle: app.add_websocket("/v1/responses", "view", view)


async def listen() -> None:
    await websocket.accept()
    while True:
        await websocket.receive()


def answering(remembering: Callable[[str, bool], StateScope]) -> Callable[[QuartTrio, Lifecycle], None]:
    def add(app: QuartTrio, lifecycle: Lifecycle) -> None:
        authenticator = Authenticator(CONFIG)
        service = Service(
            Router(CONFIG),
            Upstream(),
            lifecycle,
            ServiceSettings(Limits(), 15.0),
            authenticator,
            Admission(CONFIG, authenticator, Shares()),
            ledger=Ledger(),
        )
        app.add_websocket("/v1/responses", "view", responses_view(service, remembering))

    return add


def ask(port: int) -> int:
    with Client.connect(port) as client:
        client.create("up", previous_response_id="resp_tg1.x", store=False)
        return client.read_close_code()


def read_close_code(port: int) -> int:
    with Client.connect(port) as client:
        return client.read_close_code()


async def test_an_internal_error_closes_with_1011_and_is_logged(caplog):
    caplog.set_level(logging.INFO, "trigate")

    def remembering(owner: str, named: bool) -> StateScope:
        store = Broken(60, 1000)
        return StateScope(owner, store, store)

    async with serving(answering(remembering)) as (port, lifecycle):
        assert await trio.to_thread.run_sync(ask, port) == 1011
        await eventually(lambda: not lifecycle.connections)
        assert lifecycle.in_flight == 0
    (line,) = [json.loads(record.message) for record in caplog.records if record.message.startswith('{"event"')]
    assert (line["ended"], line["status"]) == ("internal_error", 500)
    assert "a mistake" in caplog.text


async def test_a_mistake_before_the_first_request_closes_with_1011():
    def remembering(owner: str, named: bool) -> StateScope:
        raise ValueError("a mistake")

    async with serving(answering(remembering)) as (port, _):
        assert await trio.to_thread.run_sync(read_close_code, port) == 1011


async def test_the_server_pings_without_delaying_messages(monkeypatch):
    monkeypatch.setattr(ServerConfig, "websocket_ping_interval", 0.02)

    def wait_for_pings(port: int) -> None:
        with Client.connect(port) as client:
            while client.pings < 3:
                client._receive_data(client.wire.sock.recv(1000))

    async with serving(with_view(listen)) as (port, lifecycle):
        await trio.to_thread.run_sync(wait_for_pings, port)
        monkeypatch.setattr(ServerConfig, "websocket_ping_interval", 1000.0)
        with await trio.to_thread.run_sync(Client.connect, port):
            await eventually(lambda: len(lifecycle.connections) == 1)
        await eventually(lambda: not lifecycle.connections)


FLOODS = {
    "fragments of a letter": b"\x00\x81" + bytes(4) + b"x",
    "empty fragments": b"\x00\x80" + bytes(4),
    "pongs": b"\x8a\x80" + bytes(4),
    "pings": b"\x89\x80" + bytes(4),
}


@pytest.mark.sample(4)
@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_of_tiny_frames_ends_the_websocket_and_delays_no_other_task(flood):
    """Ten thousand frames fit in one read, and the gateway handled them without a pause (CWE-400)."""

    def send(port: int) -> int | None:
        with Client.connect(port) as client:
            client.send_part("a message in parts")
            with contextlib.suppress(OSError):
                client.wire.send(FLOODS[flood] * 20_000)
            with contextlib.suppress(ConnectionResetError):  # the server closes with frames unread
                for _ in client.frames():  # the pongs
                    pass
            return client.code

    async with serving(with_view(listen)) as (port, lifecycle):

        async def flood_and_leave() -> None:
            assert await trio.to_thread.run_sync(send, port) in (1008, None)
            await eventually(lambda: not lifecycle.connections)

        await check_own_steps(flood_and_leave)


@pytest.mark.parametrize("parts", [1, 2])
async def test_the_limit_of_a_message_counts_bytes(parts):
    """The limit counted characters, although a character may have four bytes."""

    def send(port: int, characters: int) -> int | None:
        with Client.connect(port) as client:
            for _ in range(parts - 1):
                client.send_part("é" * (characters // parts))
            client.send("é" * (characters // parts))
            client.close()
            assert list(client.frames()) == []
            return client.code

    async with serving(with_view(listen)) as (port, lifecycle):
        lifecycle.largest_message = 1000
        assert await trio.to_thread.run_sync(send, port, 500) == 1000
        assert await trio.to_thread.run_sync(send, port, 502) == 1009


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", ["connection", "sec-websocket-protocol", "sec-websocket-extensions"])
async def test_a_handshake_with_a_header_that_is_not_ascii_is_a_400(name, caplog):
    """The connection broke without a response. With HTTP/2, all its streams broke."""

    def connect(port: int) -> bytes:
        with Wire.connect(port) as wire:
            wire.send(handshake(headers={name: "upgrade, \xe9"}))
            return wire.read_until(b"\r\n\r\n")

    async with serving(with_view(listen)) as (port, _):
        assert (await trio.to_thread.run_sync(connect, port)).startswith(b"HTTP/1.1 400 ")
        if name == "connection":  # HTTP/2 does not have this header
            return
        async with http2_client(f"http://127.0.0.1:{port}") as peer:
            websocket = await Http2WebSocket.open(peer, "/v1/responses")
            stream = await peer.open_websocket("/v1/responses", ((name, "\xe9"),))
            head = await peer.until(h2.events.ResponseReceived, stream)
            assert dict(head.headers)[":status"] == "400"
            await websocket.send(Ping(payload=b"x"))
            assert isinstance(await websocket.receive(), Pong)


@pytest.mark.sample(2)
@pytest.mark.parametrize("change", [b"version: 8", b"version: 14", b"version: x", b"other: 1"])
async def test_the_response_to_an_invalid_handshake_has_the_version_to_use(change):
    """RFC 6455, section 4.4, requires it."""
    removed = b"version: 13" if b"version" in change else b"key: "

    def connect(port: int) -> tuple[bytes, bytes]:
        with Wire.connect(port) as wire:
            wire.send(handshake().replace(b"sec-websocket-" + removed, b"sec-websocket-" + change))
            return wire.read_until(b"\r\n\r\n"), wire.read_until(b"}}")

    async with serving(with_view(listen)) as (port, _):
        head, body = await trio.to_thread.run_sync(connect, port)
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"\r\nsec-websocket-version: 13\r\n" in head
        assert b"the WebSocket handshake is invalid" in body


async def test_compression_is_not_accepted():
    def connect(port: int) -> str:
        with Client.connect(port, {"sec-websocket-extensions": "permessage-deflate"}) as client:
            return client.head

    async with serving(with_view(listen)) as (port, _):
        assert "sec-websocket-extensions" not in await trio.to_thread.run_sync(connect, port)


async def test_a_client_that_does_not_return_a_close_is_disconnected_soon(monkeypatch):
    monkeypatch.setattr("gateway.websockets.stream.CLOSE_SECONDS", 0.3)

    async def view() -> None:
        await websocket.accept()
        await websocket.close(1001)

    def wait(port: int) -> float:
        with Wire.connect(port) as wire:  # a ``Client`` would return a close that arrives with the head
            begun = time.perf_counter()
            wire.send(handshake())
            wire.read_until(b"\r\n\r\n")
            return wire.closed_after(begun)

    async with serving(with_view(view)) as (port, lifecycle):
        assert await trio.to_thread.run_sync(wait, port) > 0.15
        await eventually(lambda: not lifecycle.connections)


async def test_messages_are_read_one_at_a_time_and_none_in_advance():
    """A view that reads the next message later slows its client, and it gets the code of the client's close."""
    offered, taken, closed, gate = set(), [], [], trio.Event()

    class Taker:
        async def take(self, message: str | bytes) -> None:
            offered.add(message)  # again after each check whether the client is still connected
            await gate.wait()
            taken.append(message)

        def note_close(self, code: int, reason: str) -> None:
            closed.append((code, reason))

    async def view() -> None:
        websocket.scope["extensions"][TAKE_MESSAGES](Taker())
        await websocket.accept()
        await trio.sleep_forever()

    def send(port: int) -> None:
        with Client.connect(port) as client:
            for number in range(3):
                client.send(f"{number}")
            client.send(b"\x00binary")
            client.wire.send(client._proto.send(CloseConnection(code=4321, reason="enough")))
            assert client.read_close_code() == 4321

    async with serving(with_view(view)) as (port, lifecycle), trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, send, port)
        await eventually(lambda: offered == {"0"})
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert (offered, taken) == ({"0"}, [])
        gate.set()
        await eventually(lambda: not lifecycle.connections)
        assert taken == ["0", "1", "2", b"\x00binary"]
        assert closed == [(4321, "enough")]


@pytest.mark.soak
async def test_bytes_after_a_waiting_message_return_their_window_when_the_client_leaves():
    """All streams of a connection, which may be from a proxy, share the window."""
    taken, size, batch = set(), 60_000, 50

    class Taker:
        async def take(self, message: str | bytes) -> None:
            taken.add(message)
            await trio.sleep_forever()

        def note_close(self, code: int, reason: str) -> None:
            raise AssertionError("the client closes without a frame")

    async def view() -> None:
        websocket.scope["extensions"][TAKE_MESSAGES](Taker())
        await websocket.accept()
        await trio.sleep_forever()

    async with serving(with_view(view)) as (port, _), http2_client(f"http://127.0.0.1:{port}") as peer:
        for _ in range(1 + (MORE_WINDOW + 65_535) // (size * batch)):
            opened = [await Http2WebSocket.open(peer, "/v1/responses") for _ in range(batch)]
            for one in opened:
                await one.send(f"{one.stream}")
            await eventually(lambda opened=opened: taken.issuperset(f"{one.stream}" for one in opened))
            for one in opened:
                unread = one.frame(BytesMessage(data=bytes(size)))
                for at in range(0, len(unread), 16_384):
                    peer.connection.send_data(one.stream, unread[at : at + 16_384])
                peer.connection.end_stream(one.stream)
                await peer.flush()
            for one in opened:
                await peer.until(h2.events.StreamEnded, one.stream)


async def test_a_close_without_a_code_is_sent_without_a_code():
    async def view() -> None:
        await websocket.accept()
        await websocket.close(1005, "")

    async with serving(with_view(view)) as (port, _):
        assert await trio.to_thread.run_sync(read_close_code, port) == 1005


@pytest.mark.sample(3)
@pytest.mark.parametrize("how", ["close", "fin", "rst"])
async def test_the_scope_is_settled_when_the_client_has_left(how):
    left, ended = [], []

    async def view() -> None:
        scope = websocket_scope()
        scope.on_close(left.append)
        await websocket.accept()
        async with scope.part("part") as part:
            part.on_close(ended.append)
            await trio.sleep_forever()

    def leave(port: int) -> None:
        client = Client.connect(port)
        client.close() if how == "close" else client.wire.reset() if how == "rst" else client.wire.close()
        client.wire.sock.close()

    async with serving(with_view(view)) as (port, _):
        await trio.to_thread.run_sync(leave, port)
        await eventually(lambda: left)
    assert (left, ended) == ([True], [True])


@pytest.mark.sample(2)
@pytest.mark.parametrize("how", ["server", "close", "fin", "rst"])
async def test_an_unfinished_message_takes_no_memory_after_its_websocket(how):
    """Exceptions of Quart refer to the websocket until the next full garbage collection, which bytes do not cause."""
    arrived = trio.Event()

    async def view() -> None:
        websocket.scope["extensions"][ON_ARRIVING](lambda size: arrived.set() if size > 90_000 else None)
        await websocket.accept()
        if how == "server":
            await arrived.wait()
            await websocket.close(1011)
        else:
            await websocket.receive()

    def leave(client: Client) -> None:
        if how == "server":
            assert client.read_close_code() == 1011
        client.close() if how == "close" else client.wire.reset() if how == "rst" else client.wire.close()
        client.wire.sock.close()

    async with serving(with_view(view)) as (port, lifecycle):
        client = await trio.to_thread.run_sync(Client.connect, port)
        gc.disable()
        try:
            await trio.to_thread.run_sync(client.send_part, "x" * 100_000)
            await arrived.wait()
            await trio.to_thread.run_sync(leave, client)
            await eventually(lambda: not lifecycle.connections)
            assert [buffer.length for buffer in live_objects(MessageBuffer) if buffer.value] == []
        finally:
            gc.enable()
