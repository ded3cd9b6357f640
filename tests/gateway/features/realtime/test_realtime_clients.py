"""Realtime sessions of other clients: OpenAI's own SDK, Azure's path, Gemini Live, and only transcription."""

import contextlib
import json
import logging
from typing import Any

import openai
import pytest
import trio
import trio.testing

from gateway.features.realtime.gemini_live import GeminiFrames, read_setup
from gateway.features.realtime.notices import OutputPiece, ResponseEnded, Resumable
from streams.errors import GatewayError
from streams.events import Usage
from tests.support import realtime_sessions
from tests.support.in_process import InProcess
from tests.support.realtime_sessions import GEMINI, KEY, VOICE, budget_levels, serve_sessions
from tests.support.websocket_caller import calling
from tests.support.websocket_server import Peer, Talk, WebSocketServer

AZURE = {"model": "azure_openai/dep", "name": "azure", "access_key": "a"}
ENTRIES = (VOICE, {**realtime_sessions.LIVE, "access_key": "g"}, AZURE)


def open_sessions(
    talk: Talk, *entries: dict[str, Any], **more: Any
) -> contextlib.AbstractAsyncContextManager[tuple[InProcess, WebSocketServer]]:
    return serve_sessions(talk, *(entries or ENTRIES), **more)


async def speaking(peer: Peer) -> None:
    await peer.accept()
    await peer.send({"type": "session.created", "event_id": "e", "session": {"type": "realtime"}})
    while (message := await peer.receive()) is not None:
        event = json.loads(message)
        if event["type"] == "response.create":
            response = {"id": "r1", "object": "realtime.response", "status": "completed", "output": []}
            usage = {"total_tokens": 3, "input_tokens": 2, "output_tokens": 1}
            created = {**response, "status": "in_progress"}
            await peer.send({"type": "response.created", "event_id": "e2", "response": created})
            await peer.send({"type": "response.done", "event_id": "e3", "response": {**response, "usage": usage}})


async def test_the_sdk_of_openai_opens_a_session_and_gets_an_answer():
    def converse(url: str) -> list[str]:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY)
        with client.realtime.connect(model="voice") as connection:
            seen = [connection.recv().type]
            connection.session.update(session={"type": "realtime", "output_modalities": ["text"]})
            connection.response.create()
            for event in connection:
                seen.append(event.type)
                if event.type == "response.done":
                    assert event.response.usage.output_tokens == 1
                    break
        return seen

    async with open_sessions(speaking) as (running, server):
        seen = await trio.to_thread.run_sync(converse, running.url)
        assert seen == ["session.created", "response.created", "response.done"]
        await server.peers[0].gone.wait()
        assert server.peers[0].closed == (1000, "")


async def test_clients_of_azure_and_requests_to_azure_have_a_deployment():
    async with open_sessions(speaking) as (running, server):
        for name, target in (("voice", "/v1/realtime?model=gpt-realtime"), ("azure", "/openai/realtime")):
            path = f"/openai/realtime?api-version=2025-01-01&deployment={name}"
            async with calling(running.url, path, (("api-key", KEY),)) as caller:
                assert caller.status == 101, caller.body
                assert (await caller.event())["type"] == "session.created"
            assert server.peers[-1].target.startswith(target)
            assert KEY not in server.peers[-1].head.decode()
        assert "deployment=dep" in server.peers[-1].target
        assert server.peers[-1].headers["api-key"] == "a"


async def test_no_spelling_of_a_parameter_chooses_another_model_or_call():
    async with open_sessions(speaking, VOICE) as (running, server):
        more = "Model=other&DEPLOYMENT=other&Call_Id=rtc_of_another&%6Dodel_=kept"
        async with calling(running.url, f"/v1/realtime?model=voice&{more}", (("x-api-key", KEY),)) as caller:
            assert caller.status == 101, caller.body
        assert server.peers[0].target == "/v1/realtime?model=gpt-realtime&model_=kept"


async def test_a_transcription_session_needs_no_model_if_only_one_provider_has_realtime():
    path = "/v1/realtime?intent=transcription"
    async with open_sessions(speaking) as (running, _), calling(running.url, path, (("x-api-key", KEY),)) as caller:
        assert caller.status == 400
        assert "?model=" in caller.error["message"]
    async with open_sessions(speaking, VOICE) as (running, server):
        async with calling(running.url, path, (("x-api-key", KEY),)) as caller:
            assert caller.status == 101, caller.body
        assert server.peers[0].target == "/v1/realtime?intent=transcription"


