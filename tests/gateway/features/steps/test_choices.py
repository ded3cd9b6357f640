"""Steps on responses with several choices: each choice is a separate text, and a stream of choices stays one stream."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import pytest

from providers.apis import CODECS
from providers.neutral.choices import MOST_SPLIT
from tests.support.each_row import each_row
from tests.support.harness import Reply, provider
from tests.support.raw_call import line as line_of_request
from tests.support.step_gateway import bearer, client_keys, own_steps, step_gateway
from tests.support.step_providers import CODE
from tests.support.upstreams import JSON, STREAM, Raw, data
from tests.support.wire_clients import body_of, path_of, text_of

STEPS: Final[dict[str, dict[str, Any]]] = {
    "mask": {"action": "mask"},
    "mask-window": {"action": "mask", "hold": 20},
    "restore": {"action": "mask", "at": ["request"], "restore": True},
    "stop": {"action": "refuse", "refusal": {"as": "stop", "message": "Not here."}},
    "stop-window": {"action": "refuse", "hold": 9, "refusal": {"as": "stop", "message": "Not here."}},
    "refuse": {"action": {"word": "refuse", "other": "mask"}},
    "refuse-alone": {"action": "refuse"},
    "refuse-window": {"action": "refuse", "hold": 9},
    "report": {"action": "report"},
}
TEXTS: Final = ("all is fine, and all stays fine until the end", "it is falcon-77, and the rest is fine again")
MASKED: Final = re.compile(r"it is \[WORD_[0-9a-f]{10,}\], and the rest is fine again")
HEAD: Final = {"id": "c-1", "created": 1, "model": "m", "object": "chat.completion.chunk"}
USAGE: Final = {"prompt_tokens": 5, "completion_tokens": 31, "total_tokens": 36}
GEMINI_USAGE: Final = {"promptTokenCount": 5, "candidatesTokenCount": 31, "totalTokenCount": 36}


@pytest.fixture(scope="module")
def gateway(upstream, tmp_path_factory):
    entries = [
        provider("openai/on-chat", upstream.url + "/v1", ["chat"]),
        provider("gemini/on-gemini", upstream.url + "/v1beta", ["gemini"]),
    ]
    settings = {"client_keys": client_keys(STEPS), "steps": own_steps(STEPS)}
    with step_gateway(tmp_path_factory.mktemp("steps"), entries, CODE, **settings) as served:
        yield served


def split(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def chat_stream(texts: Sequence[str], size: int, *, counts: bool = True) -> Raw:
    """Return a stream of interleaved choices whose pieces have ``size`` characters."""
    pieces = [split(text, size) for text in texts]
    events = [
        data({**HEAD, "choices": [{"index": choice, "delta": {"content": one[at]}, "finish_reason": None}]})
        for at in range(max(map(len, pieces)))
        for choice, one in enumerate(pieces)
        if at < len(one)
    ]
    ends = [
        data({**HEAD, "choices": [{"index": choice, "delta": {}, "finish_reason": "stop"}]})
        for choice in range(len(texts))
    ]
    usage = [data({**HEAD, "choices": [], "usage": USAGE})] if counts else []
    return Raw(200, STREAM, (*events, *ends, *usage, b"data: [DONE]\n\n"), "chunked")


def gemini_stream(texts: Sequence[str], size: int) -> Raw:
    pieces = [split(text, size) for text in texts]
    events = []
    for at in range(max(map(len, pieces))):
        listed = [
            candidate(choice, one[at], **({"finishReason": "STOP"} if at == len(one) - 1 else {}))
            for choice, one in enumerate(pieces)
            if at < len(one)
        ]
        events.append(
            data({"candidates": listed, "usageMetadata": GEMINI_USAGE, "responseId": "r", "modelVersion": "m"})
        )
    return Raw(200, STREAM, tuple(events), "chunked")


def ask_chat(gateway, client: str, *, stream: bool, **more: Any) -> Any:
    body = {"model": "on-chat", "messages": [{"role": "user", "content": "about falcon-12"}], "n": 2, "stream": stream}
    return gateway.request("POST", "/v1/chat/completions", {**body, **more}, bearer(client))


def ask_gemini(gateway, client: str, query: str = "?alt=sse") -> Any:
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {"candidateCount": 2}}
    return gateway.request("POST", f"/v1beta/models/on-gemini:streamGenerateContent{query}", body, bearer(client))


def line_of(gateway, reply: Reply) -> dict[str, Any]:
    return line_of_request(gateway, reply.headers["x-request-id"])


def events_in(body: bytes) -> list[Any]:
    return [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: {")]


def texts_of(events: Sequence[Any]) -> dict[int, str]:
    """Return the text of each choice of a Chat stream."""
    found: dict[int, str] = {}
    for choice in (one for event in events for one in event["choices"]):
        found[choice["index"]] = found.get(choice["index"], "") + (choice["delta"].get("content") or "")
    return found


@each_row(
    ("client", "second"), [("mask", "it is [WORD_"), ("mask-window", "it is [WORD_"), ("restore", "it is falcon-77")]
)
def test_each_choice_of_a_complete_response_is_masked_and_kept(gateway, upstream, client, second):
    upstream.script(Raw(200, JSON, (whole_body("on-chat"),)))
    reply = ask_chat(gateway, client, stream=False)
    assert reply.status == 200, reply.body
    first, other = (choice["message"]["content"] for choice in reply.json["choices"])
    assert first == TEXTS[0]
    assert other.startswith(second)


def whole_body(model: str) -> bytes:
    if model == "on-chat":
        listed = [
            {"index": at, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
            for at, text in enumerate(TEXTS)
        ]
        return json.dumps({**HEAD, "object": "chat.completion", "choices": listed}).encode()
    candidates = [candidate(at, text, finishReason="STOP") for at, text in enumerate(TEXTS)]
    return json.dumps({"candidates": candidates, "responseId": "r", "modelVersion": "m"}).encode()


def candidate(index: int, text: str, **more: Any) -> dict[str, Any]:
    return {"index": index, "content": {"role": "model", "parts": [{"text": text}]}, **more}


OWN_API: Final = {"on-chat": "chat", "on-gemini": "gemini"}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("client", ["mask", "mask-window", "restore"])
@pytest.mark.parametrize("model", OWN_API)
@pytest.mark.parametrize("api", CODECS)
def test_only_complete_chat_answers_have_additional_choices(gateway, upstream, api, model, client, stream):
    """Other APIs cannot contain such a choice: without a stream, it caused a 500."""
    streamed = chat_stream(TEXTS, 9) if model == "on-chat" else gemini_stream(TEXTS, 9)
    upstream.script(streamed if stream else Raw(200, JSON, (whole_body(model),)))
    reply = gateway.request(
        "POST", path_of(api, model, stream=stream), body_of(api, model, stream=stream), bearer(client)
    )
    assert reply.status == 200, reply.body
    text = text_of(api, reply.body, stream=stream)
    if api != OWN_API[model]:
        rest = text.removeprefix(TEXTS[0])
        assert rest != text
        if stream or model == "on-gemini":
            assert rest == ""
        else:
            assert rest == TEXTS[1] if client == "restore" else MASKED.fullmatch(rest)
    else:
        assert "fine" in text
        assert client == "restore" or b"falcon" not in reply.body


@each_row("client", ["mask", "mask-window"])
@each_row("together", [True, False])
def test_each_candidate_of_an_array_is_masked(gateway, upstream, client, together):
    """Gemini's complete response may be an array. One with a second candidate was a 500."""
    ends = [candidate(at, text, finishReason="STOP") for at, text in enumerate(TEXTS)]
    half = len(TEXTS[1]) // 2
    begin = [candidate(at, text[:half]) for at, text in enumerate(TEXTS)]
    rest = [candidate(at, text[half:], finishReason="STOP") for at, text in enumerate(TEXTS)]
    listed = [ends] if together else [begin, rest]
    upstream.script(Raw(200, JSON, (json.dumps([{"candidates": one, "responseId": "r"} for one in listed]).encode(),)))
    body = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    reply = gateway.request("POST", "/v1beta/models/on-gemini:generateContent", body, bearer(client))
    assert reply.status == 200, reply.body
    first, second = ("".join(part["text"] for part in one["content"]["parts"]) for one in reply.json["candidates"])
    assert first == TEXTS[0]
    assert MASKED.fullmatch(second)


