"""Thought signatures through clients of other APIs: the same on the same parts, byte for byte."""

import json
import time

import pytest

from providers.apis import CODECS
from providers.gemini.turns import PLACEHOLDER
from providers.neutral.codec import Reply
from providers.neutral.request import Request
from streams.fold import ReasoningBlock, fold
from tests.support.each_row import each_row
from tests.support.gemini_answers import (
    FLASH,
    GOOGLE,
    OLD_FLASH,
    VERTEX,
    call,
    candidate,
    encode_request,
    read_chunks,
    text,
    thought_part,
)
from tests.support.next_requests import returning_request
from tests.support.repository import SHARED

CLIENTS = ("chat", "messages", "responses", "converse")
SIGNATURE = "EoMCCoACARFNMg9JxT6b1SyJ6gdpxB744+/=="


def next_contents(api, request, **to):
    """Return the contents of ``request`` for Gemini, and the losses."""
    body, dropped = encode_request(CODECS[api].read_request(request), **to)
    return body["contents"], dropped


def ways(api, events):
    """Return the next request of a client that got the answer streamed, and of one that got it whole."""
    reply = Reply(Request(api, "m", ()), GOOGLE, created=5)
    return {
        way: returning_request(api, events, reply, streamed=way == "streamed") for way in ("streamed", "whole")
    }.items()


@each_row("api", CLIENTS)
def test_the_signature_of_a_call_is_returned_on_it(api):
    """anomalyco/opencode#4832, labring/aiproxy#450: of parallel calls the first alone, ids of Gemini's own or ours."""
    for ids in ((None, None), ("a1", "a2")):
        calls = (call("f", {"x": 1}, ids[0], SIGNATURE), call("g", {"y": [1.5]}, ids[1]))
        events = read_chunks(candidate(thought_part("hm"), text("I look."), *calls, finishReason="STOP"))
        for way, request in ways(api, events):
            contents, dropped = next_contents(api, request)
            assert contents[1]["parts"] == [text("I look."), *calls], way
            assert [part["functionResponse"]["name"] for part in contents[2]["parts"][:2]] == ["f", "g"], way
            assert [part["functionResponse"].get("id") for part in contents[2]["parts"][:2]] == list(ids), way
            assert dropped == (), way


@each_row("api", CLIENTS)
def test_an_id_that_the_clients_api_does_not_take_is_the_providers_again(api):
    """Messages and Converse take few characters in ids of calls (anomalyco/opencode#4832)."""
    odd = "function-call/1=" + "x" * 80
    sent = call("f", {"x": 1}, odd, SIGNATURE)
    for way, request in ways(api, read_chunks(candidate(thought_part("hm"), sent, finishReason="STOP"))):
        contents, dropped = next_contents(api, request)
        assert contents[1]["parts"] == [sent], way
        assert contents[2]["parts"][0]["functionResponse"]["id"] == odd, way
        assert dropped == (), way


@each_row("api", CLIENTS)
def test_shown_thoughts_have_the_signature_of_the_next_call(api):
    """Programs carry one signed block of reasoning, and many leave out one without words."""
    events = read_chunks(candidate(thought_part("hm")), candidate(call("f", {}, None, SIGNATURE), finishReason="STOP"))
    blocks = [block for block in fold(events).blocks if isinstance(block, ReasoningBlock)]
    assert [(block.text, block.state is not None) for block in blocks] == [("hm", True)]
    for way, request in ways(api, events):
        assert next_contents(api, request)[0][1]["parts"] == [call("f", {}, signature=SIGNATURE)], way


def test_very_many_calls_are_matched_to_their_signatures_in_no_time():
    events = read_chunks(candidate(*(call("f", {}, f"odd/{i}", SIGNATURE) for i in range(900)), finishReason="STOP"))
    began = time.process_time()
    parts = next_contents("converse", dict(ways("converse", events))["whole"])[0][1]["parts"]
    assert all(part["thoughtSignature"] == SIGNATURE for part in parts)
    assert time.process_time() - began < 5


