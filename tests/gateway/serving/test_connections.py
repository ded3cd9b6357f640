"""Connections that fail, exceed the limit, or serve only health checks; over real sockets."""

import contextlib
import ipaddress
import json
import resource

import h2.events
import pytest
import trio

from gateway.app import create_app
from gateway.config_files.loading import from_mapping
from gateway.processes import descriptors
from gateway.serving import connections, registry
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.listeners import ListenerOptions
from gateway.serving.registry import ConnectionRegistry
from tests.support.asgi_app import PATIENCE, Client, Server, eventually, serving
from tests.support.each_row import each_row
from tests.support.http2_client import Http2Client

HEALTH = ListenerOptions(is_for_probes=True)


async def test_a_connection_that_fails_leaves_the_others_alone(monkeypatch, caplog):
    async with serving() as server, server.connect() as streaming:
        await streaming.get("/stream")
        await streaming.until(b"first;")

        def fail(*_) -> None:
            raise RuntimeError("a mistake of ours")

        with monkeypatch.context() as patch:
            patch.setattr(connections, "ConnectionContext", fail)
            async with server.connect() as client:
                assert await client.read_rest() == b""
        await eventually(lambda: "a mistake of ours" in caplog.text)
        await server.witness.feed.send(b"alive;")
        await streaming.until(b"alive;")
        assert b"whole" in await server.get("/whole")
        await eventually(lambda: len(server.lifecycle.connections) == 1)


# The limit of connections


async def fill(server: Server, client: Client) -> None:
    """Let ``client`` occupy the only place with a request."""
    await client.get("/stream")
    await client.until(b"first;")
    server.lifecycle.max_connections = 1
    server.lifecycle.health_paths = ("/whole",)


async def test_refused_connections_leave_no_resources_open():
    async with serving() as server, server.connect() as client:
        await fill(server, client)
        for _ in range(3):
            head, _, body = (await server.get("/missing")).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 "), head
            assert b"\r\nretry-after: 1" in head
            assert "limits.connections" in json.loads(body)["error"]["message"]
        await eventually(lambda: len(server.lifecycle.connections) == 1)


async def test_health_checks_are_answered_while_all_connections_are_in_use():
    async with serving() as server, server.connect() as client:
        await fill(server, client)
        assert (await server.get("/whole")).endswith(b"whole")
        async with server.connect() as other:
            peer = Http2Client(other)
            await peer.until(h2.events.StreamEnded, await peer.ask("/whole"))


async def test_places_for_health_checks_are_few_and_soon_free(monkeypatch):
    monkeypatch.setattr(registry, "SPARE_CONNECTIONS", 1)
    monkeypatch.setattr(connections, "RESERVE_SECONDS", 0.2)
    async with serving() as server, server.connect() as client:
        await fill(server, client)
        async with server.connect() as waiting:
            await eventually(lambda: len(server.lifecycle.connections) == 2)
            assert await server.get("/whole") == b"", "one more is cut without an answer"
            assert await waiting.read_rest() == b""
        assert (await server.get("/whole")).endswith(b"whole")


async def test_one_more_replaces_those_that_have_been_idle_for_longest(monkeypatch):
    monkeypatch.setattr(registry, "STEADY", 0)
    monkeypatch.setattr(registry, "EVICTED_AT_ONCE", 1)
    async with serving() as server, server.connect() as first, server.connect() as second, server.connect() as busy:
        for client, path in ((first, "/whole"), (second, "/whole"), (busy, "/stream")):
            await client.get(path)
            await client.until(b"whole" if path == "/whole" else b"first;")
        server.lifecycle.max_connections = 3
        async with server.connect() as newcomer:
            await newcomer.get("/whole")
            await newcomer.until(b"whole")
            assert await first.read_rest() == b""
            await second.get("/whole")
            await second.until(b"whole")
        await server.witness.feed.send(b"alive;")
        await busy.until(b"alive;")