@each_row("size", [1, 4, 100])
@each_row("client", ["mask", "mask-window", "restore"])
def test_each_choice_of_a_stream_is_masked_and_the_stream_ends_once(gateway, upstream, client, size):
    upstream.script(chat_stream(TEXTS, size))
    reply = ask_chat(gateway, client, stream=True, stream_options={"include_usage": True})
    assert reply.status == 200, reply.body
    assert reply.body.endswith(b"data: [DONE]\n\n")
    assert reply.body.count(b"[DONE]") == 1
    events = events_in(reply.body)
    texts = texts_of(events)
    assert texts[0] == TEXTS[0]
    assert texts[1] == TEXTS[1] if client == "restore" else MASKED.fullmatch(texts[1])
    assert {event["id"] for event in events} == {events[0]["id"]}
    finished = [(one["index"], one["finish_reason"]) for event in events for one in event["choices"]]
    assert sorted(one for one in finished if one[1]) == [(0, "stop"), (1, "stop")]
    (counted,) = [event["usage"] for event in events if event.get("usage")]
    assert (counted["prompt_tokens"], counted["completion_tokens"]) == (5, 31)
    assert "usage" in events[-1]


def test_the_usage_of_all_choices_is_estimated_if_the_provider_sends_none(gateway, upstream):
    upstream.script(chat_stream(TEXTS, 10, counts=False))
    reply = ask_chat(gateway, "restore", stream=True, stream_options={"include_usage": True})
    usage = events_in(reply.body)[-1]["usage"]
    assert usage["completion_tokens"] == -(-sum(map(len, TEXTS)) // 4)


def test_text_that_looks_like_an_index_stays_unchanged(gateway, upstream):
    text = 'write {"index":0,"delta":1} and "choices":[{"index":0}] here'
    upstream.script(chat_stream(("a", text), 7))
    reply = ask_chat(gateway, "mask", stream=True)
    assert texts_of(events_in(reply.body)) == {0: "a", 1: text}


@pytest.mark.parametrize("size", [3, 100])
def test_a_refusal_in_the_second_choice_precedes_all_text(gateway, upstream, size):
    upstream.script(chat_stream(TEXTS, size))
    reply = ask_chat(gateway, "refuse", stream=True, messages=[{"role": "user", "content": "hi"}])
    assert (reply.status, reply.json["error"]["code"]) == (400, "content_filter")


@pytest.mark.parametrize("client", ["stop", "stop-window"])
def test_a_stop_ends_every_choice_that_the_client_has_seen(gateway, upstream, client):
    upstream.script(chat_stream(TEXTS[::-1], 3))
    reply = ask_chat(gateway, client, stream=True, messages=[{"role": "user", "content": "hi"}])
    assert reply.status == 200, reply.body
    assert b"falcon" not in reply.body
    events = events_in(reply.body)
    ends = {one["index"]: one["finish_reason"] for event in events for one in event["choices"] if one["finish_reason"]}
    assert set(ends) == set(texts_of(events))
    assert set(ends.values()) == {"content_filter"}
    assert texts_of(events)[0].endswith("Not here.")
    assert reply.body.count(b"Not here.") == 1
    assert reply.body.endswith(b"data: [DONE]\n\n")


def test_a_failure_between_the_choices_is_one_error_event(gateway, upstream):
    pieces = chat_stream(("fine " * 10_000, TEXTS[1]), 500).pieces
    failure = data({"error": {"message": "overloaded", "type": "server_error"}})
    upstream.script(Raw(200, STREAM, (*pieces[:80], failure), "chunked"))
    reply = ask_chat(gateway, "mask-window", stream=True)
    assert reply.status == 200
    assert reply.body.count(b'"error"') == 1
    assert b"[DONE]" not in reply.body
    assert b"falcon" not in reply.body


CALL: Final = {"index": 0, "id": "c", "type": "function", "function": {"name": "get_weather", "arguments": '{"city"'}}
REST: Final = {"index": 0, "function": {"arguments": ": 1}"}}
FAILED: Final = {
    "the word of a failure": ({}, "error"),
    "cut arguments": ({"tool_calls": [CALL]}, "tool_calls"),
    "an unknown word without content": ({}, "something_new"),
}
"""The delta and the end of a choice that is no answer."""
HELLO: Final = [{"role": "user", "content": "hi"}]
ALL_STEPS: Final = ("mask", "mask-window", "restore", "refuse-alone", "refuse-window", "report")


@each_row("failed", [0, 1])
@each_row("why", FAILED)
@each_row("client", ALL_STEPS)
def test_a_failed_choice_is_a_failure_of_the_stream(gateway, upstream, client, why, failed):
    good = [({"content": "fine"}, None), ({}, "stop")]
    bad = [FAILED[why]]
    rows = [(at, delta, end) for at in range(2) for delta, end in (bad if at == failed else good)]
    listed = [{"index": at, "delta": delta, "finish_reason": end} for at, delta, end in rows]
    for done in (b"data: [DONE]\n\n", b""):
        pieces = [data({**HEAD, "choices": [one]}) for one in listed]
        upstream.script(Raw(200, STREAM, (*pieces, done) if done else tuple(pieces), "chunked"))
        reply = ask_chat(gateway, client, stream=True, messages=HELLO)
        assert reply.body.count(b'"error"') >= 1, (done, reply.body)
        assert b"[DONE]" not in reply.body
        assert line_of(gateway, reply).get("error"), done


@each_row("client", ALL_STEPS)
def test_interleaved_calls_of_several_choices_are_complete(gateway, upstream, client):
    rows = [*((at, [CALL], None) for at in range(2)), *((at, [REST], "tool_calls") for at in range(2))]
    listed = [{"index": at, "delta": {"tool_calls": calls}, "finish_reason": end} for at, calls, end in rows]
    pieces = [data({**HEAD, "choices": [one]}) for one in listed]
    upstream.script(Raw(200, STREAM, (*pieces, b"data: [DONE]\n\n"), "chunked"))
    reply = ask_chat(gateway, client, stream=True, messages=HELLO)
    assert reply.body.endswith(b"data: [DONE]\n\n")
    assert b'"error"' not in reply.body


@each_row("failed", [0, 1])
@each_row("client", ALL_STEPS)
def test_a_candidate_that_ends_with_the_word_of_a_failure_is_a_failure(gateway, upstream, client, failed):
    ends = [candidate(at, "fine", finishReason="MALFORMED_RESPONSE" if at == failed else "STOP") for at in range(2)]
    pieces = [data({"candidates": [one], "usageMetadata": GEMINI_USAGE, "responseId": "r"}) for one in ends]
    upstream.script(Raw(200, STREAM, tuple(pieces), "chunked"))
    reply = ask_gemini(gateway, client)
    assert b"MALFORMED_RESPONSE" in reply.body
    assert line_of(gateway, reply).get("error"), reply.body


@each_row("client", ALL_STEPS)
def test_usage_that_arrives_only_with_a_later_choice_is_counted(gateway, upstream, client):
    listed = [{"index": at, "delta": {"content": "fine"}, "finish_reason": "stop"} for at in range(2)]
    pieces = [data({**HEAD, "choices": [listed[0]]}), data({**HEAD, "choices": [listed[1]], "usage": USAGE})]
    upstream.script(Raw(200, STREAM, (*pieces, b"data: [DONE]\n\n"), "chunked"))
    reply = ask_chat(gateway, client, stream=True, messages=HELLO)
    line = line_of(gateway, reply)
    assert (line["input_tokens"], line["output_tokens"], line["usage_complete"]) == (5, 31, True)


@each_row("client", ["mask", "restore"])
def test_the_ledger_estimates_the_usage_that_the_client_gets(gateway, upstream, client):
    """The ledger counted all choices once for each choice."""
    upstream.script(chat_stream(TEXTS, 10, counts=False))
    reply = ask_chat(gateway, client, stream=True, stream_options={"include_usage": True})
    told = events_in(reply.body)[-1]["usage"]
    line = line_of(gateway, reply)
    assert (line["input_tokens"], line["output_tokens"]) == (told["prompt_tokens"], told["completion_tokens"])


@each_row("size", [1, 9, 100])
@each_row("client", ["mask", "mask-window"])
def test_each_candidate_of_a_gemini_stream_is_masked(gateway, upstream, client, size):
    upstream.script(gemini_stream(TEXTS, size))
    reply = ask_gemini(gateway, client)
    assert reply.status == 200, reply.body
    found: dict[int, str] = {}
    ends = []
    for event in events_in(reply.body.replace(b"\r", b"")):
        for one in event["candidates"]:
            found[one["index"]] = found.get(one["index"], "") + "".join(p["text"] for p in one["content"]["parts"])
            ends += [(one["index"], one["finishReason"])] if "finishReason" in one else []
    assert found[0] == TEXTS[0]
    assert MASKED.fullmatch(found[1])
    assert ends == [(0, "STOP"), (1, "STOP")]


def test_the_candidates_are_one_array_for_a_client_without_events(gateway, upstream):
    upstream.script(gemini_stream(TEXTS, 9))
    reply = ask_gemini(gateway, "mask", "")
    assert {one["index"] for event in reply.json for one in event["candidates"]} == {0, 1}
    assert b"falcon" not in reply.body


@each_row("client", ["mask", "mask-window", "restore"], every=3)
@each_row("together", [True, False])
def test_a_stream_of_thousands_of_choices_fails_early(gateway, upstream, client, together):
    """Each choice has its own reader and stages: 20,000 choices blocked the gateway for minutes."""
    choices = [{"index": at, "delta": {"content": "a"}, "finish_reason": None} for at in range(5_000)]
    groups = [choices] if together else [[one] for one in choices]
    upstream.script(Raw(200, STREAM, tuple(data({**HEAD, "choices": group}) for group in groups)))
    reply = ask_chat(gateway, client, stream=True)
    assert b"too many choices" in reply.body
    assert reply.body.count(b'"index"') <= 2 * MOST_SPLIT  # a start and a text of each
