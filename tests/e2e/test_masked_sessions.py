"""Recorded sessions of Claude Code and Codex, with tools and thinking, through steps that mask what the user asks:
the provider sees the same placeholders in every turn, and nothing breaks."""

import json
from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, eventually, exchanges, free_port, provider
from tests.support.session_replay import Replay, read_session
from tests.support.stand_in import ENTRIES, FOUND, REPEATED, StandIn
from tests.support.upstreams import serve_upstream

MASKED: Final = "then tell me what they hold"
"""A part of the prompt in every recorded session."""
SESSIONS: Final = [
    ("claude", "messages"), ("claude", "chat"), ("codex", "responses"), ("codex-websocket", "responses"),
    ("codex-websocket", "messages"),
]  # fmt: skip
STEPS: Final = [
    {"use": "pii", "action": "mask", "restore": True},
    {"use": "secrets", "action": "mask", "restore": True},
    {"use": "regex", "action": "mask", "restore": True, "at": ["request"], "with": {"patterns": {"wish": MASKED}}},
    {"use": "tools", "with": {"deny": ["format_disk"]}},
]


@pytest.fixture
def stand_in() -> Iterator[StandIn]:
    with serve_upstream(StandIn) as served:
        yield served


@pytest.fixture
def gateway(stand_in, request) -> Iterator[Gateway]:
    port = free_port()
    entry = provider(ENTRIES[request.param], stand_in.url, [request.param], name="best")
    signing_key = "c2lnbmluZy1rZXktZm9yLXRlc3RzLTAxMjM0NTY3ODk="
    with gateway_thread(config([entry], port, steps=STEPS, signing_key=signing_key), check_streams=True) as served:
        yield served


@pytest.mark.sample(8)
@pytest.mark.parametrize(("client", "gateway"), SESSIONS, indirect=["gateway"])
def test_a_session_goes_to_its_end_behind_masks(gateway, stand_in, client):
    for answer in Replay(gateway, "best").run(read_session(client)):
        assert answer.status in (200, 101), answer.said[:500]
        assert b"[WISH_" not in answer.said
    assert {FOUND, REPEATED} <= set(stand_in.said)
    assert stand_in.refused == []
    asked = [seen.body.decode() for seen in stand_in.seen]
    assert not [body for body in asked if MASKED in body]
    placeholders = {body[at : body.index("]", at)] for body in asked if (at := body.find("[WISH_")) >= 0}
    assert len(placeholders) == 1
    lines = eventually(lambda: (found := exchanges(gateway.log))[len(asked) - 1 :] and found, what="the log's lines")
    assert not [line for line in gateway.log if MASKED in line]
    assert [line for line in lines if "regex" in json.dumps(line.get("steps", ""))]