async def talking(peer: Peer) -> None:
    """Respond like Gemini Live to the messages in these tests."""
    await peer.accept()
    await peer.event()
    await peer.send(b'{"setupComplete":{}}')
    while (message := await peer.receive()) is not None:
        if "clientContent" in json.loads(message):
            await peer.send(json.dumps({"serverContent": {"modelTurn": {"parts": [{"text": "hi"}]}}}).encode())
            usage = {"promptTokenCount": 10, "responseTokenCount": 4, "totalTokenCount": 14}
            await peer.send(json.dumps({"serverContent": {"turnComplete": True}, "usageMetadata": usage}).encode())
            await peer.send({"goAway": {"timeLeft": "10s"}})


async def test_gemini_live_has_its_model_in_the_first_message(caplog, exchanges):
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "trigate")
    async with open_sessions(talking) as (running, server):
        first, alpha = (GEMINI.replace("v1beta", version) for version in ("v1", "v1alpha"))
        for path, headers in ((f"{first}?key={KEY}", ()), (alpha, (("x-goog-api-key", KEY),))):
            async with calling(running.url, path, headers) as caller:
                assert caller.status == 101
                await caller.send({"setup": {"model": "models/live", "generationConfig": {}}})
                assert await caller.receive() == b'{"setupComplete":{}}'
                await caller.send(b'{"clientContent":{"turnComplete":true}}')
                for _ in range(2):
                    assert "serverContent" in await caller.event()
                assert await caller.event() == {"goAway": {"timeLeft": "10s"}}
                await caller.close(1000)
            peer = server.peers[-1]
            await peer.gone.wait()
            assert peer.target == GEMINI
            assert peer.headers["x-goog-api-key"] == "g"
        await exchanges.wait_for(4)
    assert KEY not in caplog.text
    answer, session = exchanges.lines[:2]
    assert (answer["input_tokens"], answer["output_tokens"], answer["target"]) == (10, 4, "gemini/gemini-live-2.5")
    assert (session["api"], session["reason"]) == ("gemini", "client_closed")


async def test_an_interrupted_turn_is_billed_by_its_last_usage(exchanges):
    async def cut(peer: Peer) -> None:
        await peer.accept()
        await peer.receive()
        await peer.send({"serverContent": {"modelTurn": {"parts": [{"text": "hi"}]}}})
        await peer.send({"usageMetadata": {"promptTokenCount": 10, "responseTokenCount": 3}})

    async with open_sessions(cut) as (running, _), calling(running.url, f"{GEMINI}?key={KEY}") as caller:
        await caller.send({"setup": {"model": "models/live"}})
        await caller.read_rest()
        assert caller.closed == (1011, "upstream connection lost")
        answer = (await exchanges.wait_for(2))[0]
    assert (answer["input_tokens"], answer["output_tokens"], answer["reason"]) == (10, 3, "cut")


async def test_numbers_of_gemini_live_refund_nothing_and_lose_no_charge(exchanges):
    """Counts below zero or beyond 64 bits are billed like any others, and no reservation remains."""
    counts = iter((-900_000, 10**19, 5))

    async def hostile(peer: Peer) -> None:
        await peer.accept()
        await peer.receive()
        for count in counts:
            await peer.send({"serverContent": {"modelTurn": {"parts": [{"text": "hi"}]}}})
            usage = {"promptTokenCount": 7, "responseTokenCount": count}
            await peer.send({"serverContent": {"turnComplete": True}, "usageMetadata": usage})
        await peer.read_rest()

    async with open_sessions(hostile, key={"budgets": ["1000M tokens/day"]}) as (running, _):
        seen = [0]
        async with calling(running.url, f"{GEMINI}?key={KEY}") as caller:
            await caller.send({"setup": {"model": "models/live"}})
            for _ in range(3):
                await caller.event()
                await caller.event()
                used, held = budget_levels(running)
                assert held == 0
                seen.append(used)
            await caller.close(1000)
    assert seen == sorted(seen)
    assert [line["output_tokens"] for line in exchanges.lines[:3]] == [1, 10**8, 5], "the first is estimated"


async def test_a_resumed_session_waits_for_the_end_of_the_old_one():
    """Otherwise, the provider refuses the handle: aicc2025/sip-to-ai#14."""
    seen: list[str] = []

    async def resumable(peer: Peer) -> None:
        await peer.accept()
        seen.append(f"begun {len(seen)}")
        await peer.receive()
        await peer.send({"sessionResumptionUpdate": {"newHandle": "h1", "resumable": True}})
        await peer.read_rest()
        seen.append(f"ended {len(seen)}")

    setup = {"setup": {"model": "models/live", "sessionResumption": {}}}
    again = {"setup": {"model": "models/live", "sessionResumption": {"handle": "h1"}}}
    async with open_sessions(resumable) as (running, server):
        async with (
            calling(running.url, f"{GEMINI}?key={KEY}") as first,
            calling(running.url, f"{GEMINI}?key={KEY}") as second,
        ):
            await first.send(setup)
            await first.event()
            await second.send(again)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert len(server.peers) == 1
            await first.close(1000)
            assert "sessionResumptionUpdate" in await second.event()
        assert seen[:3] == ["begun 0", "ended 1", "begun 2"]


