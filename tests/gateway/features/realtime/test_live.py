"""Live sessions, at ``/v1/live/sessions``."""

import contextlib
import json
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gateway.features.realtime.live import LiveFrames
from tests.support.asgi_app import eventually
from tests.support.each_row import each_row
from tests.support.in_process import InProcess
from tests.support.realtime_sessions import KEY, serve_sessions, session_config
from tests.support.websocket_caller import calling
from tests.support.websocket_server import Peer, Talk, WebSocketServer

BOB = "sk-client-of-the-gateway-2"
PATH = "/v1/live/sessions"
START = {"type": "session.start", "session": {"model": "voice", "instructions": "Speak.", "n": 1.5}}


def bearer(key: str = KEY) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {key}"),)


ENTRIES = (
    {"model": "openai/gpt-live-1", "name": "voice", "price": {"per": {"second": 0.01}}},
    {"model": "openai/gpt-6", "name": "mind", "price": {"input": 1, "output": 10}},
)


def serve_session(talk: Talk, **more: Any) -> contextlib.AbstractAsyncContextManager[tuple[InProcess, WebSocketServer]]:
    keys = [{"name": "one", "key": KEY, **more}, {"name": "bob", "key": BOB}]
    return serve_sessions(talk, *ENTRIES, client_keys=keys)


async def speak(peer: Peer) -> None:
    """Start a session, report its usage twice and one delegated response, and end with the client."""
    await peer.accept()
    if await peer.receive() is None:
        return
    session = {"id": "live_1", "model": "gpt-live-1", "status": "active"}
    usage = {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120}
    response = {"id": "resp_1", "model": "gpt-live-1", "usage": usage}
    await peer.send(
        {"type": "session.started", "session": session, "event_id": "e"},
        {"type": "session.usage.updated", "usage": {"seconds": 3.5}},
        {"type": "response.event", "event": {"type": "response.completed", "response": response}},
        {"type": "session.usage.updated", "usage": {"seconds": 7.2}},
    )
    while await peer.receive() is not None:
        pass


async def test_the_last_usage_of_a_session_is_billed(exchanges):
    async with serve_session(speak) as (running, server):
        async with calling(running.url, PATH, bearer()) as caller:
            assert caller.status == 101
            await caller.send(json.dumps(START))
            started = await caller.event()
            assert started["type"] == "session.started"
            assert started["session"]["id"] != "live_1", "the client's id, which only its key may use"
            assert [(await caller.event())["type"] for _ in range(3)] == [
                "session.usage.updated", "response.event", "session.usage.updated"
            ]  # fmt: skip
            (peer,) = server.peers
            assert peer.target == "/v1/live/sessions"
            assert KEY not in peer.head.decode()
            await caller.close()
        delegated, spoken, session = await exchanges.wait_for(3)
    assert (delegated["reason"], delegated["input_tokens"]) == ("delegated", 100)
    assert (spoken["endpoint"], spoken["units"], spoken["cost_usd"]) == ("live", {"second": 8}, 0.08)
    assert spoken["client"] == "one"
    assert "cost_usd" not in session


async def test_the_provider_gets_its_own_name_of_the_model():
    received: list[Any] = []

    async def note(peer: Peer) -> None:
        await peer.accept()
        while (message := await peer.receive()) is not None:
            received.append(json.loads(message))
            await peer.send({"type": "noted"})

    async with serve_session(note) as (running, _), calling(running.url, PATH, bearer()) as caller:
        await caller.send(json.dumps(START))
        await caller.event()
        assert received == [{**START, "session": {**START["session"], "model": "gpt-live-1"}}]


@pytest.mark.parametrize("action", ["fork", "attach"])
async def test_another_connection_needs_the_key_that_made_the_session(action, exchanges):
    async with serve_session(speak) as (running, server):
        async with calling(running.url, PATH, bearer()) as caller:
            await caller.send(json.dumps(START))
            id = (await caller.event())["session"]["id"]
            for _ in range(3):
                await caller.event()
            await caller.close()
        await exchanges.wait_for(3)
        for key, name in ((BOB, id), (KEY, "live_1"), (KEY, f"{id}x")):
            async with calling(running.url, f"{PATH}/{name}/{action}", bearer(key)) as other:
                assert other.status == 404, name
        assert len(server.peers) == 1
        async with calling(running.url, f"{PATH}/{id}/{action}", bearer()) as other:
            assert other.status == 101
            assert server.peers[1].target == f"/v1/live/sessions/live_1/{action}"
            await other.send('{"type":"session.start","session":{}}')
            assert (await other.event())["session"]["id"] == id
            for _ in range(3):
                await other.event()
            await other.close()
        more = 3 if action == "fork" else 1  # the first connection is billed for the session
        billed = [line for line in await exchanges.wait_for(3 + 3 + more) if line.get("units") == {"second": 8}]
    assert len(billed) == (2 if action == "fork" else 1)


