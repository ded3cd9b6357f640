"""Verdicts: the provider's number decides, and what it does not explain is unknown."""

import json
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.features.prompt_caches.conversations import UNKNOWN_RULES, CacheScope
from gateway.features.prompt_caches.memory import KEEP
from gateway.features.prompt_caches.values import LEAST_MISSED, LEAST_SHARE, fields_of, header_of
from providers.catalog.prompt_caching import CachingRow
from streams.events import APIS, Usage
from tests.support.cache_turns import CacheTurns
from tests.support.cached_prompts import SYSTEM, request_of, row_of, user_item
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.recorded_turns import HISTORY


def _with_clock(api: str, rounds: int, minute: int) -> dict[str, Any]:
    return request_of(api, rounds, system=f"It is 9:{minute:02}. " + SYSTEM)


def test_other_users_with_the_same_tools_read_the_clients_own_boundary():
    """Without a parent there is no cause in the content."""
    turns = CacheTurns("messages")
    turns.send(request_of("messages", 0, system=SYSTEM * 5))
    body = request_of("messages", 0, system=SYSTEM * 5)
    body["messages"] = [user_item("messages", "Another user's question")]
    body["messages"][0]["content"][0]["cache_control"] = {"type": "ephemeral"}
    turns.send(body, 0)
    assert turns.verdict.could > LEAST_MISSED
    assert turns.causes == ["provider"]


@pytest.mark.parametrize("usage", [None, Usage(input=9000, estimated=True)])
def test_a_cut_stream_is_unknown(usage: Usage | None):
    turns = CacheTurns("messages")
    turns.send(request_of("messages", 30))
    turns.send(_with_clock("messages", 31, 1), 0, usage=usage or Usage(estimated=True))
    assert turns.causes == ["unknown:no_usage"]
    assert turns.verdict.read is None
    assert turns.verdict.could > 0


def test_a_target_that_does_not_report_is_unknown():
    """https://github.com/NousResearch/hermes-agent/issues/68818"""
    turns = CacheTurns("chat")
    turns.send(request_of("chat", 30))
    turns.send(request_of("chat", 31), 0, reports=False)
    assert turns.causes == ["unknown:not_reported"]
    turns.send(request_of("chat", 32), 6000, reports=False)
    assert turns.causes == []


def test_nothing_expires_without_a_lifetime_and_nothing_is_the_providers_without_a_row():
    """https://github.com/Yeachan-Heo/gajae-code/issues/2020"""
    turns = CacheTurns("chat", attrs.evolve(row_of("chat"), lifetime=None, longest=None, lifetimes={}))
    turns.send(request_of("chat", 30))
    turns.send(request_of("chat", 31), 0, after=KEEP - 1)
    assert turns.causes == ["provider"]
    turns = CacheTurns("chat", CachingRow())
    turns.send(request_of("chat", 30))
    turns.send(request_of("chat", 31), 0)
    assert turns.causes == ["provider"]


def test_without_a_row_the_content_is_a_cause_and_the_rest_is_unknown():

    for minute, cause in ((1, "unknown:no_row"), (2, "system")):
        turns = CacheTurns("chat", UNKNOWN_RULES)
        turns.send(_with_clock("chat", 30, 1))
        turns.send(_with_clock("chat", 31, minute), 0, reports=True)
        assert turns.causes == [cause]


@each_row("api", APIS)
def test_a_provider_that_read_past_the_difference_contradicts(api: str):
    turns = CacheTurns(api)
    first = turns.send(_with_clock(api, 30, 1))
    turns.send(_with_clock(api, 31, 2), first - 2500)
    assert turns.causes == ["unknown:contradiction"]
    assert turns.verdict.missed == 2500
    assert header_of(turns.verdict) is None


@pytest.mark.parametrize(("read_tokens", "cause"), [(3_000, "unknown:contradiction"), (0, "tools")])
def test_without_a_boundary_before_the_change_nothing_can_be_read(read_tokens: int, cause: str):
    turns = CacheTurns("messages")
    tools = [{"name": f"tool_{number}", "description": "It does something. " * 80} for number in range(20)]
    first = turns.send(request_of("messages", 10, tools=tools))
    turns.send(request_of("messages", 11, tools=[{**tools[0], "description": "Another one"}, *tools[1:]]), read_tokens)
    assert first > 2 * 3_000
    assert turns.causes == [cause]


@pytest.mark.parametrize(("missed", "causes"), [(1999, []), (2000, ["provider"])])
def test_small_misses_have_no_cause(missed: int, causes: list[str]):
    turns = CacheTurns("messages")
    first = turns.send(request_of("messages", 60))
    turns.send(request_of("messages", 61), first - missed)
    assert (turns.causes, turns.verdict.missed) == (causes, missed)


