"""Websockets on paths that are passed through: the receivers of credentials, and metered usage."""

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import trio

from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.harness import PATIENCE
from tests.support.in_process import InProcess, gateway
from tests.support.websocket_caller import calling
from tests.support.websocket_server import Peer, Talk, WebSocketServer, websocket_server

pytestmark = needs_feature("realtime")

KEY, OTHER = "ann-key-0123456789-0123456789", "bob-key-0123456789-0123456789"


@contextlib.asynccontextmanager
async def pass_through(talk: Talk, **more: Any) -> AsyncIterator[tuple[InProcess, WebSocketServer]]:
    with trio.fail_after(PATIENCE):
        async with websocket_server(talk) as server:
            entry = {"model": "openai/gpt-realtime", "name": "mine", "access_key": "provider-key", "passthrough": True}
            keys = [
                {"name": "ann", "key": KEY, "passthrough": ["mine"], **more.pop("key", {})},
                {"name": "bob", "key": OTHER},
            ]
            entries = [{**entry, "base_url": f"{server.url}/base", "price": {"input": 4, "output": 16}}]
            async with gateway({"version": "v0.3.0", "model_providers": entries, "client_keys": keys}) as running:
                yield running, server


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


async def echo(peer: Peer) -> None:
    await peer.accept("graphql-ws" if "sec-websocket-protocol" in peer.headers else None)
    while (message := await peer.receive()) is not None:
        await peer.send(message)


async def test_any_protocol_passes_unread_on_paths_with_the_entrys_name(exchanges):
    offer = ("sec-websocket-protocol", f"graphql-ws, openai-insecure-api-key.{KEY}")
    async with pass_through(echo) as (running, server):
        async with calling(running.url, f"/mine/stream/a%20b?x=1&key={KEY}&y=2", (offer,)) as caller:
            assert caller.status == 101, caller.body
            assert caller.headers["sec-websocket-protocol"] == "graphql-ws"
            for message in ("no JSON", b"\x00\x01"):
                await caller.send(message)
                assert await caller.receive() == message
            await caller.close(4001, "done")
        (peer,) = server.peers
        await peer.gone.wait()
        assert peer.closed == (4001, "done")
        assert peer.target == "/base/stream/a%20b?x=1&y=2"
        assert peer.headers["authorization"] == "Bearer provider-key"
        assert KEY not in peer.head.decode()
        answer, session = await exchanges.wait_for(2)
    assert answer["cost_grade"] == "estimated"
    assert answer["cost_usd"] > 0
    assert session["endpoint"] == "passthrough"


async def test_a_session_that_the_provider_rejects_costs_nothing(exchanges):
    async def reject(peer: Peer) -> None:
        await peer.stream.send_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")

    async with pass_through(reject, key={"budgets": ["2049 tokens/day"]}) as (running, server):
        for _ in range(2):
            async with calling(running.url, "/mine/stream", bearer(KEY)) as caller:
                assert caller.status == 502, caller.body
        assert len(server.peers) == 2
        lines = await exchanges.wait_for(4)
    assert not [line["cost_usd"] for line in lines if "cost_usd" in line]


async def test_realtime_is_metered_on_these_paths_too(exchanges):
    async def answering(peer: Peer) -> None:
        await peer.accept()
        while (message := await peer.receive()) is not None:
            usage = {"input_tokens": 20, "output_tokens": 10}
            done = {"id": "r", "status": "completed", "usage": usage}
            kind = json.loads(message)["type"]
            await peer.send({"type": "response.done", "response": done} if kind == "response.create" else message)

    async with pass_through(answering, key={"models": ["mine"]}) as (running, server):
        for path in ("/mine/%72ealtime", "/mine/Realtime", "/mine/x%2Frealtime"):  # escapes and case hide nothing
            async with calling(running.url, path, bearer(KEY)) as caller:
                await caller.send({"type": "session.update", "session": {"model": "gpt-4o"}})
                assert (await caller.event())["type"] == "error", path
                await caller.close()
        async with calling(running.url, "/mine/realtime?model=gpt-realtime", bearer(KEY)) as caller:
            await caller.send({"type": "response.create"})
            assert (await caller.event())["type"] == "response.done"
            (line,) = [one for one in exchanges.lines if one.get("input_tokens")]
            assert (line["input_tokens"], line["output_tokens"]) == (20, 10)
            await caller.send({"type": "session.update", "session": {"model": "gpt-4o"}})
            assert (await caller.event())["type"] == "error"
            await caller.close()
        assert server.peers[3].target == "/base/realtime?model=gpt-realtime"


@each_row("path", ["/mine/stream", "/mine/realtime?model=gpt-realtime", "/mine/ws/x.BidiGenerateContent"])
async def test_no_error_repeats_the_key_of_the_entry(path):
    async def refuse(peer: Peer) -> None:
        await peer.accept()
        for written in ("provider-key", "provider\\u002dkey", "provider%2Dkey"):
            text = json.dumps({"type": "x", "error": {"message": "bad key KEY"}}).replace("KEY", written)
            await peer.send(text)
            await peer.send(text.encode())
        await peer.receive()

    async with pass_through(refuse) as (running, _), calling(running.url, path, bearer(KEY)) as caller:
        for _ in range(3):
            for message in (await caller.receive(), await caller.receive()):
                text = message if isinstance(message, str) else message.decode()
                assert json.loads(text)["error"] == {"message": "bad key [redacted]"}
        await caller.close()


async def test_a_refused_websocket_opens_no_provider_connection():
    async with pass_through(echo, key={"models": ["mine"], "passthrough": ["mine"]}) as (running, server):
        for path, headers, status in (
            ("/mine/realtime", (), 401),
            ("/mine/realtime", bearer(OTHER), 403),
            ("/mine/realtime?model=gpt-4o", bearer(KEY), 403),
            ("/mine/realtime?model=gpt-4o&model=gpt-realtime", bearer(KEY), 403),
            ("/mine/openai/%64eployments/gpt-4o/realtime", bearer(KEY), 403),
            ("/mine/a/../../b", bearer(KEY), 400),
            ("/mine/%2e%2e/b", bearer(KEY), 400),
            ("/mine/a%0ab", bearer(KEY), 400),
            ("/mine/%0a", bearer(KEY), 400),
            ("/nobody/realtime", bearer(KEY), 426),
        ):
            async with calling(running.url, path, headers) as caller:
                assert caller.status == status, (path, caller.body)
        assert not server.peers