async def test_a_refused_gemini_live_session_is_closed_with_the_reason():
    async with open_sessions(talking) as (running, server):
        for message in ("{}", '{"setup":{"model":"models/nobody"}}', '{"setup":{"model":"voice"}}', "no JSON"):
            async with calling(running.url, f"{GEMINI}?key={KEY}") as caller:
                await caller.send(message)
                assert await caller.receive() is None
                assert caller.code == 1008, message
                assert caller.closed[1]
        async with calling(running.url, f"{GEMINI}?key=wrong") as caller:
            assert caller.status == 401
        assert not server.peers


async def test_a_realtime_request_without_upgrade_gets_an_explanation():
    async with open_sessions(speaking) as (running, _):
        for path in ("/v1/realtime?model=voice", GEMINI):
            response = await running.send("GET", path, headers={"authorization": f"Bearer {KEY}"})
            assert response.status_code == 426, response.text
            assert response.headers["upgrade"] == "websocket"
            assert "WebSocket" in response.json()["error"]["message"]


# Messages of Gemini Live (https://ai.google.dev/api/live): the model in the first message, and the usage of a turn


class Rule:
    def provider_name(self, at: str, name: str) -> str:
        assert (at, name) == ("setup.model", "live")
        return "gemini-live-2.5"

    def check_other(self, at: str, name: str) -> None:
        raise AssertionError(at)


def test_the_model_is_in_the_first_message_text_or_binary():
    setup = {"setup": {"model": "models/live", "generationConfig": {"n": 1}}}
    for message in (json.dumps(setup), json.dumps(setup).encode()):
        assert read_setup(message) == ("live", None)
        sent = GeminiFrames().read_client_frame(message, Rule()).message
        assert type(sent) is type(message)
        assert json.loads(sent) == {"setup": {"model": "models/gemini-live-2.5", "generationConfig": {"n": 1}}}
    for wrong in (
        "{}",
        '{"setup":{}}',
        '{"setup":7}',
        "[]",
        b"\xff",
        '{"clientContent":{}}',
        '{"Setup":{"model":"x"}}',
    ):
        with pytest.raises(GatewayError):
            read_setup(wrong)
    resumed = {"setup": {"model": "models/live", "sessionResumption": {"handle": "h1"}}}
    assert read_setup(json.dumps(resumed)) == ("live", "h1")
    assert GeminiFrames().read_client_frame('{"clientContent":{}}', Rule()).message == '{"clientContent":{}}'


def test_a_turn_consumed_its_last_reported_usage():
    frames = GeminiFrames()
    assert frames.read_provider_frame(b'{"setupComplete":{}}') == ()
    assert frames.read_provider_frame('{"sessionResumptionUpdate":{"newHandle":"h"}}') == (Resumable("h"),)
    assert frames.read_provider_frame('{"sessionResumptionUpdate":{}}') == ()
    assert frames.read_provider_frame('{"goAway":{"timeLeft":"50s"}}') == ()
    (said,) = frames.read_provider_frame(
        json.dumps({"serverContent": {"modelTurn": {"parts": [{"text": "x" * 3200}]}}})
    )
    assert isinstance(said, OutputPiece)
    first = {"usageMetadata": {"promptTokenCount": 10, "responseTokenCount": 1}}
    last = {"promptTokenCount": 10, "cachedContentTokenCount": 4, "responseTokenCount": 7, "thoughtsTokenCount": 2}
    assert frames.read_provider_frame(json.dumps(first)) == ()
    assert frames.read_provider_frame(json.dumps({"serverContent": {"turnComplete": True}, "usageMetadata": last})) == (
        ResponseEnded(None, Usage(input=6, cache_read=4, output=9, reasoning=2), "complete"),
    )
    assert frames.unfinished_notices() == ()
    by_sense = [{"modality": "AUDIO", "tokenCount": 8}, {"modality": "TEXT", "tokenCount": 2}]
    frames.read_provider_frame(json.dumps({"usageMetadata": {"promptTokenCount": 10, "promptTokensDetails": by_sense}}))
    (ended,) = frames.unfinished_notices()
    assert isinstance(ended, ResponseEnded)
    assert ended.usage.units == (("input_audio_token", 8),)
    assert frames.unfinished_notices() == ()
    frames.read_provider_frame(json.dumps(first))
    assert frames.unfinished_notices() == (ResponseEnded(None, Usage(input=10, output=1), "cut"),)
    called = {"toolCall": {"functionCalls": [{"id": "1", "name": "f", "args": {"a": [1]}}]}}
    for messages in ([{**called, **first}], [first, called]):
        found = [notice for one in messages for notice in frames.read_provider_frame(json.dumps(one))]
        assert found == [ResponseEnded(None, Usage(input=10, output=1), "tool_call")]
