"""Gemini as a provider with its own API, for clients of other APIs: its signatures return to it, and its usage and
errors reach the client."""

import json
from typing import Any

import httpx2
import pytest

from providers.gemini.turns import PLACEHOLDER
from providers.neutral.seal import Issuer, seal_in_base64
from tests.support.gemini_answers import call, candidate, text, thought_part
from tests.support.google import Google, sse
from tests.support.harness import PATIENCE
from tests.support.in_process import gateway, providers
from tests.support.posing import served_by

MODEL = "gemini/gemini-3.8-flash"
KEY = "AIza-of-google"
SIGNATURE = "EoMCCoACARFNMg9JxT6b1SyJ6gdpxB744+/=="
COUNTS = {"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "totalTokenCount": 14}
CALLS = (
    candidate(thought_part("I look.")),
    candidate(call("get_time", {"zone": "UTC"}, signature=SIGNATURE), finishReason="STOP") | {"usageMetadata": COUNTS},
)
BROKEN = b"""{
  "error": {
    "code": 499,
    "message": "The operation was cancelled.",
    "status": "CANCELLED"
  }
}
"""
TOOL = {"name": "get_time", "input_schema": {"type": "object", "properties": {"zone": {"type": "string"}}}}
ASKED = {"role": "user", "content": "Hi"}


def config(url: str) -> dict[str, Any]:
    return {"version": "v0.4.0", "model_providers": [{"model": MODEL, "access_key": KEY, "base_url": url}]}


def events(answer: Any) -> list[Any]:
    lines = answer.text.splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


async def test_a_turn_with_a_tool_continues_with_its_signature():
    """anomalyco/opencode#4832: Gemini 3 refuses the whole history without the signature."""
    async with served_by(Google, config) as (running, google):
        google.says = CALLS
        answer = await running.ask(MODEL, "messages", stream=True, tools=[TOOL])
        assert answer.status_code == 200, answer.text
        assert google.asked == ["/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse"]
        assert f"\r\nx-goog-api-key: {KEY}\r\n".encode() in google.heads[0]
        told = events(answer)
        usage = told[-2]["usage"]
        assert (usage["input_tokens"], usage["output_tokens"]) == (9, 5)
        assert told[-2]["delta"]["stop_reason"] == "tool_use"
        blocks = [one["content_block"] for one in told if one["type"] == "content_block_start"]
        assert [block["type"] for block in blocks] == ["thinking", "tool_use"]
        (mark,) = [one["delta"]["signature"] for one in told if "signature" in one.get("delta", {})]
        shown = {"type": "thinking", "thinking": "I look.", "signature": mark}
        use = {**blocks[1], "input": {"zone": "UTC"}}
        result = {"type": "tool_result", "tool_use_id": use["id"], "content": "noon"}
        turns = [ASKED, {"role": "assistant", "content": [shown, use]}, {"role": "user", "content": [result]}]
        google.says = (candidate(text("It is noon."), finishReason="STOP"),)
        answer = await running.ask(MODEL, "messages", tools=[TOOL], messages=turns)
        assert answer.json()["content"][0]["text"] == "It is noon."
        assert "x-trigate-dropped" not in answer.headers
        sent = json.loads(google.bodies[-1])
        assert sent["contents"][1]["parts"] == [call("get_time", {"zone": "UTC"}, signature=SIGNATURE)]
        assert sent["contents"][2]["parts"] == [
            {"functionResponse": {"name": "get_time", "response": {"result": "noon"}}}
        ]  # fmt: skip
        assert sent["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == TOOL["input_schema"]


async def test_chat_usage_is_requested_if_the_entry_has_the_setting():
    """Google's Chat API loses the thoughts and their seal."""
    async with providers(1) as (google,):
        google.__class__ = Google
        (entry,) = config(google.url)["model_providers"]
        async with gateway({"version": "v0.4.0", "model_providers": [{**entry, "speaks": ["gemini"]}]}) as running:
            google.says = CALLS
            function = {"name": TOOL["name"], "parameters": TOOL["input_schema"]}
            tools = [{"type": "function", "function": function}]
            answer = await running.ask(MODEL, "chat", stream=True, tools=tools, reasoning_effort="low")
            deltas = [one["choices"][0]["delta"] for one in events(answer) if one["choices"]]
            assert [delta["reasoning_content"] for delta in deltas if "reasoning_content" in delta] == ["I look."]
            (details,) = [delta["reasoning_details"] for delta in deltas if "reasoning_details" in delta]
            assert json.loads(google.bodies[0])["generationConfig"] == {
                "maxOutputTokens": 9, "thinkingConfig": {"thinkingLevel": "low", "includeThoughts": True}
            }  # fmt: skip
            use = {"id": "c1", "type": "function", "function": {"name": "get_time", "arguments": '{"zone":"UTC"}'}}
            use["id"] = next(delta["tool_calls"][0]["id"] for delta in deltas if "tool_calls" in delta)
            said = {"role": "assistant", "content": None, "tool_calls": [use], "reasoning_details": details}
            turns = [ASKED, said, {"role": "tool", "tool_call_id": use["id"], "content": "noon"}]
            await running.ask(MODEL, "chat", tools=tools, messages=turns)
            sent = json.loads(google.bodies[-1])["contents"][1]["parts"]
            assert sent == [call("get_time", {"zone": "UTC"}, signature=SIGNATURE)]


async def test_a_stream_that_fails_midway_is_not_complete():
    """In a recorded stream, an error without ``data:`` followed chunks with the finish reason STOP."""
    async with served_by(Google, config) as (running, google):
        google.says = sse(candidate(text("First "), finishReason="STOP")) + BROKEN
        answer = await running.ask(MODEL, "messages", stream=True)
        assert [one["type"] for one in events(answer)][-1] == "error"
        assert "message_stop" not in answer.text
        google.says = sse(candidate(call(), finishReason="MALFORMED_FUNCTION_CALL", finishMessage="print(1)"))
        answer = await running.ask(MODEL, "messages", stream=True)
        assert answer.status_code == 502
        assert "print(1)" in answer.json()["error"]["message"]


FAILED_ENDS = ("UNEXPECTED_TOOL_CALL", "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "TOO_MANY_TOOL_CALLS")


@pytest.mark.parametrize("word", FAILED_ENDS)
async def test_a_failed_end_reaches_a_gemini_client_unchanged(word: str):
    """Gemini CLI repeats its request because of this finish reason (google-gemini/gemini-cli#12965)."""
    failed = candidate(call(), finishReason=word)
    counts = {"usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 4, "totalTokenCount": 13}}
    path = f"/v1beta/models/{MODEL}"
    body = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    async with served_by(Google, config) as (running, google), client(running.url) as sdk:
        for opening in ((), (candidate(text("Let me")),)):
            google.says = sse(*opening, failed, counts)
            answer = await sdk.post(f"{path}:streamGenerateContent?alt=sse", json=body)
            assert (answer.status_code, answer.content) == (200, google.says), word
            answer = await sdk.post(f"{path}:streamGenerateContent", json=body)
            assert answer.json() == [*opening, failed, counts]
        google.says = ({**failed, **counts},)
        answer = await sdk.post(f"{path}:generateContent", json=body)
        assert (answer.status_code, answer.json()) == (200, google.says[0])
        answer = await running.ask(MODEL, "messages", stream=True)
        assert answer.status_code == 502
        assert answer.json()["error"]["type"] == "api_error"


async def test_a_failed_end_is_not_sent_while_another_target_is_left():
    path, failed = "/v1beta/models/r", candidate(call(), finishReason="UNEXPECTED_TOOL_CALL")
    body = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    async with providers(2) as (bad, good):
        bad.__class__ = good.__class__ = Google
        entries = [
            {"model": MODEL, "name": name, "access_key": f"{KEY}-{name}", "base_url": one.url, "speaks": ["gemini"]}
            for name, one in (("bad", bad), ("good", good))
        ]
        route = {"version": "v0.4.0", "model_providers": entries, "model_aliases": {"r": {"targets": ["bad", "good"]}}}
        bad.says, good.says = (failed,), (candidate(text("well"), finishReason="STOP"),)
        async with gateway(route) as running, client(running.url) as sdk:
            for operation in (":streamGenerateContent?alt=sse", ":generateContent"):
                answer = await sdk.post(path + operation, json=body)
                assert (answer.status_code, "well" in answer.text) == (200, True)
                assert answer.headers["x-trigate-tried"] == "bad=bad_answer, good=ok"
            good.says = (failed,)
            for operation in (":streamGenerateContent?alt=sse", ":generateContent"):
                answer = await sdk.post(path + operation, json=body)
                assert (answer.status_code, "UNEXPECTED_TOOL_CALL" in answer.text) == (200, True)


async def test_blocked_prompts_and_token_counts_reach_the_client():
    async with served_by(Google, config) as (running, google):
        google.says = ({"promptFeedback": {"blockReason": "SAFETY"}},)
        for api, told in (("messages", '"stop_reason":"refusal"'), ("responses", '"reason":"content_filter"')):
            answer = await running.ask(MODEL, api)
            assert (answer.status_code, told in answer.text) == (200, True), answer.text
        answer = await running.count_tokens(MODEL)
        assert answer.json() == {"input_tokens": 31}
        assert json.loads(google.bodies[-1])["generateContentRequest"]["contents"] == [
            {"role": "user", "parts": [{"text": "Hi"}]}
        ]  # fmt: skip


async def test_bytes_between_clients_and_providers_of_the_same_api_are_unchanged():
    """Signatures of this provider are sent to it, and the thoughts of another provider's model are removed."""
    ours = seal_in_base64(Issuer.of("gemini", KEY), "gemini", {"part": "functionCall", "signature": SIGNATURE})
    others = seal_in_base64(Issuer("other", "x"), "messages", {"type": "thinking"})
    result = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": 1}}}]}
    path = f"/v1beta/models/{MODEL}"
    async with served_by(Google, config) as (running, google), client(running.url) as sdk:
        google.says = sse(candidate(text("a")), candidate(text("b"), finishReason="STOP"))
        raw = b'{"contents": [{"parts":[{"text":"Hi"}]}], "generation_config":{"temperature":0.50}}'
        answer = await sdk.post(f"{path}:streamGenerateContent?alt=sse", content=raw)
        assert answer.content == google.says
        assert google.asked == ["/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse"]
        assert google.bodies[-1] == raw
        google.says = (candidate(text("done"), finishReason="STOP"),)
        for mark, expected in ((ours, SIGNATURE), (others, PLACEHOLDER), (None, PLACEHOLDER)):
            said = {"role": "model", "parts": [thought_part("hm"), call("f", {}, signature=mark)]}
            turns = [{"role": "user", "parts": [{"text": "Hi"}]}, said, result]
            answer = await sdk.post(f"{path}:generateContent", json={"contents": turns})
            assert answer.json() == google.says[0]
            assert answer.headers["x-trigate-lane"] == "byte"
            sent = json.loads(google.bodies[-1])["contents"][1]["parts"][-1]
            assert sent["thoughtSignature"] == expected, mark
            assert ("x-trigate-dropped" in answer.headers) == (expected == PLACEHOLDER)


def client(url: str) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url=url, verify=False, trust_env=False, timeout=PATIENCE)
