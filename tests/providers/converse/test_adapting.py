"""A Converse client's own request on its way to a provider of its API: members keep their order and their bytes."""

import json
from typing import Any

from providers.converse import CONVERSE
from providers.neutral.draft import Draft
from providers.neutral.hints import losses
from providers.neutral.seal import seal, seal_in_base64
from tests.support.converse_requests import ADAPTIVE, CLAUDE, LLAMA, NOVA, OTHER, OURS, recipient

SIGNED = {"reasoningText": {"text": "hm", "signature": "c2ln"}}
REDACTED = {"redactedContent": "AAEC"}
POINT = {"cachePoint": {"type": "default"}}


def adapted(body: Any, model: str) -> tuple[bytes, tuple[str, ...]]:
    draft = Draft.of(json.dumps(body).encode())
    CONVERSE.adapt(draft, recipient(model))
    return draft.encode(), tuple(edit.path for edit in draft.edits)


def test_nothing_is_touched_where_nothing_is_known():
    body = {"system": [{"text": "a"}, POINT], "messages": [{"role": "user", "content": [{"text": "b"}, POINT]}]}
    for model in (CLAUDE, "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"):
        assert adapted(body, model) == (json.dumps(body).encode(), ())


def test_cache_points_go_where_the_model_takes_none():
    body = {
        "toolConfig": {"tools": [{"toolSpec": {"name": "a"}}, POINT], "toolChoice": {"auto": {}}},
        "system": [{"text": "a"}, POINT],
        "messages": [{"role": "user", "content": [{"text": "b"}, POINT]}],
    }
    data, lost = adapted(body, "mistral.mistral-large-2402-v1:0")
    assert json.loads(data) == {
        "toolConfig": {"tools": [{"toolSpec": {"name": "a"}}], "toolChoice": {"auto": {}}},
        "system": [{"text": "a"}],
        "messages": [{"role": "user", "content": [{"text": "b"}]}],
    }
    assert lost == ("toolConfig.tools[].cachePoint", "system[].cachePoint", "messages[].content[].cachePoint")
    assert not losses(lost)
    data, lost = adapted(body, NOVA)
    assert data.count(b"cachePoint") == 2
    assert lost == ("toolConfig.tools[].cachePoint",)


def test_an_effort_that_the_model_lacks_becomes_the_next_lower():
    body = {"messages": [], "outputConfig": {"effort": "xhigh"}}
    data, lost = adapted(body, ADAPTIVE)
    assert json.loads(data)["outputConfig"] == {"effort": "high"}
    assert lost == ("outputConfig.effort",)
    assert adapted(body, LLAMA)[1] == ()


def turn(*reasoning: Any) -> dict[str, Any]:
    blocks = [{"reasoningContent": one} for one in reasoning]
    return {"role": "assistant", "content": [*blocks, {"text": "b"}]}


def test_our_seals_become_what_they_hold_and_all_others_go():
    """The same bytes come back to whoever made them, and nobody else sees them (spring-projects/spring-ai#6413)."""
    mine = {"reasoningText": {"text": "hm", "signature": seal(OURS, "converse", SIGNED)}}
    sealed = {"redactedContent": seal_in_base64(OURS, "converse", REDACTED)}
    theirs = {"reasoningText": {"text": "x", "signature": seal(OTHER, "messages", {"type": "thinking"})}}
    native = {"reasoningText": {"text": "own", "signature": "EqkE"}}
    body = {"messages": [{"role": "user", "content": [{"text": "a"}]}, turn(mine, sealed, theirs, native)]}
    changes, dropped = CONVERSE.restore(body, OURS)
    assert changes == {"messages": [body["messages"][0], turn(SIGNED, REDACTED, native)]}
    assert dropped == ("messages[].content[]",)


def test_a_turn_that_was_reasoning_alone_goes_with_it():
    broken = {"reasoningText": {"text": "x", "signature": "tg1.broken"}}
    alone = {"role": "assistant", "content": [{"reasoningContent": broken}]}
    user = {"role": "user", "content": [{"text": "a"}]}
    assert CONVERSE.restore({"messages": [user, alone]}, OURS) == ({"messages": [user]}, ("messages[].content[]",))
    assert CONVERSE.restore({"messages": [user, turn(SIGNED)]}, OURS) == ({}, ())
    assert CONVERSE.restore({"messages": "x"}, OURS) == ({}, ())


def test_without_reasoning_all_else_stays():
    body = {"messages": [turn(SIGNED, REDACTED)]}
    assert CONVERSE.without_reasoning(body) == ({"messages": [turn()]}, ("messages[].content[]",))
    assert CONVERSE.without_reasoning({"messages": [turn()]}) == ({}, ())
