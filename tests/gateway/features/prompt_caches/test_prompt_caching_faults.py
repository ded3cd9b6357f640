"""Misses of prompt caches by the gateway's own work, and requests that are hard to compare.

Faults of other gateways: accounts in turn (lidge-jun/opencodex#4546), re-serialised bodies
(headroomlabs-ai/headroom#1042)."""

import itertools
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cached_talks import HEADER, CachedTalk, entries, long_text, set_caches
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import Gateway, config, eventually, exchanges, free_port, running

FAILED = '"level":"error"'


def failures(gateway: Gateway) -> list[str]:
    """Return the logged errors of the gateway itself."""
    return [line for line in gateway.log if FAILED in line]


@pytest.mark.soak
def test_a_restart_is_unknown_and_no_first_turn(mock):
    settings = config(entries(mock.url))
    with gateway_thread(settings) as before:
        talk = CachedTalk(before, "messages", "sonnet", "a restart")
        for _ in range(3):
            talk.send()
    set_caches(mock.url, forget=True)
    with gateway_thread(settings) as after:
        turn = CachedTalk(after, "messages", "sonnet", "a restart", rounds=3).send()
        assert (turn.cause, turn.header) == ("unknown:not_seen", None)


def test_the_key_switches_everything_off(mock):
    with gateway_thread(config(entries(mock.url), prompt_cache=False)) as gateway:
        talk = CachedTalk(gateway, "messages", "sonnet", "a switch")
        turns = [talk.send() for _ in range(3)]
        assert not [turn for turn in turns if HEADER in turn.reply.headers or "prompt_cache_could" in turn.line]


HOSTILE: dict[str, Any] = {
    "deep": {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "a": 0}]}]},
    "many": {"messages": [{"role": "user", "content": "x"}] * 4_000},
    "wrong types": {"messages": [{"role": 7, "content": {"a": [None, True]}}, 3, None, "x" * 3000]},
    "surrogates": {"messages": [{"role": "user", "content": "\ud800" * 3000}]},
    "empty": {"messages": [{"role": "user", "content": ["", {}, [], ""] * 900}]},
    "marks": {"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "cache_control": 7}] * 200}]},
    "tools": {
        "tools": [{"name": 1}, 7, None, {"function": "x" * 3000}],
        "messages": [{"role": "user", "content": "x"}],
    },
    "system": {"system": {"a": "x" * 3000}, "messages": [{"role": "user", "content": "x"}]},
    "numbers": {"messages": [{"role": "user", "content": "x" * 3000, "n": 10**300}], "metadata": {"user_id": 1e300}},
}


@pytest.fixture(scope="module")
def with_and_without(mock) -> Iterator[tuple[Gateway, Gateway]]:
    """Run a gateway with the comparison, and one without it."""
    settings = config(entries(mock.url))
    with gateway_thread(settings) as one, gateway_thread({**settings, "prompt_cache": False}) as other:
        yield one, other


@pytest.mark.parametrize(
    ("case", "path"), [*zip(HOSTILE, itertools.cycle(("/v1/messages", "/v1/chat/completions")), strict=False)]
)
def test_no_request_fails_by_its_comparison(with_and_without, case, path):
    """The status of the request is the same as without the comparison, and the log has only the exchange."""
    body = {"model": "sonnet" if "messages" in path else "gpt", "max_tokens": 9, **HOSTILE[case]}
    data = json.dumps(body).encode()
    if case == "deep":
        data = data.replace(b'"a": 0', b'"a": ' + b"[" * 400 + b"]" * 400 + b', "b": "' + b"x" * 3000 + b'"')
    statuses = []
    for served in with_and_without:
        before = len(exchanges(served.log))
        statuses.append([served.request("POST", path, data).status for _ in range(2)])
        eventually(lambda: len(exchanges(served.log)) == before + 2)  # noqa: B023  # in this round
        assert failures(served) == []
    assert statuses[0] == statuses[1]


def test_a_turn_of_a_stored_conversation_continues_it(mock):
    """The client sends only its new message; the provider gets the whole conversation."""
    with gateway_thread(config(entries(mock.url))) as gateway:
        talk = CachedTalk(gateway, "responses", "gpt", "a stored conversation")
        first = {
            "instructions": long_text("stored", 120),
            "input": "Describe the project, please. " * 20,
            "store": True,
        }
        turn = talk.send(first)
        for number in range(4):
            id = json.loads(turn.reply.body)["id"]
            turn = talk.send(
                {"instructions": first["instructions"], "previous_response_id": id, "store": True,
                 "input": f"Explain part {number} in more detail, please."},
            )  # fmt: skip
            assert turn.line["prompt_cache_could"] > 1_000
            assert turn.cause is None
        assert failures(gateway) == []


@pytest.mark.soak
@pytest.mark.process
def test_the_memory_of_prompts_is_shared_by_workers_and_survives_reloads(mock, tmp_path):
    """Each turn has its own connection, which any worker may accept. ``false`` in a reload switches everything off."""
    file = tmp_path / "trigate.yaml"
    port = free_port()
    settings = config(entries(mock.url), port)
    file.write_text(json.dumps(settings))
    with running(file, port, "--workers", "2") as gateway:
        talk = CachedTalk(gateway, "chat", "gpt", "workers")
        warm = CachedTalk(gateway, "chat", "sol", "the first requests")
        for _ in range(6):  # of each worker: its first prompt may be read after the response
            warm.send()
        turns = [talk.send() for _ in range(8)]
        assert [turn.cause for turn in turns] == [None] * 8
        assert all(turn.line["prompt_cache_could"] > 1_000 for turn in turns[1:])
        assert gateway.pid is not None
        for switch in (False, {}):
            reloads = _reloads(gateway)
            file.write_text(json.dumps({**settings, "prompt_cache": switch}))
            os.kill(gateway.pid, signal.SIGHUP)
            eventually(lambda: _reloads(gateway) > reloads)  # noqa: B023
            eventually(lambda: (HEADER in talk.send().reply.headers) is not (switch is False))  # noqa: B023


def _reloads(gateway: Gateway) -> int:
    return sum("configuration was reloaded" in line for line in list(gateway.log))
