"""Google's Interactions as the provider's API: unchanged bytes for its own clients, signatures through clients
of other APIs, and models that only it serves."""

import json
from typing import Any

import pytest

from tests.support.bare_provider import response
from tests.support.in_process import CountingProvider, InProcess, gateway, providers
from tests.support.interactions_answers import (
    begin,
    completed_event,
    created_event,
    interaction,
    piece,
    stop,
    stream,
    text_step,
    wire_event,
)
from tests.support.posing import served_by

KEY = "AIza-of-google"
REVISION = b"\r\napi-revision: 2026-05-20\r\n"
TOOL = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}
CALL = stream(
    begin(0, "thought", summary=[{"type": "text", "text": "I look."}], signature=""),
    piece(0, type="thought_signature", signature="c2lnbmVk"), stop(0),
    begin(1, "function_call", id="c1", name="f", arguments={}),
    piece(1, type="arguments_delta", arguments='{"a":1}'), stop(1), status="requires_action",
)  # fmt: skip


class Google(CountingProvider):
    """A provider that returns ``says``: a list of events as a stream, or bytes as a complete answer."""

    says: Any = b""

    def _answer(self, path: str, body: bytes) -> bytes:
        is_stream = isinstance(self.says, list)
        data = b"".join(self.says) if is_stream else self.says
        kind = "text/event-stream" if is_stream else "application/json"
        return response(200, data, kind)


def config(url: str, model: str = "gemini-3.8-flash") -> dict[str, Any]:
    entry = {"model": f"gemini/{model}", "access_key": KEY, "base_url": url, "name": "g"}
    return {"version": "v0.4.0", "model_providers": [entry]}


async def post(running: InProcess, body: Any, *headers: tuple[str, str]) -> Any:
    kind = ("content-type", "application/json")
    return await running.post("/v1beta/interactions", content=json.dumps(body), headers=[kind, *headers])


async def test_the_byte_lane_changes_only_the_model():
    odd = [
        created_event(), wire_event("interaction.news", a=[1, 2.50]), begin(0), piece(0, text="hi", new={"b": None}),
        stop(0), completed_event("incomplete", steps_left=3), b"event: done\ndata: [DONE]\n\n",
    ]  # fmt: skip
    async with served_by(Google, config) as (running, google):
        google.says = odd
        sent = b'{"model":"g","input":"hi","stream":true,"news":{"a" : 1.50},"store":true}'
        answer = await running.post("/v1beta/interactions", content=sent)
        assert answer.content == b"".join(odd)
        assert google.asked == ["/v1beta/interactions"]
        assert google.bodies[0] == sent.replace(b'"g"', b'"gemini-3.8-flash"')
        assert REVISION in google.heads[0]
        assert f"\r\nx-goog-api-key: {KEY}\r\n".encode() in google.heads[0]
        google.says = interaction(text_step("hi"), news=1)
        answer = await post(running, {"model": "g", "input": "hi"}, ("api-revision", "2027-01-01"))
        assert answer.content == google.says
        assert google.heads[1].lower().count(b"api-revision") == 1
        assert b"\r\napi-revision: 2027-01-01\r\n" in google.heads[1]


@pytest.mark.parametrize("status", ["failed", "cancelled"])
async def test_a_failed_interaction_passes_unchanged(status):
    failed = [created_event(), begin(0), piece(0, text="hi"), stop(0), completed_event(status)]
    async with served_by(Google, config) as (running, google):
        google.says = failed
        answer = await post(running, {"model": "g", "input": "hi", "stream": True})
        assert answer.content == b"".join(failed)


async def test_a_result_without_its_calls_id_reaches_no_provider():
    """google/adk-python#4381"""
    async with served_by(Google, config) as (running, google):
        answer = await post(running, {"model": "g", "input": [{"type": "function_result", "result": "x"}]})
        assert answer.status_code == 400
        error = answer.json()["error"]
        assert (error["code"], "input[0].call_id" in error["message"]) == ("invalid_request", True)
        assert google.asked == []


async def test_a_signature_returns_through_a_messages_client():
    """And the thought is shown."""
    async with providers(1) as (google,):
        google.__class__ = Google
        (entry,) = config(google.url)["model_providers"]
        async with gateway(
            {"version": "v0.4.0", "model_providers": [{**entry, "speaks": ["interactions"]}]}
        ) as running:
            google.says = CALL
            asked = {"role": "user", "content": "Hi"}
            answer = await running.ask("g", "messages", stream=True, tools=[TOOL])
            assert answer.status_code == 200, answer.text
            told = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
            blocks = [one["content_block"] for one in told if one["type"] == "content_block_start"]
            assert [block["type"] for block in blocks] == ["thinking", "tool_use"]
            (mark,) = [one["delta"]["signature"] for one in told if "signature" in one.get("delta", {})]
            assert told[-2]["delta"]["stop_reason"] == "tool_use"
            shown = {"type": "thinking", "thinking": "I look.", "signature": mark}
            result = {"type": "tool_result", "tool_use_id": "c1", "content": "noon"}
            turns = [
                asked, {"role": "assistant", "content": [shown, {**blocks[1], "input": {"a": 1}}]},
                {"role": "user", "content": [result]},
            ]  # fmt: skip
            google.says = interaction(text_step("It is noon."))
            answer = await running.ask("g", "messages", tools=[TOOL], messages=turns)
            assert answer.json()["content"][0]["text"] == "It is noon."
            assert json.loads(google.bodies[1])["input"][1:] == [
                {"type": "thought", "signature": "c2lnbmVk", "summary": [{"type": "text", "text": "I look."}]},
                {"type": "function_call", "id": "c1", "name": "f", "arguments": {"a": 1}},
                {"type": "function_result", "call_id": "c1", "name": "f", "result": "noon"},
            ]
            assert json.loads(google.bodies[1])["store"] is False
            assert REVISION in google.heads[1]
