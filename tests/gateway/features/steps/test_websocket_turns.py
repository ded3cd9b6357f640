"""Turns over a websocket of Responses with steps: each turn has one end, and the connection takes the next turn.

A refusal is an ``error`` event before the first content and ``response.failed`` after it, never a close: a program that
waits only for ``response.completed`` waits for ever."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.support.each_row import each_row
from tests.support.features import needs_feature
from tests.support.harness import Gateway, eventually
from tests.support.step_gateway import bearer, client_keys, own_steps, step_gateway
from tests.support.step_providers import CODE, entries_of
from tests.support.upstreams import Script
from tests.support.websocket_client import TERMINAL, Client, lines

pytestmark = needs_feature("responses_websocket")

WAITING: Final = """
from pathlib import Path
import trio

CALLS, RELEASED = Path(__file__).with_name("calls"), Path(__file__).with_name("released")

async def waiting(check):
    CALLS.touch()
    while not RELEASED.exists():
        await trio.sleep(0.02)
    return await words(check)
"""
PROMPT: Final = "about falcon-12 now"
ANSWER: Final = "it is falcon-77 today, and much more text follows it, word by word"
LANES: Final = ("responses", "chat", "messages")
STEPS: Final[dict[str, dict[str, Any]]] = {
    f"{hold}-{outcome}": {"hold": hold, "at": ["request", "response"], **more}
    for hold in (5, 12, "whole", "nothing")
    for outcome, more in {
        "mask": {"action": "mask"},
        "restore": {"action": "mask", "restore": True},
        "error": {"at": ["response"]},
        "stop": {"at": ["response"], "refusal": {"as": "stop", "message": "No."}},
        "request": {"at": ["request"]},
    }.items()
    if (hold != "nothing" or outcome in ("error", "stop")) and (outcome != "request" or hold == "whole")
}
SLOW: Final = {"slow-5": {"hold": 5, "at": ["response"], "action": "mask", "use": "./steps.py:waiting"}}


@pytest.fixture(scope="module")
def gateway(upstream, folder) -> Iterator[Gateway]:
    steps = own_steps({name: {"deadline": "60s", **more} for name, more in (STEPS | SLOW).items()})
    with step_gateway(
        folder, entries_of(upstream.url, LANES), CODE + WAITING, client_keys=client_keys(STEPS | SLOW), steps=steps
    ) as served:
        yield served


def client_of(gateway: Gateway, name: str) -> Client:
    return Client.connect(gateway.port, bearer(name))


def text_of(frames: list[dict[str, Any]]) -> str:
    return "".join(frame["delta"] for frame in frames if frame["type"] == "response.output_text.delta")


@pytest.mark.parametrize("lane", LANES)
@pytest.mark.parametrize("name", STEPS)
def test_each_turn_has_one_end_and_the_connection_continues(gateway, upstream, name, lane):
    hold, _, outcome = name.partition("-")
    upstream.script(*[Script(text=ANSWER)] * (outcome != "request"), Script(text="all is well"))
    with client_of(gateway, name) as client:
        first, second = client.ask(f"on-{lane}", PROMPT), client.ask(f"on-{lane}", "fine")
        own = lines(gateway, client, 2)
    assert [frame["type"] for frame in first if frame["type"] in TERMINAL] == [first[-1]["type"]]
    assert (second[-1]["type"], text_of(second)) == ("response.completed", "all is well")
    sent = [seen.body for seen in upstream.seen]
    assert len(sent) == (1 if outcome == "request" else 2)
    if outcome in ("mask", "restore"):
        assert first[-1]["type"] == "response.completed"
        assert text_of(first).startswith("it is [WORD_")
        assert b"falcon" not in b"".join(sent)
    if outcome in ("error", "request"):
        end = first[-1]
        assert end["type"] == "error" or (end["type"], hold) == ("response.failed", "nothing")
        assert (end.get("response") or end)["error"]["code"] == "content_filter"
        assert (own[0]["ended"], own[0]["refused_by"]) == ("refused", name)
    if outcome == "stop":
        assert (first[-1]["type"], first[-1]["response"]["status"]) == ("response.incomplete", "incomplete")
        assert text_of(first).endswith("No.")
    if hold != "nothing":
        assert "falcon-7" not in json.dumps(first)


@each_row("lane", LANES)
def test_a_turn_waits_for_a_slow_step_and_another_connection_does_not(gateway, upstream, folder, lane):
    calls, released = folder / "calls", folder / "released"
    upstream.script(Script(text=ANSWER), Script(text="all is well"))
    with client_of(gateway, "slow-5") as slow, client_of(gateway, "5-error") as other:
        slow.create(f"on-{lane}", "hi")
        eventually(calls.exists, what="a call of the slow step")
        assert text_of(other.ask(f"on-{lane}", "fine")) == "all is well"
        released.touch()
        frames = slow.answer()
    calls.unlink()
    released.unlink()
    assert frames[-1]["type"] == "response.completed"
    assert "falcon" not in json.dumps(frames)
    assert text_of(frames).startswith("it is [WORD_")