def test_a_flat_low_read_is_a_miss_and_a_long_new_message_is_none():
    """https://github.com/FerroxLabs/wayland/issues/1166"""
    turns = CacheTurns("messages")
    for rounds in range(40, 45):
        turns.send(request_of("messages", rounds), 2000)
    assert turns.causes == ["provider"]
    long = request_of("messages", 45)
    long["messages"][-1]["content"].insert(0, {"type": "text", "text": "A long text. " * 20_000})
    turns.send(long)
    assert turns.verdict.missed == 0


def test_a_change_and_a_pause_are_two_causes_that_add_up():
    turns = CacheTurns("messages")
    tools = [{"name": f"tool_{number}", "description": "It does something. " * 80} for number in range(30)]
    marked = json.loads(json.dumps(tools))
    marked[-1]["cache_control"] = {"type": "ephemeral"}
    first = turns.send(request_of("messages", 30, tools=marked, system="It is 9:01. " + SYSTEM))
    turns.send(request_of("messages", 31, tools=marked, system="It is 9:02. " + SYSTEM), 0, after=400)
    assert sorted(turns.causes) == ["expired", "system"]
    assert sum(cause.tokens for cause in turns.verdict.causes) == turns.verdict.missed == first
    assert turns.verdict.causes[0].tokens >= turns.verdict.causes[1].tokens
    assert turns.verdict.idle == 400


def test_an_automatic_cache_reads_up_to_the_change():
    turns = CacheTurns("chat")
    before, after = request_of("chat", 60), request_of("chat", 61)
    after["messages"][61] = {"role": "assistant", "content": "changed in the middle"}
    turns.send(before)
    turns.send(after, 6016)
    assert turns.causes == ["history"]
    assert turns.verdict.readable % 128 == 0
    assert abs(turns.verdict.readable - 6400) < 700


_FACTS = st.fixed_dictionaries(
    {},
    optional={
        "reports": st.booleans(),
        "rate": st.integers(0, 30),
        "edits": st.just(("steps.mask",)),
        "move": st.just("busy"),
        "diagnosis": st.sampled_from(["tools_changed", "system_changed", "unavailable"]),
    },
)
_SCOPES = st.sampled_from([CacheScope(b"a", "one"), CacheScope(b"b", "two"), CacheScope(b"a", "one", model=b"m")])


@settings(max_examples=examples(150))
@given(
    st.sampled_from(APIS), st.integers(0, 40), st.integers(0, 6), st.integers(0, 3), st.integers(0, 12_000),
    st.sampled_from([1, 10, 301, 3601]), _SCOPES, _FACTS, st.sampled_from([1.0, 50.0]), st.booleans(),
)  # fmt: skip
def test_causes_add_up_to_the_miss(
    api: str, rounds: int, more: int, minute: int, read_tokens: int, after: float, scope: CacheScope,
    facts: dict[str, Any], head_after: float, drops: bool,
):  # fmt: skip
    turns = CacheTurns(api)
    turns.send(_with_clock(api, rounds, 1), head_after=head_after, scope=CacheScope(b"a", "one"))
    body = _with_clock(api, rounds + more, minute)
    if drops and len(body[HISTORY[api]]) > 4:
        del body[HISTORY[api]][1:3]
    turns.send(body, read_tokens, after=after, scope=scope, **facts)
    verdict = turns.verdict
    assert sum(cause.tokens for cause in verdict.causes) == (verdict.missed if verdict.causes else 0)
    assert len(verdict.causes) <= 2
    assert [cause.tokens for cause in verdict.causes] == sorted((c.tokens for c in verdict.causes), reverse=True)
    assert 0 <= verdict.readable <= verdict.could
    if verdict.read is not None:
        assert verdict.missed == max(verdict.could - verdict.read, 0)
        assert bool(verdict.causes) == (verdict.missed >= max(LEAST_MISSED, LEAST_SHARE * verdict.could))
    assert len(header_of(verdict) or "") <= 300


@settings(max_examples=examples(60))
@given(st.sampled_from(APIS), st.integers(0, 3), st.booleans())
def test_no_text_of_a_prompt_is_in_a_verdict(api: str, place: int, hub: bool):
    marker = "zanzibar7731marker"
    bodies = []
    for number in range(2):
        text = f"{marker}{number} " * 200
        body = request_of(api, 30 + number, system=text if place == 0 else SYSTEM)
        if place:
            body = json.loads(
                json.dumps(body).replace(("read_file", "The path", "Text of")[place - 1], f"{marker}{number}")
            )
        bodies.append(body)
    turns = CacheTurns(api)
    for body in bodies:
        turns.send(body, 0, client_body=body if hub else None)
    shown = (
        repr(turns.verdict),
        header_of(turns.verdict),
        repr(fields_of(turns.verdict, None)),
        header_of(turns.prediction),
    )
    assert turns.causes in (["tools"], ["system"], ["history"], [])  # other tool calls begin another conversation
    assert [text for text in shown if text and "zanzibar" in text] == []