@each_row("api", CLIENTS)
def test_another_endpoint_gets_the_call_unsigned(api):
    """BerriAI/litellm#32140, vercel/ai#13060"""
    events = read_chunks(candidate(call("f", {"x": 1}, "a1", SIGNATURE), finishReason="STOP"))
    for way, request in ways(api, events):
        contents, dropped = next_contents(api, request, issuer=VERTEX)
        assert contents[1]["parts"] == [call("f", {"x": 1}, signature=PLACEHOLDER)], way
        assert dropped, way
        assert next_contents(api, request, issuer=VERTEX, model=OLD_FLASH)[0][1]["parts"] == [call("f", {"x": 1})], way


@each_row("api", CLIENTS)
def test_signatures_of_other_parts_are_returned_on_parts_of_their_kind(api):
    tool = {"toolCall": {"id": "t", "toolType": "GOOGLE_SEARCH_WEB", "args": {"q": "x"}}, "thoughtSignature": "s1=="}
    found = {"toolResponse": {"id": "t", "toolType": "GOOGLE_SEARCH_WEB", "response": {}}, "thoughtSignature": "s2=="}
    code = {"executableCode": {"code": "1+1", "language": "PYTHON"}, "thoughtSignature": "s3=="}
    output = {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}}
    parts = (tool, found, code, output, text("It is 2.", "s4=="))
    for way, request in ways(api, read_chunks(candidate(*parts, finishReason="STOP"))):
        contents, _ = next_contents(api, request)
        assert contents[1]["parts"] == list(parts), way


@each_row("api", CLIENTS)
def test_a_signature_after_the_text_is_returned_but_for_streams_that_cannot_say_it(api):
    """musistudio/claude-code-router#1275: a stream of Messages has no place for it any more."""
    events = read_chunks(candidate(text("Hello")), candidate(text("", "s1=="), finishReason="STOP"))
    for way, request in ways(api, events):
        expected = [text("Hello"), text("", "s1==")]
        lost = (api, way) == ("messages", "streamed")
        assert next_contents(api, request)[0][1]["parts"] == (expected[:1] if lost else expected), way


RECORDED = sorted((SHARED / "corpus" / "gemini").glob("*.response.*"))


@pytest.mark.skipif(not RECORDED, reason="the recorded traffic (../shared) is not here")
@pytest.mark.parametrize("api", CLIENTS)
def test_every_recorded_signature_of_a_call_survives_every_client(api):
    count = 0
    for path in RECORDED:
        body = path.read_bytes()
        if b"thoughtSignature" not in body or b"functionCall" not in body or b"partialArgs" in body:
            continue
        text_of = body.decode().replace("\r", "")
        chunks = [json.loads(one.strip().removeprefix("data:")) for one in text_of.split("\n\n") if one.strip()] \
            if path.suffix == ".sse" else [json.loads(body)]  # fmt: skip
        events = read_chunks(*chunks)
        if type(events[-1]).__name__ == "ErrorInfo":
            continue
        parts = [
            part for chunk in chunks for one in chunk["candidates"] for part in one.get("content", {}).get("parts", ())
        ]
        sent = [part for part in parts if "functionCall" in part]
        for part in sent:
            part["functionCall"].setdefault("args", {})
        for way, request in ways(api, events):
            got = [part for part in next_contents(api, request)[0][1]["parts"] if "functionCall" in part]
            assert got == sent, (path.name, way)
        count += 1
    assert count >= 10


def test_a_history_of_another_model_is_taken():
    """A conversation that began elsewhere: no signature there is any of Google's."""
    native = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "done"}
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [native, use]},
        {"role": "user", "content": [result]},
    ]
    request = CODECS["messages"].read_request({"model": "m", "max_tokens": 10, "messages": turns})
    body, dropped = encode_request(request, FLASH)
    assert body["contents"][1]["parts"] == [call("f", {"x": 1}, signature=PLACEHOLDER)]
    assert body["contents"][2]["parts"] == [{"functionResponse": {"name": "f", "response": {"result": "done"}}}]
    assert "messages[].content[]" in dropped
