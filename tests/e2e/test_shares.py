"""Tests of each client's share of a gateway: refused clients get no slots, and admitted clients get their share."""

import contextlib
import random
from collections.abc import Iterator, Mapping
from typing import Any

import h2.config
import h2.connection
import h2.exceptions
import h2.settings
import pytest
from h2.events import ResponseReceived, StreamEnded, StreamReset

from tests.support import websocket_client as websocket
from tests.support.features import has_feature, members_of, needs_feature
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import (
    Gateway,
    Listening,
    Reply,
    Wire,
    complaint,
    config,
    eventually,
    post,
    provider,
)
from tests.support.metrics_page import numbers
from tests.support.upstreams import PATHS, Script

KEYS = {"mallory": "sk-gw-mallory-0123456789", "bob": "sk-gw-bob-0123456789", "greta": "sk-gw-greta-0123456789"}
OPERATOR = {"authorization": "Bearer sk-operator-0123456789"}
CLIENTS = [{"name": name, "key": key} for name, key in KEYS.items()]
SHARES = {"in_flight": 2, "websockets": 2, **members_of("live_view", viewers=2)}
ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def auth(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {KEYS[name]}"}


@contextlib.contextmanager
def serving(url: str, **more: Any) -> Iterator[Gateway]:
    settings = config([provider("openai/m", url, ["chat"])], **{"client_keys": CLIENTS, **more})
    with gateway_thread(settings) as process:
        yield process
        assert "Traceback" not in (text := "\n".join(process.log)), text[-3000:]


@contextlib.contextmanager
def unread(port: int, heads: list[list[tuple[str, str]]]) -> Iterator[None]:
    """Send requests over HTTP/2 from a client that keeps its windows for answers closed (RFC 9113, section 6.9.2)."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.local_settings = h2.settings.Settings(
        client=True, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0}
    )
    connection.initiate_connection()
    for i, head in enumerate(heads):
        connection.send_headers(2 * i + 1, head, end_stream=True)
    with Wire.connect(port) as wire:
        wire.send(connection.data_to_send())
        answered = 0
        while answered < len(heads):
            events = connection.receive_data(wire.sock.recv(65536))
            answered += sum(isinstance(event, ResponseReceived | StreamReset) for event in events)
        yield


def head(path: str, method: str = "POST", headers: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    line = {":method": method, ":path": path, ":scheme": "http", ":authority": "localhost"}
    return [*line.items(), *(headers or {}).items()]


def test_a_refused_client_occupies_no_slot(upstream):
    """A client that does not read its refusal keeps it open for any time (CVE-2019-9517)."""
    refused = [
        head(PATHS["chat"]),
        head(PATHS["chat"], headers={"x-api-key": "guessed"}),
        head("/v1/conversations"),
        head("/v1/conversations", headers=auth("bob") | {"x-api-key": "another"}),
        head("/nothing/here", headers=auth("bob")),
        head("/healthz", "GET"),
        head("/", "GET"),
    ]
    upstream.script(Script(text="one"))
    with serving(upstream.url, limits={"in_flight": 1}) as gateway, unread(gateway.port, refused * 4):
        assert gateway.request("POST", PATHS["chat"], ASKED, auth("bob")).status == 200


# A client's own share


@pytest.fixture(scope="module")
def silent_provider() -> Iterator[Listening]:
    """Return a provider that never answers."""
    with Listening() as listening:
        yield listening


@pytest.fixture(scope="module")
def gateway(silent_provider) -> Iterator[Gateway]:
    limits = {"in_flight": 5, "per_client": SHARES}
    greedy = [*CLIENTS[:2], {**CLIENTS[2], "limits": {"in_flight": 0}}]
    with serving(
        silent_provider.url, limits=limits, client_keys=greedy, ui_key=OPERATOR["authorization"][7:]
    ) as process:
        yield process


@contextlib.contextmanager
def under_way(gateway: Gateway, silent_provider: Listening, name: str, many: int = 1) -> Iterator[list[Wire]]:
    """Open requests of a client that wait for their provider until the end of the block."""
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(many):
            clients.append(client := stack.enter_context(Wire.connect(gateway.port)))
            client.send(post(PATHS["chat"], ASKED, auth(name)))
            stack.enter_context(silent_provider.accept()).read_request()
        yield clients


def ask(gateway: Gateway, name: str, path: str = PATHS["chat"], model: str = "unknown") -> Reply:
    """Send a request for an unknown model: if the gateway admits it, it returns 404 without a provider request."""
    said = {"input": "hi"} if path.startswith("/v1/responses") else {"messages": [{"role": "user", "content": "hi"}]}
    return gateway.request("POST", path, {"model": model, "max_tokens": 9, **said}, auth(name))


def wait_until_free(gateway: Gateway, name: str) -> None:
    eventually(lambda: ask(gateway, name).status == 404, what="a place that is given back")


WORK = {
    PATHS["chat"]: "chat",
    PATHS["messages"]: "messages",
    PATHS["responses"]: "responses",
    "/v1/messages/count_tokens": "messages",
    "/v1/responses/input_tokens": "responses",
    "/v1/responses/compact": "responses",
    "/v1/conversations": "responses",
    "/v1/conversations/conv_1/items": "responses",
    "/v1/responses/resp_1/cancel": "responses",
}


def test_a_client_that_has_its_share_is_refused_but_others_are_not(gateway, silent_provider):
    with under_way(gateway, silent_provider, "mallory", 2):
        for path, api in WORK.items():
            reply = ask(gateway, "mallory", path)
            error = complaint(api, reply, 429)
            assert "'mallory' has reached its limit of 2 running requests" in error["message"]
            assert "limits.per_client.in_flight" in error["message"]
            assert reply.headers["retry-after"] == "1"
        assert ask(gateway, "bob").status == 404
        if has_feature("metrics"):
            refused = numbers(gateway, **OPERATOR)("trigate_share_refusals_total", share="in_flight")
            assert refused >= len(WORK)
        assert gateway.request("GET", "/nowhere", None, auth("mallory")).status == 404
    wait_until_free(gateway, "mallory")


def test_the_limit_of_all_clients_returns_503_before_a_clients_share(gateway, silent_provider):
    with under_way(gateway, silent_provider, "greta", 5):
        for name in KEYS:
            reply = ask(gateway, name)
            assert "limits.in_flight" in complaint("chat", reply, 503)["message"]
            assert reply.headers["retry-after"] == "1"
        assert gateway.request("GET", "/healthz").status == 200
    wait_until_free(gateway, "bob")


def test_a_slot_is_released_however_a_request_ends(gateway, silent_provider):
    with under_way(gateway, silent_provider, "mallory", 2) as clients:
        clients[0].reset()
        wait_until_free(gateway, "mallory")
        with under_way(gateway, silent_provider, "mallory"):
            assert ask(gateway, "mallory").status == 429
    wait_until_free(gateway, "mallory")
    for body in (b"{", b"\xff", b"[]"):
        for _ in range(SHARES["in_flight"] + 1):
            assert gateway.request("POST", PATHS["chat"], body, auth("mallory")).status == 400
    broken = {**auth("mallory"), "content-encoding": "gzip"}
    for _ in range(SHARES["in_flight"] + 1):
        assert gateway.request("POST", PATHS["chat"], b"no gzip", broken).status == 400


# Websockets


def refused_upgrade(gateway: Gateway, name: str) -> bytes:
    with Wire.connect(gateway.port) as wire:
        wire.send(websocket.handshake(headers=auth(name)))
        return wire.read_to_end()


@needs_feature("responses_websocket")
def test_websockets_have_their_own_share_and_their_requests_are_in_flight(gateway, silent_provider):
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(websocket.Client.connect(gateway.port, auth("mallory")))
            for _ in range(SHARES["websockets"])
        ]
        answer = refused_upgrade(gateway, "mallory")
        assert answer.startswith(b"HTTP/1.1 429 ")
        assert b"\r\nretry-after: 1\r\n" in answer
        assert b"limits.per_client.websockets" in answer
        stack.enter_context(websocket.Client.connect(gateway.port, auth("bob")))
        with under_way(gateway, silent_provider, "mallory", 2):
            clients[0].create("m")
            refusal = clients[0].next()
            assert (refusal["type"], refusal["status"]) == ("error", 429)
            assert "limits.per_client.in_flight" in refusal["error"]["message"]
        wait_until_free(gateway, "mallory")
        clients[0].create("m")
        stack.enter_context(silent_provider.accept()).read_request()
        with under_way(gateway, silent_provider, "mallory"):
            assert ask(gateway, "mallory").status == 429
    eventually(lambda: _is_upgraded(gateway, "mallory"), what="a websocket that may be opened again")
    wait_until_free(gateway, "mallory")


def _is_upgraded(gateway: Gateway, name: str) -> bool:
    with Wire.connect(gateway.port) as wire:
        wire.send(websocket.handshake(headers=auth(name)))
        return wire.read_until(b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")


@needs_feature("responses_websocket")
def test_an_idle_websocket_is_closed_and_an_active_one_is_not(silent_provider):
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(serving(silent_provider.url, websocket_idle="0.3s"))
        busy, idle = (stack.enter_context(websocket.Client.connect(gateway.port, auth("bob"))) for _ in range(2))
        busy.create("m")
        up = stack.enter_context(silent_provider.accept())
        up.read_request()
        assert idle.read_close_code() == 1001
        assert "websocket_idle" in (idle.reason or "")
        up.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        assert busy.next()["type"] == "error"
        assert busy.read_close_code() == 1001


@needs_feature("responses_websocket")
def test_memory_of_idle_websockets_is_limited_and_the_largest_is_closed(upstream):
    """A turn with ``store: false`` stays in memory while its connection is open."""
    upstream.script(*[Script(text="yes")] * 6)

    def turn(client: websocket.Client, size: int, **more: Any) -> str:
        said = client.ask("m", random.randbytes(size // 2).hex(), store=False, **more)[-1]
        assert said["type"] == "response.completed", said
        id: str = said["response"]["id"]
        return id

    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(serving(upstream.url, limits={"request_body": "60kB"}))
        bobs = stack.enter_context(websocket.Client.connect(gateway.port, auth("bob")))
        first = turn(bobs, 6_000)
        many = [stack.enter_context(websocket.Client.connect(gateway.port, auth("mallory"))) for _ in range(4)]
        for client in many:
            turn(client, 28_000)
        assert [many[0].read_close_code(), many[1].read_close_code()] == [1001, 1001]
        assert "memory" in (many[0].reason or "")
        turn(bobs, 100, previous_response_id=first)


# Connections


@contextlib.contextmanager
def kept_open(gateway: Gateway, name: str, path: str = "/v1/conversations/conv_1") -> Iterator[bytes]:
    """Send a request, keep the connection open during the block, and yield the answer's head."""
    words = "".join(f"{field}: {value}\r\n" for field, value in auth(name).items())
    with Wire.connect(gateway.port) as wire:
        wire.send(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n{words}\r\n".encode())
        yield wire.read_until(b"\r\n\r\n").lower()


def http2_statuses(port: int, heads: list[list[tuple[str, str]]]) -> list[str | None]:
    """Send requests over one HTTP/2 connection, and return their statuses, or ``None`` if the connection has ended."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    connection.initiate_connection()
    found: list[str | None] = []
    with Wire.connect(port) as wire:
        for i, head in enumerate(heads):
            with contextlib.suppress(h2.exceptions.ProtocolError):
                connection.send_headers(2 * i + 1, head, end_stream=True)
            with contextlib.suppress(OSError):
                wire.send(connection.data_to_send())
            found.append(None)
            ended = False
            while not ended and (data := _receive(wire)):
                for event in connection.receive_data(data):
                    ended = ended or isinstance(event, StreamEnded)
                    if isinstance(event, ResponseReceived):
                        found[i] = dict(event.headers)[":status"]
    return found


def _receive(wire: Wire) -> bytes:
    try:
        return wire.sock.recv(65536)
    except ConnectionResetError:  # the gateway closed it before it had read everything
        return b""


def test_a_connection_beyond_a_clients_share_is_closed(upstream):
    with contextlib.ExitStack() as stack:
        limits = {"per_client": {"connections": 3, "websockets": 0}}
        gateway = stack.enter_context(serving(upstream.url, limits=limits))
        open_ones = [stack.enter_context(contextlib.ExitStack()) for _ in range(2)]
        for one in open_ones:
            assert one.enter_context(kept_open(gateway, "mallory")).startswith(b"http/1.1 404 ")
        if has_feature("responses_websocket"):
            stack.enter_context(websocket.Client.connect(gateway.port, auth("mallory")))
        else:
            stack.enter_context(kept_open(gateway, "mallory"))
        with kept_open(gateway, "mallory") as refused:
            assert refused.startswith(b"http/1.1 429 ")
            assert b"\r\nconnection: close\r\n" in refused
        if has_feature("responses_websocket"):
            assert refused_upgrade(gateway, "mallory").startswith(b"HTTP/1.1 429 ")
        asked = [head("/v1/conversations/conv_1", "GET", auth("mallory"))] * 2
        statuses = http2_statuses(gateway.port, asked * 5)
        assert (statuses[0], statuses[-1], {*statuses}) == ("429", None, {"429", None})
        with kept_open(gateway, "mallory", "/healthz") as healthy, kept_open(gateway, "bob") as bobs:
            assert (healthy[9:12], bobs[9:12]) == (b"200", b"404")
        open_ones[0].close()
        eventually(lambda: http2_statuses(gateway.port, asked) == ["404", "404"], what="a place for a connection")


# Viewers


@contextlib.contextmanager
def open_viewers(gateway: Gateway, headers: Mapping[str, str], many: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(many):
            viewer = stack.enter_context(Wire.connect(gateway.port))
            viewer.send(_request_of_viewer(headers))
            viewer.read_until(b"event: all")
        yield


def _request_of_viewer(headers: Mapping[str, str]) -> bytes:
    words = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET /ui/events HTTP/1.1\r\nhost: localhost\r\n{words}\r\n".encode()


@needs_feature("live_view")
def test_one_clients_viewers_leave_slots_for_others(gateway):
    with open_viewers(gateway, auth("mallory"), SHARES["viewers"]):
        refused = gateway.request("GET", "/ui/events", None, auth("mallory"))
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert b"'mallory' has reached its limit of 2 viewers" in refused.body
        with open_viewers(gateway, auth("bob"), SHARES["viewers"]), open_viewers(gateway, OPERATOR, 1):
            assert gateway.request("GET", "/ui/models", None, auth("mallory")).status == 200


@needs_feature("live_view")
@pytest.mark.parametrize("role", ["auditor", "admin"])
def test_a_client_with_a_role_has_its_own_share_too(upstream, role):
    """An auditor's many open pages prevented the operator from opening one."""
    clients = [{**CLIENTS[0], "role": role}, *CLIENTS[1:]]
    with (
        serving(upstream.url, limits={"per_client": {"viewers": 2}}, client_keys=clients) as gateway,
        open_viewers(gateway, auth("mallory"), 2),
        open_viewers(gateway, auth("bob"), 1),
        Wire.connect(gateway.port) as wire,
    ):
        wire.send(_request_of_viewer(auth("mallory")))
        assert b" 429 " in wire.read_until(b"\r\n")
        wire.read_until(b"'mallory' has reached its limit of 2 viewers")


@needs_feature("live_view")
def test_a_slot_is_reserved_for_the_operator(upstream):
    wide = {"per_client": {"viewers": 0}}
    with (
        serving(upstream.url, limits=wide, ui_key=OPERATOR["authorization"][7:]) as gateway,
        open_viewers(gateway, auth("mallory"), 14),
    ):
        for name in KEYS:
            assert gateway.request("GET", "/ui/events", None, auth(name)).status == 503
        with open_viewers(gateway, OPERATOR, 2):
            assert gateway.request("GET", "/ui/events", None, OPERATOR).status == 503


# State


def create(gateway: Gateway, name: str, size: int) -> Reply:
    """Create a client's conversation with one item of ``size`` random characters."""
    said = {"items": [{"role": "user", "content": random.randbytes(size // 2).hex()}]}
    return gateway.request("POST", "/v1/conversations", said, auth(name))


def begin(gateway: Gateway, name: str, size: int = 10) -> str:
    reply = create(gateway, name, size)
    assert reply.status == 200, reply.body
    id: str = reply.json["id"]
    return id


def is_kept(gateway: Gateway, name: str, id: str) -> bool:
    return gateway.request("GET", f"/v1/conversations/{id}", None, auth(name)).status == 200


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_full_store_evicts_only_objects_of_the_same_client(upstream, tmp_path, kind):
    where = {"type": kind, "max_bytes": "60kB", **({"path": str(tmp_path / "s.sqlite")} if kind == "sqlite" else {})}
    shares = [*CLIENTS[:2], {**CLIENTS[2], "limits": {"stored": "30kB"}}]
    with serving(upstream.url, state_storage=where, client_keys=shares) as gateway:
        bobs = begin(gateway, "bob")
        gretas = [begin(gateway, "greta", 22_000) for _ in range(3)]
        assert [is_kept(gateway, "greta", id) for id in gretas] == [False, True, True]
        mallorys = [begin(gateway, "mallory", 22_000) for _ in range(6)]
        assert is_kept(gateway, "bob", bobs)
        assert is_kept(gateway, "mallory", mallorys[-1])
        assert not is_kept(gateway, "mallory", mallorys[0])
        refused = complaint("responses", create(gateway, "greta", 44_000), 503)
        assert "limits.per_client.stored" in refused["message"]
