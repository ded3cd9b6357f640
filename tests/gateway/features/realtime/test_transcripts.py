"""Transcripts of realtime sessions: each reserves and charges, and the session ends when a limit is reached."""

import contextlib
import json
from typing import Any

import pytest
import trio

from tests.support.asgi_app import eventually
from tests.support.features import members_of, rows_of
from tests.support.in_process import InProcess
from tests.support.realtime_sessions import BEARER, PATH, PRICE, VOICE, budget_levels, serve_sessions
from tests.support.websocket_caller import Caller, calling
from tests.support.websocket_server import Peer, Talk, WebSocketServer

DONE = "conversation.item.input_audio_transcription.completed"
FAILED = "conversation.item.input_audio_transcription.failed"
PATHS = [PATH, *rows_of("pass_through", "/voice/realtime?model=gpt-realtime")]
SETTINGS = {
    "type": "session.update",
    "session": {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}},
}
AUDIO = {"type": "input_audio_buffer.append", "audio": "QUJD" * 100_000}


def serve_transcripts(
    talk: Talk, **key: Any
) -> contextlib.AbstractAsyncContextManager[tuple[InProcess, WebSocketServer]]:
    entry = {**VOICE, **members_of("pass_through", passthrough=True), "price": PRICE}
    return serve_sessions(talk, entry, key={**members_of("pass_through", passthrough=["voice"]), **key})


def transcript_event(item: str, tokens: int = 50_000) -> dict[str, Any]:
    """Return the event of a transcript, by default of 0.2 dollars at the entry's price."""
    usage = {"type": "tokens", "input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens}
    return {"type": DONE, "item_id": item, "transcript": "hi", "usage": usage}


async def until_end(caller: Caller) -> list[str]:
    return [json.loads(message)["type"] for message in await caller.read_rest()]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("is_announced", [True, False])
async def test_transcripts_end_the_session_when_the_budget_is_exhausted(path, is_announced, exchanges):
    """The provider transcribes without any request, so only the end of the session stops it."""

    async def transcribing(peer: Peer) -> None:
        await peer.accept()
        if is_announced:
            await peer.send(
                {"type": "session.created", "session": {"input_audio_transcription": {"model": "gpt-realtime"}}}
            )
        for number in range(10):
            if is_announced:
                await peer.send({"type": "input_audio_buffer.committed", "item_id": f"i{number}"})
            await peer.send(transcript_event(f"i{number}"))
        await peer.read_rest()

    async with serve_transcripts(transcribing, budgets=["0.3 usd/day"]) as (running, _):
        async with calling(running.url, path, BEARER) as caller:
            kinds = await until_end(caller)
            assert caller.code == 1008
        assert kinds.count(DONE) <= 3
        assert kinds[-1] in ("error", DONE)
        assert "error" in kinds
        await eventually(lambda: not running.service.ledger.open_records)
        used, held = budget_levels(running)
        billed = [line for line in exchanges.lines if line.get("reason") == "transcribed"]
        assert 2 <= len(billed) <= 3
        assert held == 0
        assert used >= len(billed) * 200_000_000
        cost = round(sum(line.get("cost_usd", 0) for line in exchanges.lines) * 10**9)
        assert used == cost


async def test_a_transcript_reserves_its_expected_cost_while_it_is_in_progress():
    step = trio.Event()

    async def transcribing(peer: Peer) -> None:
        await peer.accept()
        await peer.receive()
        await peer.receive()
        for end in (transcript_event("i0", 1000), {"type": FAILED, "item_id": "i1", "error": {"message": "no"}}):
            await peer.send({"type": "input_audio_buffer.committed", "item_id": end["item_id"]})
            await step.wait()
            await peer.send(end)
        await peer.read_rest()

    async with (
        serve_transcripts(transcribing, budgets=["1 usd/day"]) as (running, _),
        calling(running.url, PATHS[0], BEARER) as caller,
    ):
        await caller.send(SETTINGS)
        await caller.send(AUDIO)
        assert (await caller.event())["type"] == "input_audio_buffer.committed"
        # 400,000 characters of audio are 62 tokens of input; the price is the transcriber's own
        used, held = budget_levels(running)
        assert used == 0
        assert 62 * 6000 <= held <= 62 * (6000 + 10_000 + 2500)
        step.set()
        assert (await caller.event())["type"] == DONE
        assert budget_levels(running) == (1000 * 2500, 0)
        assert (await caller.event())["type"] == "input_audio_buffer.committed"
        assert (await caller.event())["type"] == FAILED
        assert budget_levels(running) == (1000 * 2500, 0)
        await caller.close(1000, "")


async def test_a_transcript_takes_no_place_of_a_simultaneous_request():
    """Voice detection starts the transcript and the response of one utterance at the same time."""
    events: tuple[Any, ...] = (
        {"type": "session.created", "session": {"audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}},
        {"type": "response.created", "response": {"id": "r"}},
        {"type": "input_audio_buffer.committed", "item_id": "i"},
        transcript_event("i", 10),
        {"type": "response.done", "response": {"id": "r", "status": "completed", "usage": {"input_tokens": 1}}},
    )

    async def speaking(peer: Peer) -> None:
        await peer.accept()
        await peer.send(*events)
        await peer.read_rest()

    async with (
        serve_transcripts(speaking, ratelimits={"concurrent": 1}) as (running, _),
        calling(running.url, PATHS[0], BEARER) as caller,
    ):
        assert [(await caller.event())["type"] for _ in events] == [event["type"] for event in events]
        await caller.close(1000, "")


async def test_if_money_is_limited_a_transcriber_without_a_price_ends_the_session():
    async def transcribing(peer: Peer) -> None:
        await peer.accept()
        await peer.send(
            {"type": "session.created", "session": {"input_audio_transcription": {"model": "unheard-of-1"}}},
            {"type": "input_audio_buffer.committed", "item_id": "i"},
        )
        await peer.read_rest()

    key = {"budgets": ["1 usd/day"]}
    async with serve_sessions(transcribing, key=key) as (running, _), calling(running.url, PATH, BEARER) as caller:
        assert (await caller.event())["type"] == "session.created"
        assert (await caller.event())["error"]["code"] == "model_not_priced"
        await caller.read_rest()
        assert caller.code == 1008
