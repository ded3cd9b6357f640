"""Several choices of a provider that speaks another API: a Chat client's ``n`` is Gemini's ``candidateCount``, and the
other way round. Only whole answers have them."""

import json
from typing import Any

import httpx2

from tests.support.each_row import each_row
from tests.support.endpoint_provider import (
    ReceivedRequest,
    ScriptedAnswer,
    before,
    endpoint_provider,
    events,
    json_answer,
)
from tests.support.features import members_of, rows_of
from tests.support.gemini_answers import call, text
from tests.support.in_process import InProcess, gateway
from tests.support.returned_answers import answer_items

ASKED = [{"role": "user", "content": "Hi"}]
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
COUNTS = {"promptTokenCount": 9, "candidatesTokenCount": 12, "totalTokenCount": 21}
PATH = "/v1beta/models/one:generateContent"


def google(asked: ReceivedRequest) -> ScriptedAnswer:
    """Answer with as many candidates as requested, in Google's own order."""
    wanted = asked.json.get("generationConfig", {}).get("candidateCount", 1)
    parts = [(text("one"),), (text("two"),), (text("Let me."), call("f", {"a": 1}, None, "c2ln"))][:wanted]
    listed = [
        {"content": {"role": "model", "parts": list(said)}, "finishReason": "STOP", "index": at}
        for at, said in enumerate(parts)
    ]
    listed[0].pop("index")  # Google leaves out a 0
    return json_answer({"candidates": listed, "usageMetadata": COUNTS, "responseId": "r", "modelVersion": "g"})


def openai(asked: ReceivedRequest) -> ScriptedAnswer:
    listed = [
        {"index": at, "message": {"role": "assistant", "content": said}, "finish_reason": why}
        for at, (said, why) in enumerate([("one", "stop"), ("two", "length")][: asked.json["n"]])
    ]
    usage = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
    return json_answer({"id": "c", "object": "chat.completion", "model": "m", "choices": listed, "usage": usage})


def before_google(answering: Any = google) -> Any:
    return before(answering, "gemini/gemini-3-pro-preview", {"name": "one", "speaks": ["gemini"]})


async def post(served: InProcess, path: str, body: Any) -> httpx2.Response:
    return await served.post(path, json=body)


async def chat(served: InProcess, **members: Any) -> httpx2.Response:
    return await post(served, "/v1/chat/completions", {"model": "one", "messages": ASKED, **members})


async def test_a_chat_client_gets_all_choices_of_gemini():
    async with before_google() as (served, provider):
        answer = await chat(served, n=3)
        assert answer.status_code == 200, answer.text
        assert provider.asked[0].json["generationConfig"]["candidateCount"] == 3
        body = answer.json()
        assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
        assert [choice["message"]["content"] for choice in body["choices"]] == ["one", "two", "Let me."]
        assert [choice["finish_reason"] for choice in body["choices"]] == ["stop", "stop", "tool_calls"]
        (called,) = body["choices"][2]["message"]["tool_calls"]
        assert called["function"] == {"name": "f", "arguments": '{"a":1}'}
        assert (body["usage"]["prompt_tokens"], body["usage"]["completion_tokens"]) == (9, 12)
        assert "x-trigate-dropped" not in answer.headers
        one = (await chat(served, n=1)).json()
        assert len(one["choices"]) == 1
        assert "candidateCount" not in provider.asked[1].json.get("generationConfig", {})


async def test_a_gemini_client_gets_all_choices_of_chat():
    entry = {"name": "one", "speaks": ["chat"]}
    async with before(openai, "openai/m", entry) as (served, provider):
        answer = await post(served, PATH, {**GEMINI, "generationConfig": {"candidateCount": 2}})
        assert answer.status_code == 200, answer.text
        assert provider.asked[0].json["n"] == 2
        listed = answer.json()["candidates"]
        assert [(one["index"], one["content"]["parts"][0]["text"]) for one in listed] == [(0, "one"), (1, "two")]
        assert [one["finishReason"] for one in listed] == ["STOP", "MAX_TOKENS"]
        assert answer.json()["usageMetadata"]["candidatesTokenCount"] == 12


@each_row("stream", [True, False])
async def test_choices_that_were_not_requested_are_parts_of_the_answer(stream: bool):
    """LiteLLM and Copilot make a choice of each item of an answer (BerriAI/litellm#37299, zeroclaw-labs/zeroclaw#2136).
    The calls were lost, and the text looked like the whole answer."""
    called = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
    listed = [
        {"index": 0, "message": {"role": "assistant", "content": "Let me look."}, "finish_reason": "stop"},
        {"index": 1, "message": {"role": "assistant", "content": None, "tool_calls": [called]},
         "finish_reason": "tool_calls"},
    ]  # fmt: skip
    body = {"id": "c", "object": "chat.completion", "model": "m", "choices": listed}
    asked = {"model": "one", "max_tokens": 9, "messages": ASKED, "stream": stream}
    async with before(lambda _: json_answer(body), "openai/m", {"name": "one", "speaks": ["chat"]}) as (served, _):
        answer = await post(served, "/v1/messages", asked)
        (item,) = answer_items("messages", answer.content, streamed=stream)
        assert [block["type"] for block in item["content"]] == ["text", "tool_use"]
        assert [block.get("input") for block in item["content"]] == [None, {"a": 1}]
        assert b'"stop_reason":"tool_use"' in answer.content


