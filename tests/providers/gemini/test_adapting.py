"""Edits of a Gemini client's own request: removed members and seals, and no other byte."""

import json

import pytest

from providers.gemini.adapting import adapt
from providers.gemini.turns import PLACEHOLDER
from providers.neutral.draft import Draft
from streams.errors import GatewayError
from tests.support.each_row import each_row
from tests.support.gemini_answers import FLASH, OLD_FLASH, call, recipient, text


def adapt_body(body, model=FLASH):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    draft = Draft.of(raw)
    adapt(draft, recipient(model))
    return draft.encode(), draft


def model(*parts):
    return {"role": "model", "parts": list(parts)}


def test_a_request_keeps_its_bytes():
    signed = json.dumps({"contents": [model(call("f", signature="s")), model(text("x"))], "safety_settings": [1.50]})
    for raw in (signed.encode(), b'{ "contents" : [ {"parts":[{"text":"thinking_ functionCall"}]} ],  "x":1e2}'):
        body, draft = adapt_body(raw)
        assert body == raw
        assert draft.edits == ()


def test_a_history_without_a_signature_gets_what_google_documents():
    raw = (
        b'{"contents": [{"role":"model","parts":[{"text":"a"},{"functionCall":{"name":"f","args":{"n":1.50}}},'
        b'{"function_call":{"name":"g"}}]}, {"role":"user","parts":[{"text":"x"}]}], "z": 1.0}'
    )
    body, draft = adapt_body(raw)
    parts = json.loads(body)["contents"][0]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [None, PLACEHOLDER, None]
    assert b'{"name":"f","args":{"n":1.50}}' in body
    assert [edit.path for edit in draft.edits] == ["contents[].parts[].thoughtSignature"]
    assert adapt_body(raw, OLD_FLASH)[0] == adapt_body(raw, "tuned-model")[0] == raw


def test_a_level_that_the_model_lacks_is_lowered():
    for config, expected in (
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "MEDIUM", "includeThoughts": True}}}, "low"),
        ({"generation_config": {"thinking_config": {"thinking_level": "minimal"}}}, "low"),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}}}, "HIGH"),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 5}}}, None),
    ):
        body, draft = adapt_body({"contents": [], **config}, "gemini-3-pro-preview")
        thinking = next(iter(next(iter(json.loads(body)[name] for name in config)).values()))
        assert thinking.get("thinkingLevel", thinking.get("thinking_level")) == expected
        assert bool(draft.edits) == (expected == "low")


@each_row("name", ["systemInstruction", "system_instruction", "tools", "toolConfig"])
def test_members_of_cached_content_are_a_400(name):
    with pytest.raises(GatewayError) as raised:
        adapt_body({"contents": [], "cachedContent": "cachedContents/1", name: [{}]})
    assert raised.value.info.status == 400
    assert adapt_body({"contents": [], "cachedContent": "cachedContents/1"})[1].edits == ()