ADDRESSES = {
    "two": (["192.0.2.1", "192.0.2.2", "192.0.2.1"], [True, True, True]),
    "one too many": (["192.0.2.1", "192.0.2.1", "192.0.2.1"], [True, True, False]),
    "mapped": (["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"], [True, True, False]),
    "of one customer": (["2001:db8::1", "2001:db8::2", "2001:db8::3"], [True, True, False]),
    "link-local": (["fe80::1%eth0", "fe80::1%eth0", "fe80::1%eth0"], [True, True, False]),
    "this machine": (["127.0.0.1", "127.0.0.1", "127.0.0.1"], [True, True, True]),
    "this machine in IPv6": (["::1", "::1", "::ffff:127.0.0.1"], [True, True, True]),
    "a socket's": ([None, "", None], [True, True, True]),
    "a proxy's": (["10.1.2.3", "10.1.2.3", "10.1.2.3"], [True, True, True]),
}


@each_row(("addresses", "room"), ADDRESSES.values(), ids=ADDRESSES)
def test_connections_of_one_address_are_counted_together(addresses, room):
    found = ConnectionRegistry()
    found.max_per_address, found.unlimited = 2, (ipaddress.ip_network("10.0.0.0/8"),)
    for _ in range(2):  # what has ended does not count
        held = [found.count_address(address) for address in addresses]
        assert [one.__enter__() for one in held] == room
        for one in held:
            one.__exit__(None, None, None)