@each_row("members", [{"n": 3, "stream": True}, {"n": 9}, {"n": 0}, {"n": -1}])
async def test_unsupported_choices_are_a_400_with_the_member(members: dict[str, Any]):
    async with before_google() as (served, provider):
        answer = await chat(served, **members)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "n"
        assert provider.asked == []


async def test_a_choice_that_failed_fails_the_answer_and_one_that_is_missing_does_not():
    good = {"content": {"role": "model", "parts": [text("one")]}, "finishReason": "STOP"}
    bad = {"content": {"role": "model", "parts": []}, "finishReason": "MALFORMED_FUNCTION_CALL", "index": 1}
    candidates = [good, bad]
    async with before_google(lambda asked: json_answer({"candidates": candidates, "usageMetadata": COUNTS})) as (
        served,
        _,
    ):
        answer = await chat(served, n=2)
        assert answer.status_code == 502
        assert "MALFORMED_FUNCTION_CALL" in answer.json()["error"]["message"], "it would be missing without a word"
        candidates.pop()
        assert len((await chat(served, n=4)).json()["choices"]) == 1


async def test_a_provider_without_several_choices_refuses_them():
    async with before(google, "anthropic/claude-sonnet-4-5", {"name": "one", "speaks": ["messages"]}) as (served, _):
        answer = await chat(served, n=2)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "n")


BROKEN_STREAM = b'data: {"error": {"message": "no", "type": "server_error", "code": 500}}\n\n'
BROKEN_WHOLE = {"error": {"message": "no", "type": "server_error", "code": 500, "status": "INTERNAL"}}
STEPS = [{"use": "pii", "at": ["request", "response"], "action": "report"}]


@each_row(
    ("api", "stream", "settings"),
    [
        (api, stream, settings)
        for api in ("chat", "gemini")
        for stream in (False, True)
        for settings in ({}, *rows_of("steps", STEPS))
    ],
)
async def test_a_failure_in_the_other_form_goes_to_the_next_target(api, stream, settings):
    """The client got a 400 about the number of choices, because only one choice can change its form."""
    answers = iter(((BROKEN_STREAM, BROKEN_STREAM[:9], b"data: [DONE]\n\n"), (BROKEN_WHOLE,))[stream])

    def fail(asked: ReceivedRequest) -> ScriptedAnswer:
        found = next(answers)
        return json_answer(found) if isinstance(found, dict) else events(found)

    model = {"chat": "openai/m", "gemini": "gemini/gemini-3-pro-preview"}[api]
    path = PATH.replace("one", "r").replace(":generate", ":streamGenerate" if stream else ":generate")
    body: Any = {"contents": GEMINI["contents"], "generationConfig": {"candidateCount": 2}}
    if api == "chat":
        path, body = "/v1/chat/completions", {"model": "r", "messages": ASKED, "n": 2, "stream": stream}

    def answer(asked: ReceivedRequest) -> ScriptedAnswer:
        if not stream:
            return (google if api == "gemini" else openai)(asked)
        text = {
            "chat": {"choices": [{"index": 0, "delta": {"content": "one"}, "finish_reason": "stop"}]},
            "gemini": {"candidates": [{"content": {"parts": [{"text": "one"}]}, "finishReason": "STOP"}]},
        }[api]
        return events(b"data: " + json.dumps(text).encode() + b"\n\n")

    async with endpoint_provider(fail) as first, endpoint_provider(answer) as second:
        entries = [
            {"model": model, "name": name, "access_key": "k", "speaks": [api], "base_url": f"{one.url}/v1"}
            for name, one in (("a", first), ("b", second))
        ]
        off = members_of("metrics", metrics=False)
        content = {"version": "v0.4.0", "model_providers": entries, **off}
        content |= {"steps": settings} if settings else {}
        async with gateway({**content, "model_aliases": {"r": {"targets": ["a", "b"]}}}) as served:
            for _ in range(1 if stream else 3):
                answered = await served.post(path, json=body)
                assert answered.status_code == 200, answered.text
                assert answered.headers["x-trigate-tried"].startswith("a="), answered.headers
                assert answered.headers["x-trigate-tried"].endswith(", b=ok")
