"""Edits of a Converse client's own request: members keep their order and bytes."""

import json
from typing import Any

from providers.converse import CONVERSE
from providers.neutral.draft import Draft
from providers.neutral.hints import losses
from tests.support.converse_requests import ADAPTIVE, CLAUDE, LLAMA, NOVA, recipient

POINT = {"cachePoint": {"type": "default"}}


def adapt_for(body: Any, model: str) -> tuple[bytes, tuple[str, ...]]:
    draft = Draft.of(json.dumps(body).encode())
    CONVERSE.adapt(draft, recipient(model))
    return draft.encode(), tuple(edit.path for edit in draft.edits)


def test_without_known_facts_a_request_stays_unchanged():
    body = {"system": [{"text": "a"}, POINT], "messages": [{"role": "user", "content": [{"text": "b"}, POINT]}]}
    for model in (CLAUDE, "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"):
        assert adapt_for(body, model) == (json.dumps(body).encode(), ())


def test_cache_points_are_removed_if_the_model_accepts_none():
    body = {
        "toolConfig": {"tools": [{"toolSpec": {"name": "a"}}, POINT], "toolChoice": {"auto": {}}},
        "system": [{"text": "a"}, POINT],
        "messages": [{"role": "user", "content": [{"text": "b"}, POINT]}],
    }
    data, lost = adapt_for(body, "mistral.mistral-large-2402-v1:0")
    assert json.loads(data) == {
        "toolConfig": {"tools": [{"toolSpec": {"name": "a"}}], "toolChoice": {"auto": {}}},
        "system": [{"text": "a"}],
        "messages": [{"role": "user", "content": [{"text": "b"}]}],
    }
    assert lost == ("toolConfig.tools[].cachePoint", "system[].cachePoint", "messages[].content[].cachePoint")
    assert not losses(lost)
    data, lost = adapt_for(body, NOVA)
    assert data.count(b"cachePoint") == 2
    assert lost == ("toolConfig.tools[].cachePoint",)


def test_an_effort_that_the_model_lacks_becomes_the_next_lower():
    body = {"messages": [], "outputConfig": {"effort": "xhigh"}}
    data, lost = adapt_for(body, ADAPTIVE)
    assert json.loads(data)["outputConfig"] == {"effort": "high"}
    assert lost == ("outputConfig.effort",)
    assert adapt_for(body, LLAMA)[1] == ()