async def test_one_connection_too_many_from_an_address_is_a_429(monkeypatch):
    monkeypatch.setattr(ConnectionRegistry, "_counting_key", lambda *_: "192.0.2.1")
    async with serving() as server, server.connect() as client:
        await client.get("/stream")
        await client.until(b"first;")
        server.lifecycle.max_per_address = 1
        head, _, body = (await server.get("/whole")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 429 ")
        assert "limits.connections_per_address" in json.loads(body)["error"]["message"]
        await server.witness.feed.send(b"alive;")
        await client.until(b"alive;")


# A listener for health checks


async def test_a_listener_for_health_checks_answers_nothing_else():
    async with serving(options=[HEALTH]) as server:
        server.lifecycle.health_paths = ("/whole",)
        server.lifecycle.max_connections = 1
        for _ in range(3):
            assert (await server.get("/whole")).endswith(b"whole")
            assert (await server.get("/whole/")).startswith(b"HTTP/1.1 ")
        head, _, body = (await server.get("/stream")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404 ")
        assert "only health checks" in json.loads(body)["error"]["message"]
        async with server.connect() as client:
            await client.send(
                "GET /stream HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
                "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            assert (await client.read_rest()).startswith(b"HTTP/1.1 403 ")


async def test_connections_for_health_checks_are_not_counted():
    async with serving(options=[HEALTH]) as server:
        server.lifecycle.health_paths = ("/whole",)
        server.lifecycle.max_connections = 1
        async with server.connect() as one, server.connect() as other:
            for client in (one, other):
                await client.get("/whole")
                await client.until(b"whole")
            assert server.lifecycle.has_room()


# Heads that never arrive


async def test_a_silent_connection_ends_before_an_idle_one():
    options = {"keep_alive": 60, "head_timeout": 0.2}
    async with serving(**options) as server, server.connect() as silent, server.connect() as idle:
        await idle.get("/whole")
        await idle.until(b"whole")
        assert await silent.read_rest() == b""
        await idle.get("/whole")
        await idle.until(b"whole")


@pytest.mark.parametrize(
    ("begun", "before"),
    [(b"G", 0), (b"G", 1), (b"GET /whole HTTP/1.1\r\n", 1), (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0)],
)
async def test_a_stalled_request_head_is_abandoned(begun, before):
    async with serving(keep_alive=60, head_timeout=0.2) as server, server.connect() as client:
        for _ in range(before):
            await client.get("/whole")
            await client.until(b"whole")
        await client.send(begun)
        with trio.fail_after(PATIENCE):
            await client.read_rest()


async def test_a_stalled_pipelined_head_is_abandoned():
    async with serving(keep_alive=60, head_timeout=0.2) as server, server.connect() as client:
        await client.send("GET /whole HTTP/1.1\r\nhost: x\r\n\r\nGET /whole HTTP/1.1\r\n")
        assert (await client.read_rest()).endswith(b"whole")


# Descriptors


@pytest.fixture
def descriptors_limit():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield lambda soft: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_of_descriptors_is_raised_to_the_maximum(descriptors_limit):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors_limit(hard // 2)
    descriptors.raise_descriptor_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_a_trusted_proxy_has_unlimited_connections():
    lifecycle, found = Lifecycle(), {"version": "v0.3.0", "model_providers": [{"model": "openai/m", "access_key": "k"}]}
    create_app(from_mapping({**found, "trusted_proxies": ["10.0.0.0/8", "unix"]}), lifecycle)
    lifecycle.max_per_address = 1
    with (
        lifecycle.count_address("10.1.2.3"),
        lifecycle.count_address("10.1.2.3") as proxy,
        lifecycle.count_address("192.0.2.1") as other,
    ):
        assert proxy
        assert other
        with lifecycle.count_address("192.0.2.1") as one_more:
            assert not one_more


@pytest.mark.parametrize(("limits", "most"), [({"connections": 100}, (100, 50)), ({"connections": 0}, (0, 0))])
def test_half_of_the_connections_may_come_from_one_address(limits, most):
    lifecycle, found = Lifecycle(), {"version": "v0.3.0", "model_providers": [{"model": "openai/m", "access_key": "k"}]}
    create_app(from_mapping({**found, "limits": {**limits, "in_flight": 10}}), lifecycle)
    assert (lifecycle.max_connections, lifecycle.max_per_address) == most


@pytest.mark.parametrize(("soft", "in_flight", "most"), [(4096, 1024, 2816), (1024, 1024, 512), (1024, 10, 758)])
def test_the_default_leaves_descriptors_for_providers_and_files(descriptors_limit, soft, in_flight, most):
    descriptors_limit(soft)
    assert descriptors.default_connections(in_flight) == most


@pytest.mark.parametrize(("connections", "said"), [(744, False), (745, True)])
def test_more_connections_than_there_are_descriptors_for_are_a_warning(descriptors_limit, connections, said):
    descriptors_limit(2024)
    found = descriptors.descriptor_warning(connections, 1024)
    assert (found is not None) == said
    assert descriptors.descriptor_warning(0, 5000) is None, "there is no limit that could be lowered"
    assert found is None or "need 2025 file descriptors, but only 2024 are" in found


@pytest.mark.parametrize(("in_flight", "most"), [(10, 4096), (1024, 4096), (20_000, 80_000)])
def test_the_default_is_bounded_where_descriptors_are_not(monkeypatch, in_flight, most):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert descriptors.default_connections(in_flight) == most


# Connections that are kept, and end when they are idle; over real sockets


END = b"0\r\n\r\n"


async def test_a_connection_serves_many_requests_and_ends_when_idle_after_a_stream():
    async with serving(keep_alive=0.5) as server, server.connect() as client:
        for _ in range(20):
            await client.get("/whole")
            head = await client.until(b"whole")
            assert b"server:" not in head
        await client.get("/stream")
        await client.until(b"first;")
        server.witness.feed.close()
        await client.until(END)
        assert await client.read_rest() == b""


async def test_the_idle_timer_does_not_cut_a_silent_stream():
    async with serving(keep_alive=0.4) as server, server.connect() as client:
        await client.get("/stream")
        await client.until(b"first;")
        await trio.sleep(0.8)  # the timer under test
        await server.witness.feed.send(b"second;")
        await client.until(b"second;")


async def test_a_head_that_dribbles_in_is_not_waited_for_beyond_the_limit():
    async with serving(keep_alive=0.2) as server, server.connect() as client:
        with trio.fail_after(PATIENCE), contextlib.suppress(OSError):  # reset, or a broken pipe
            await client.send("GET /whole HTTP/1.1\r\n")
            while True:
                await client.send("x-a: b\r\n")
                await trio.sleep(0.02)
