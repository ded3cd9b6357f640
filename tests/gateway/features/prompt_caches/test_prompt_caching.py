"""Explanations of misses of prompt caches, with the stand-in's caches, which know nothing of them.

What users ask: "why is every turn billed in full?" (openai/codex#30425, anthropics/claude-code#87966,
BerriAI/litellm-docs#1572)."""

import itertools
from typing import Any

import pytest

from streams.events import Api
from tests.support.cached_talks import CachedTalk, Turn, entries, long_text, set_caches
from tests.support.gateway_thread import serve_module
from tests.support.harness import config

KEYS = {name: f"key-of-{name}-0123456789" for name in ("ann", "ben")}
BYTE: tuple[tuple[Api, str], ...] = (
    ("messages", "sonnet"), ("converse", "bedrock"), ("chat", "gpt"), ("responses", "sol"), ("gemini", "pro"),
    ("interactions", "turns"),
)  # fmt: skip
HUB: tuple[tuple[Api, str], ...] = (
    ("messages", "gpt"), ("converse", "sonnet"), ("chat", "sol"), ("responses", "gpt"), ("gemini", "sol"),
    ("interactions", "gpt"), ("interactions", "sol"), ("messages", "turns"), ("chat", "turns"),
    ("messages", "sol"), ("converse", "sol"),  # whose marks move on, also inside results of tools
)  # fmt: skip
LANES = BYTE + HUB
NUMBERS = itertools.count(1)


def part_of_lanes(first: int) -> list[Any]:
    """Return all lanes. Every fourth one is in the gate, the rest in the soak."""
    soak = pytest.mark.soak
    return [pytest.param(one, marks=[soak] if (at - first) % 4 else []) for at, one in enumerate(LANES)]


@serve_module
def running(mock):
    return config(
        entries(mock.url),
        client_keys=[{"name": name, "key": key} for name, key in KEYS.items()],
        model_aliases={"either": {"targets": ["gpt", "sol"]}},
    )


@pytest.fixture
def talk(running, request) -> CachedTalk:
    """Return a conversation of the parametrized API and entry. No other test has its texts."""
    api, model = getattr(request, "param", BYTE[0])
    return CachedTalk(running, api, model, f"talk {next(NUMBERS)}", KEYS["ann"])


def lanes(*pairs: Any) -> Any:
    return pytest.mark.parametrize("talk", pairs, ids="-".join, indirect=True)


def missed_tokens(turn: Turn) -> int:
    return int(turn.line.get("prompt_cache_missed", 0))


@lanes(*part_of_lanes(0))
def test_ten_turns_without_a_break_have_no_cause(talk):
    turns = [talk.send() for _ in range(10)]
    assert [turn.cause for turn in turns] == [None] * 10, turns
    later = turns[1:]
    assert all(turn.line["prompt_cache_could"] > 2_000 for turn in later)
    assert max(missed_tokens(turn) for turn in later) <= 128  # a step of the stand-in's cache
    assert all(f"could={turn.line['prompt_cache_could']}, " in str(turn.header) for turn in later)
    assert turns[0].header is None


@lanes(*BYTE[:3])
def test_streams_predict_in_their_heads(talk):
    talk.streamed = True
    turns = [talk.send() for _ in range(3)]
    assert turns[0].header is None
    assert "readable=" in str(turns[2].header)
    assert turns[2].cause is None
    assert turns[2].line["prompt_cache_could"] > 2_000


@lanes(*part_of_lanes(1))
def test_a_changed_system_text_is_named(talk):
    for _ in range(3):
        talk.send()
    turn = talk.send(system="It is 09:31. " + long_text(talk.name))
    assert turn.cause == "system"
    assert missed_tokens(turn) > 2_000
    assert "cause=system" in str(turn.header)
    assert talk.name not in str(turn.line) + str(turn.header)
    after = talk.send(system="It is 09:31. " + long_text(talk.name))
    assert after.cause is None


@lanes(BYTE[0])
def test_an_expired_entry_is_named(talk, mock):
    """The gateway and the stand-in have separate clocks, so the provider's entries are lost early."""
    for _ in range(2):
        talk.send()
    set_caches(mock.url, forget=True)
    assert talk.send().cause == "provider"


def test_no_client_sees_the_conversation_of_another(running):
    name = "a secret marker"
    ann = CachedTalk(running, "messages", "sonnet", name, KEYS["ann"])
    for _ in range(3):
        ann.send()
    ben = CachedTalk(running, "messages", "sonnet", name, KEYS["ben"], rounds=3)
    turn = ben.send()
    assert turn.header is None
    assert turn.cause == "unknown:not_seen"
    assert turn.line["cached_tokens"] > 2_000
    assert name not in str(turn.line)


def test_a_short_request_is_not_read(running):
    talk = CachedTalk(running, "chat", "gpt", key=KEYS["ann"])
    turn = talk.send({"messages": [{"role": "user", "content": "Hello"}]})
    assert not [field for field in turn.line if field.startswith("prompt_cache")]
