"""A Gemini client's own request for a Gemini provider: its bytes, but for what would be refused, and for seals."""

import json

import pytest

from providers.gemini.adapting import adapt, restore, without_reasoning
from providers.gemini.turns import SKIPPED
from providers.neutral.draft import Draft
from providers.neutral.seal import seal, seal_in_base64
from streams.errors import GatewayError
from tests.support.gemini_answers import FLASH, GOOGLE, OLD_FLASH, VERTEX, call, recipient, text, thought


def adapted(body, model=FLASH):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    draft = Draft.of(raw)
    adapt(draft, recipient(model))
    return draft.encode(), draft


def model(*parts):
    return {"role": "model", "parts": list(parts)}


def test_a_request_keeps_its_bytes():
    signed = json.dumps({"contents": [model(call("f", signature="s")), model(text("x"))], "safety_settings": [1.50]})
    for raw in (signed.encode(), b'{ "contents" : [ {"parts":[{"text":"thinking_ functionCall"}]} ],  "x":1e2}'):
        body, draft = adapted(raw)
        assert body == raw
        assert draft.edits == ()


def test_a_history_without_a_signature_gets_what_google_documents():
    raw = (
        b'{"contents": [{"role":"model","parts":[{"text":"a"},{"functionCall":{"name":"f","args":{"n":1.50}}},'
        b'{"function_call":{"name":"g"}}]}, {"role":"user","parts":[{"text":"x"}]}], "z": 1.0}'
    )
    body, draft = adapted(raw)
    parts = json.loads(body)["contents"][0]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [None, SKIPPED, None]
    assert b'{"name":"f","args":{"n":1.50}}' in body
    assert [edit.path for edit in draft.edits] == ["contents[].parts[].thoughtSignature"]
    assert adapted(raw, OLD_FLASH)[0] == adapted(raw, "tuned-model")[0] == raw


def test_a_level_that_the_model_lacks_is_lowered():
    for config, expected in (
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "MEDIUM", "includeThoughts": True}}}, "low"),
        ({"generation_config": {"thinking_config": {"thinking_level": "minimal"}}}, "low"),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "HIGH"}}}, "HIGH"),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 5}}}, None),
    ):
        body, draft = adapted({"contents": [], **config}, "gemini-3-pro-preview")
        thinking = next(iter(next(iter(json.loads(body)[name] for name in config)).values()))
        assert thinking.get("thinkingLevel", thinking.get("thinking_level")) == expected
        assert bool(draft.edits) == (expected == "low")


@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction", "tools", "toolConfig"])
def test_what_is_cached_may_not_be_said_again(name):
    with pytest.raises(GatewayError) as raised:
        adapted({"contents": [], "cachedContent": "cachedContents/1", name: [{}]})
    assert raised.value.failed.status == 400
    assert adapted({"contents": [], "cachedContent": "cachedContents/1"})[1].edits == ()


# Seals


def sealed(issuer=GOOGLE, api="gemini", **item):
    return seal_in_base64(issuer, api, item)


def resolved(*parts):
    body, dropped = restore({"contents": [model(*parts)]}, GOOGLE)
    return (body["contents"][0]["parts"] if body.get("contents") else None), dropped


def test_our_seals_become_what_is_in_them():
    own = sealed(part="functionCall", id="x", signature="A+/=")
    tool = {"toolCall": {"id": "t"}, "thoughtSignature": "s"}
    in_urls = own.replace("+", "-").replace("/", "_").rstrip("=")
    for mark in (own, in_urls, seal(GOOGLE, "gemini", {"part": "functionCall", "signature": "A+/="})):
        assert resolved(call("f", signature=mark)) == ([call("f", signature="A+/=")], ())
    assert resolved(text("", sealed(part="toolCall", native=tool))) == ([tool], ())
    snake = {"function_call": {"name": "f"}, "thought_signature": own}
    assert resolved(snake)[0] == [{**snake, "thought_signature": "A+/="}]
    assert restore({"contents": {"parts": [call("f", signature=own)]}}, GOOGLE)[0]


def test_seals_of_others_go_with_the_thoughts_that_they_are_of():
    foreign = (sealed(VERTEX, part="functionCall", signature="s"), sealed(api="messages", type="thinking"),
               "dGcxL" + "!!", sealed(part="functionCall"))  # fmt: skip
    for mark in foreign:
        parts = (text("a"), thought("hm"), thought("so"), call("f", signature=mark), text("b"))
        assert resolved(*parts) == (
            [text("a"), call("f"), text("b")], ("contents[].parts[].thoughtSignature",)
        ), mark  # fmt: skip
        assert resolved(text("a"), thought("hm"), thought("", mark))[0] == [text("a")]
    only = restore({"contents": [model(thought("", foreign[0])), model(text("x"))]}, GOOGLE)[0]
    assert only == {"contents": [model(text("x"))]}


def test_a_request_without_seals_is_left_alone():
    for contents in ([model(call("f", signature="c2ln"))], "text", None, [{}], [5], [{"parts": [None, 5]}]):
        assert restore({"contents": contents}, GOOGLE) == ({}, ())


def test_reasoning_that_was_refused_is_left_out():
    """Signatures go; a call that had one gets what Google documents for those without."""
    body, dropped = without_reasoning(
        {"contents": [model(thought("hm", "s"), text("a", "s"), text("", "s"), call("f", signature="s"), call("g"))]}
    )
    assert body["contents"][0]["parts"] == [text("a"), call("f", signature=SKIPPED), call("g")]
    assert dropped == ("contents[].parts[]",)
    assert without_reasoning({"contents": [model(text("a"))]}) == ({}, ())
