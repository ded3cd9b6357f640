"""Each answer of a session is billed once, even if its provider omits, repeats or moves some of its events."""

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


def start(id: str | None = "resp_1") -> dict[str, Any]:
    return {"type": "response.created", "response": {} if id is None else {"id": id}}


def delta(text: str = "hello" * 100) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "delta": text}


def end(id: str | None = "resp_1") -> dict[str, Any]:
    response = {"status": "completed", "usage": USAGE}
    return {"type": "response.done", "response": response if id is None else {"id": id, **response}}


ORDERS = {
    "as OpenAI sends them": (1, [start(), delta(), end()]),
    "no beginning": (1, [delta(), delta(), end()]),
    "no beginning and no ids": (1, [delta(), end(None)]),
    "a beginning without an id": (1, [start(None), delta(), end()]),
    "an end without an id": (1, [start(), delta(), end(None)]),
    "an end alone": (1, [end()]),
    "a beginning behind the first words": (1, [delta(), start(), delta(), end()]),
    "two beginnings": (1, [start(), start(), delta(), end()]),
    "two beginnings without ids": (1, [start(None), start(None), delta(), end()]),
    "two ends": (1, [start(), delta(), end(), end()]),
    "two answers without beginnings": (2, [delta(), end(), delta(), end("resp_2")]),
    "two answers without beginnings and ids": (2, [delta(), end(None), delta(), end(None)]),
    "two answers at the same time": (2, [start(), start("resp_2"), delta(), end(), delta(), end("resp_2")]),
}


def open_sessions(
    talk: Talk, budget: str = "1 usd/day"
) -> contextlib.AbstractAsyncContextManager[tuple[InProcess, WebSocketServer]]:
    entry = {**VOICE, **members_of("pass_through", passthrough=True), "price": PRICE}
    rights = members_of("pass_through", passthrough=["voice"])
    return serve_sessions(talk, entry, key={"budgets": [budget], **rights})


@each_row("order", ORDERS)
@each_row("asked", [True, False])
@each_row("path", [PATH, *rows_of("pass_through", "/voice/realtime?model=gpt-realtime")])
async def test_an_answer_is_billed_once(order, asked, path):
    number, said = ORDERS[order]

    async def talk(peer: Peer) -> None:
        await peer.accept()
        while (message := await peer.receive()) is not None:
            if json.loads(message)["type"] in ("response.create", "input_audio_buffer.commit"):
                await peer.send(*said)

    async with open_sessions(talk) as (running, _):
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
    """Each response has a record until it ends, so a provider could fill the memory by starting responses."""
    number = MAX_REQUESTED + 8

    async def talk(peer: Peer) -> None:
        await peer.accept()
        await peer.receive()
        await peer.send(*(start(f"resp_{i}") for i in range(number)))
        await peer.read_rest()

    async with open_sessions(talk, "100 usd/day") as (running, _):
        with lines(running) as settled:
            async with calling(running.url, PATH, BEARER) as caller:
                await caller.send(json.dumps({"type": "input_audio_buffer.commit"}))
                for _ in range(number):
                    await caller.receive()
                assert len(running.service.ledger.open_records) == 1 + MAX_REQUESTED  # and the record of the session
                assert len(settled) == 8
                await caller.close(1000, "")
            await eventually(lambda: not running.service.ledger.open_records)


def transcription_event(id: str) -> dict[str, Any]:
    kind = "conversation.item.input_audio_transcription.completed"
    return {"type": kind, "item_id": id, "usage": {"type": "duration", "seconds": 1}}


@pytest.mark.parametrize("event", [start, end, transcription_event])
async def test_a_flood_of_unrequested_responses_ends_the_session(event):
    """Each response has a line in the log: a provider could cause a thousand per second during the whole session."""
    number = MAX_UNREQUESTED + 40

    async def talk(peer: Peer) -> None:
        await peer.accept()
        await peer.receive()
        await peer.send(*(event(f"id_{i}") for i in range(number)))
        await peer.read_rest()

    async with open_sessions(talk, "1000 usd/day") as (running, server):
        with lines(running) as settled:
            async with calling(running.url, PATH, BEARER) as caller:
                await caller.send(json.dumps({"type": "input_audio_buffer.commit"}))
                received = [json.loads(message) for message in await caller.read_rest()]
                assert caller.closed == (1011, TOO_MANY_UNREQUESTED)
            await eventually(lambda: not running.service.ledger.open_records)
        assert server.peers[0].closed == (1008, TOO_MANY_UNREQUESTED)
        assert [message["type"] for message in received] == [event("")["type"]] * MAX_UNREQUESTED + ["error"]
        session = settled[-1]
        assert (len(settled), session["ended"], session["reason"]) == (
            MAX_UNREQUESTED + 2, "upstream_error", "upstream_invalid",
        )  # fmt: skip


async def test_requested_responses_do_not_end_the_session():
    number = MAX_UNREQUESTED + 40

    async def talk(peer: Peer) -> None:
        await peer.accept()
        for i in range(number):
            await peer.receive()
            await peer.send(start(f"resp_{i}"), end(f"resp_{i}"))
        await peer.read_rest()

    async with open_sessions(talk, "1000 usd/day") as (running, _), calling(running.url, PATH, BEARER) as caller:
        for _ in range(number):
            await caller.send(json.dumps({"type": "response.create"}))
            assert [(await caller.event())["type"] for _ in range(2)] == ["response.created", "response.done"]
        await caller.close(1000, "")