@each_row(
    ("frame", "code"),
    [
        ({"type": "session.update", "session": {"model": "voice"}}, "invalid_request"),
        ({"type": "session.start", "session": {}}, "invalid_request"),
        ({"type": "session.start", "session": {"model": "nobody"}}, "model_not_found"),
        ({"type": "session.start", "session": {"model": "mind"}}, "permission"),
        ("no JSON", "invalid_request"),
    ],
)
async def test_a_wrong_start_gets_an_error_and_a_close(frame, code):
    async with serve_session(speak, models=["voice"]) as (running, server):
        async with calling(running.url, PATH, bearer()) as caller:
            await caller.send(frame if isinstance(frame, str) else json.dumps(frame))
            error = await caller.event()
            assert (error["type"], error["error"]["code"]) == ("error", code)
        assert server.peers == []


async def test_a_delegated_model_needs_permission():
    delegation = {"type": "responses", "responses": {"model": "gpt-6"}}
    start = {**START, "session": {**START["session"], "delegation": delegation}}
    async with serve_session(speak, models=["voice"]) as (running, server):
        async with calling(running.url, PATH, bearer()) as caller:
            await caller.send(json.dumps(start))
            error = await caller.event()
            assert (error["type"], error["error"]["param"]) == ("error", "session.delegation.responses.model")
            await caller.close()
        assert len(server.peers) == 1


@given(st.binary(max_size=80) | st.text(max_size=80) | st.sampled_from([
    '{"session":{"id":5}}', '{"type":"session.usage.updated","usage":{"seconds":1e400}}',
    '{"type":"session.usage.updated","usage":{"seconds":-5}}', '{"type":"response.event","event":[]}',
    '{"type":"session.usage.updated","usage":{"seconds":1e300}}',
]))  # fmt: skip
def test_no_frame_of_a_provider_breaks_the_reader(message):
    reader = LiveFrames(lambda id: f"ours-{id}")
    reader.read_provider_frame(message)
    reader.for_client(message)
    for notice in reader.unfinished_notices():
        assert 0 < notice.usage.units[0][1] <= 10**7


async def test_an_exhausted_budget_ends_the_session_and_its_seconds_are_billed(exchanges):
    """The session has no requests, so only its reported seconds show that nothing is left."""

    async def talk_for_long(peer: Peer) -> None:
        await peer.accept()
        await peer.receive()
        await peer.send({"type": "session.started", "session": {"id": "live_1", "model": "gpt-live-1"}})
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for seconds in range(10, 10_000, 10):
                await peer.send({"type": "session.usage.updated", "usage": {"seconds": seconds + 0.5}})
        await peer.read_rest()

    async with serve_session(talk_for_long, budgets=["0.5 usd/day"]) as (running, _):
        async with calling(running.url, PATH, bearer()) as caller:
            await caller.send(json.dumps(START))
            events = [json.loads(message) for message in await caller.read_rest()]
            assert caller.code == 1008
        errors = [event["error"] for event in events if event["type"] == "error"]
        assert ["usd/day" in error["message"] for error in errors] == [True], errors
        reported = max(event["usage"]["seconds"] for event in events if event["type"] == "session.usage.updated")
        assert reported < 120
        await eventually(lambda: not running.service.ledger.open_records)
    billed = [line for line in exchanges.lines if "units" in line]
    assert {line["reason"] for line in billed} <= {"running", "complete"}
    assert reported <= sum(line["units"]["second"] for line in billed) <= reported + 20
    assert sum(line["cost_usd"] for line in billed) == pytest.approx(
        sum(line["units"]["second"] for line in billed) / 100
    )


async def test_a_revoked_key_ends_the_session_and_its_seconds_are_billed(exchanges):
    async with serve_session(speak) as (running, server), calling(running.url, PATH, bearer()) as caller:
        await caller.send(json.dumps(START))
        for _ in range(4):
            await caller.event()
        running.reload(session_config(server.url, *ENTRIES, client_keys=[{"name": "bob", "key": BOB}]))
        error = await caller.event()
        assert (error["type"], error["error"]["code"]) == ("error", "session_expired")
        assert await caller.receive() is None
        assert caller.code == 1001
        await server.peers[0].gone.wait()
        async with calling(running.url, PATH, bearer()) as again:
            assert again.status == 401
    billed = [line for line in exchanges.lines if "units" in line]
    assert [(line["client"], line["units"], line["cost_usd"]) for line in billed] == [("one", {"second": 8}, 0.08)]
