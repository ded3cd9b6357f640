"""Each answer of a session is booked once, whichever of its events a provider leaves out, repeats or puts elsewhere."""

import contextlib
import json
from typing import Any

import pytest

from gateway.features.realtime.meter import MAX_REQUESTED, MAX_UNREQUESTED, TOO_MANY_UNREQUESTED
from tests.support.asgi_app import eventually
from tests.support.each_row import each_row
from tests.support.features import members_of, rows_of
from tests.support.in_process import InProcess
from tests.support.realtime_sessions import BEARER, PATH, PRICE, VOICE, budget_levels, serve_sessions
from tests.support.settled import lines
from tests.support.websocket_caller import calling
from tests.support.websocket_server import Peer, Talk, WebSocketServer

USAGE = {"total_tokens": 300, "input_tokens": 200, "output_tokens": 100}


def begun(id: str | None = "resp_1") -> dict[str, Any]:
    return {"type": "response.created", "response": {} if id is None else {"id": id}}


def delta(text: str = "hello" * 100) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "delta": text}


def done(id: str | None = "resp_1") -> dict[str, Any]:
    response = {"status": "completed", "usage": USAGE}
    return {"type": "response.done", "response": response if id is None else {"id": id, **response}}


ORDERS = {
    "as OpenAI sends them": (1, [begun(), delta(), done()]),
    "no beginning": (1, [delta(), delta(), done()]),
    "no beginning and no ids": (1, [delta(), done(None)]),
    "a beginning without an id": (1, [begun(None), delta(), done()]),
    "an end without an id": (1, [begun(), delta(), done(None)]),
    "an end alone": (1, [done()]),
    "a beginning behind the first words": (1, [delta(), begun(), delta(), done()]),
    "two beginnings": (1, [begun(), begun(), delta(), done()]),
    "two beginnings without ids": (1, [begun(None), begun(None), delta(), done()]),
    "two ends": (1, [begun(), delta(), done(), done()]),
    "two answers without beginnings": (2, [delta(), done(), delta(), done("resp_2")]),
    "two answers without beginnings and ids": (2, [delta(), done(None), delta(), done(None)]),
    "two answers at the same time": (2, [begun(), begun("resp_2"), delta(), done(), delta(), done("resp_2")]),
}


def served(
    talk: Talk, budget: str = "1 usd/day"
) -> contextlib.AbstractAsyncContextManager[tuple[InProcess, WebSocketServer]]:
    entry = {**VOICE, **members_of("pass_through", passthrough=True), "price": PRICE}
    rights = members_of("pass_through", passthrough=["voice"])
    return serve_sessions(talk, entry, key={"budgets": [budget], **rights})


@each_row("order", ORDERS)
@each_row("asked", [True, False])
@each_row("path", [PATH, *rows_of("pass_through", "/voice/realtime?model=gpt-realtime")])
async def test_an_answer_is_booked_once(order, asked, path):
    number, said = ORDERS[order]

    async def talk(peer: Peer) -> None:
        await peer.accept()
        while (message := await peer.receive()) is not None:
            if json.loads(message)["type"] in ("response.create", "input_audio_buffer.commit"):
                await peer.send(*said)

    async with served(talk) as (running, _):
        with lines(running) as booked:
            async with calling(running.url, path, BEARER) as caller:
                await caller.send(json.dumps({"type": "response.create" if asked else "input_audio_buffer.commit"}))
                for _ in said:
                    await caller.receive()
                await caller.close(1000, "")
            await eventually(lambda: not running.service.ledger.open_records)
        answers = [line for line in booked if line.get("output_tokens")]
        assert [(line["input_tokens"], line["output_tokens"]) for line in answers] == [(200, 100)] * number
        cost = round(sum(line.get("cost_usd", 0) for line in booked) * 10**9)
        assert budget_levels(running) == (cost, 0)
        assert cost == number * (200 * 4 + 100 * 16) * 1000


async def test_responses_that_never_end_are_bounded():
    """Each has a record until it ends, so a provider could fill the memory with beginnings."""
    number = MAX_REQUESTED + 8

    async def talk(peer: Peer) -> None:
        await peer.accept()
        await peer.receive()
        await peer.send(*(begun(f"resp_{i}") for i in range(number)))
        await peer.rest()

    async with served(talk, "100 usd/day") as (running, _):
        with lines(running) as settled:
            async with calling(running.url, PATH, BEARER) as caller:
                await caller.send(json.dumps({"type": "input_audio_buffer.commit"}))
                for _ in range(number):
                    await caller.receive()
                assert len(running.service.ledger.open_records) == 1 + MAX_REQUESTED  # and that of the session
                assert len(settled) == 8
                await caller.close(1000, "")
            await eventually(lambda: not running.service.ledger.open_records)


def transcribed(id: str) -> dict[str, Any]:
    kind = "conversation.item.input_audio_transcription.completed"
    return {"type": kind, "item_id": id, "usage": {"type": "duration", "seconds": 1}}


@pytest.mark.parametrize("event", [begun, done, transcribed])
async def test_a_flood_of_unrequested_responses_ends_the_session(event):
    """Each has a line in the log: a provider wrote a thousand a second, for as long as the session was open."""
    number = MAX_UNREQUESTED + 40

    async def talk(peer: Peer) -> None:
        await peer.accept()
        await peer.receive()
        await peer.send(*(event(f"id_{i}") for i in range(number)))
        await peer.rest()

    async with served(talk, "1000 usd/day") as (running, server):
        with lines(running) as settled:
            async with calling(running.url, PATH, BEARER) as caller:
                await caller.send(json.dumps({"type": "input_audio_buffer.commit"}))
                received = [json.loads(message) for message in await caller.rest()]
                assert caller.closed == (1011, TOO_MANY_UNREQUESTED)
            await eventually(lambda: not running.service.ledger.open_records)
        assert server.peers[0].closed == (1008, TOO_MANY_UNREQUESTED)
        assert [message["type"] for message in received] == [event("")["type"]] * MAX_UNREQUESTED + ["error"]
        session = settled[-1]
        assert (len(settled), session["ended"], session["reason"]) == (
            MAX_UNREQUESTED + 2, "upstream_error", "upstream_invalid",
        )  # fmt: skip


async def test_requested_responses_are_no_flood():
    number = MAX_UNREQUESTED + 40

    async def talk(peer: Peer) -> None:
        await peer.accept()
        for i in range(number):
            await peer.receive()
            await peer.send(begun(f"resp_{i}"), done(f"resp_{i}"))
        await peer.rest()

    async with served(talk, "1000 usd/day") as (running, _), calling(running.url, PATH, BEARER) as caller:
        for _ in range(number):
            await caller.send(json.dumps({"type": "response.create"}))
            assert [(await caller.event())["type"] for _ in range(2)] == ["response.created", "response.done"]
        await caller.close(1000, "")
