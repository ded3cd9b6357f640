"""The cache key of a request: equal for requests with the same answer, without members that change nothing."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from gateway.features.answer_cache.eligible import EXCLUDED, FORM_MEMBERS, answer_key, canonical, is_cacheable
from providers.apis import CODECS
from tests.support.sdk_fields import PARAMS, samples
from tests.support.upstreams import Script, ToolCall, render

GEMINI = {
    "contents": [
        {"role": "user", "parts": [{"text": "hi"}, {"inlineData": {"mimeType": "image/png", "data": "aGk="}}]}
    ],
    "systemInstruction": {"parts": [{"text": "be brief"}]},
    "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}],
    "toolConfig": {"functionCallingConfig": {"mode": "AUTO"}},
    "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}],
    "generationConfig": {"temperature": 0, "topP": 0.5, "seed": 7, "stopSequences": ["END"], "responseSchema": {}},
    "cachedContent": "cachedContents/1",
    "labels": {"team": "a"},
}
CONVERSE = {
    "messages": [{"role": "user", "content": [{"text": "hi"}]}],
    "system": [{"text": "be brief"}],
    "inferenceConfig": {"maxTokens": 9, "temperature": 0, "topP": 0.5, "stopSequences": ["END"]},
    "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {"type": "object"}}}}]},
    "additionalModelRequestFields": {"top_k": 5},
    "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
    "promptVariables": {"a": {"text": "b"}},
    "requestMetadata": {"k": "v"},
    "performanceConfig": {"latency": "standard"},
}


def key_of(value: Any, excluded: Any = EXCLUDED) -> bytes:
    return canonical(json.dumps(value).encode(), excluded)


def is_left_out(path: str) -> bool:
    """Return whether the documented list of members without effect on the key includes ``path``."""
    top = path.replace("[]", "").split(".")[0]
    documented = {"stream", "user", "safety_identifier", "metadata", "prompt_cache_key", "service_tier"}
    return top in documented or path == "stream_options.include_usage"


def changed_copies(value: Any) -> Iterator[Any]:
    """Yield copies of ``value``, each with one changed leaf."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from ({**value, name: other} for other in changed_copies(member))
            yield {one: other for one, other in value.items() if one != name}
            yield {**value, "another": 1}
    elif isinstance(value, list):
        for at, member in enumerate(value):
            yield from ([*value[:at], other, *value[at + 1 :]] for other in changed_copies(member))
        yield [*value, "more"]
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int | float):
        yield from (value + 1, str(value), None)
    else:
        yield from (other for other in (f"{value}x", None, 0) if other != value)


COSTLY = ("messages", "gemini", "interactions")
"""The APIs whose types have thousands of members: only the soak test checks all of them."""


@pytest.mark.parametrize("apis", [PARAMS.keys() - COSTLY, pytest.param(PARAMS, marks=pytest.mark.soak)], ids=len)
def test_two_requests_that_differ_in_one_member_never_share_a_key(apis):
    """BerriAI/litellm#894, #25673, api7/aisix#87, headroomlabs-ai/headroom#1473, NadirRouter/NadirClaw#90: every list
    of relevant members was incomplete. Here all members of the official SDKs' types count, except those listed."""
    seen: set[str] = set()
    for api in apis:
        for sample in samples(api):
            usual = key_of(sample.with_field)
            same = usual == key_of(sample.without)
            # Options that are ``None`` or an empty object mean the same as no options.
            silent = sample.path in ("stream_options", "stream_options.include_obfuscation") and sample.with_field.get(
                "stream_options"
            ) in ({}, None)
            assert same == (is_left_out(sample.path) or silent), (api, sample.name)
            name = sample.path.replace("[]", "").split(".")[0]
            if name not in seen and not is_left_out(sample.path):
                for other in changed_copies(sample.with_field.get(name)):
                    assert key_of({**sample.with_field, name: other}) != usual, (sample.name, other)
            seen.add(name)
    assert {"messages", "seed", "max_tokens", "response_format", "n", "tool_choice"} <= seen
    for body in (GEMINI, CONVERSE):
        usual = key_of(body)
        assert all(key_of(other) != usual for other in changed_copies(body))


def test_the_order_of_members_and_white_space_do_not_count_and_the_order_of_lists_does():
    one = {"a": {"b": 1, "c": [1, 2]}, "d": "é"}
    two = {"d": "é", "a": {"c": [1, 2], "b": 1}}
    assert canonical(json.dumps(one, indent=3).encode()) == canonical(json.dumps(two, ensure_ascii=False).encode())
    other = copy.deepcopy(one)
    other["a"]["c"].reverse()
    assert key_of(one) != key_of(other)


def test_ambiguous_json_gives_different_keys():
    texts = (
        b'{"a":1}', b'{"a":1.0}', b'{"a":"1"}', b'{"a":[1]}', b'{"a":[["b",1]]}', b'{"a":{"b":1}}', b'{"a":true}',
        b'{"a":null}', b'{}', b'{"a":1,"a":2}', b'{"a":2,"a":1}', b'{"a":2}', b'{"a":18446744073709551617}',
        b'{"a":18446744073709551618}', b'{"a":"\\ud800"}', b'{"a":"\\\\ud800"}', b'{"a":""}', b'{"a":[]}', b'{"a":{}}',
    )  # fmt: skip
    assert len({canonical(text) for text in texts}) == len(texts)


def test_strict_mode_and_shared_owners_include_more_members():
    body = {"messages": [], "stream": True, "user": "u", "metadata": {"a": 1}}
    for name in ("user", "metadata"):
        without = {one: value for one, value in body.items() if one != name}
        assert key_of(body) == key_of(without)
        assert key_of(body, FORM_MEMBERS) != key_of(without, FORM_MEMBERS)
    assert key_of(body, FORM_MEMBERS) == key_of({**body, "stream": False}, FORM_MEMBERS)
    assert key_of(body, ()) != key_of({**body, "stream": False}, ())


def test_key_parts_are_not_confused():
    assert answer_key([b"ab", b"c"]) != answer_key([b"a", b"bc"])
    assert len(answer_key([])) == 32


# The decision, from an answer's bytes, whether it may be cached.


GOOD = Script(text="one two three")
CALL = Script(calls=(ToolCall("call_1", "f", '{"a": 1}'),), stop="tool_calls")
APIS = ("chat", "messages", "responses", "gemini", "converse", "interactions")


def body(api: str, script: Script, *, stream: bool) -> bytes:
    return b"".join(render(script, api, {"model": "m", "stream": stream}).pieces)


def judge(api: str, data: bytes, *, stream: bool, limited: bool = False) -> bool:
    return is_cacheable(api, data, CODECS[api].wire.framing if stream else None, limited=limited)


def test_only_complete_responses_are_cacheable():
    """gonka-ai/gonka#1722: the cache returned half an answer for an hour."""
    for api in APIS:
        for script in (GOOD, CALL):
            for stream in (False, True):
                data = body(api, script, stream=stream)
                assert judge(api, data, stream=stream), (api, script, stream)
                pieces = render(script, api, {"model": "m", "stream": stream}).pieces
                cuts = (
                    range(0, len(data) - 2, 97)
                    if not stream
                    else [sum(map(len, pieces[:n])) for n in range(len(pieces) - 2)]
                )
                for cut in cuts:
                    kept = judge(api, data[:cut], stream=stream)
                    assert not kept or (stream and _has_ended(api, data[:cut])), (api, stream, cut)


def _has_ended(api: str, data: bytes) -> bool:
    """Return whether ``data`` includes the finish reason, so that at most counts or an end mark are missing."""
    marks = {"chat": b'"finish_reason": "', "gemini": b'"finishReason"', "converse": b"messageStop"}
    return api in marks and marks[api] in data


def test_refused_filtered_and_empty_responses_are_not_cacheable():
    """Aharshi3614/Devwhisper#293, vllm-project/semantic-router#2130"""
    empty = Script(text="")
    filtered = attrs.evolve(GOOD, stop="content_filter")
    for api in APIS:
        for script in (empty, filtered):
            for stream in (False, True):
                assert not judge(api, body(api, script, stream=stream), stream=stream), (api, script, stream)


def test_a_response_that_ends_at_the_clients_limit_is_cacheable():
    for api in APIS:
        for stream in (False, True):
            data = body(api, attrs.evolve(GOOD, stop="length"), stream=stream)
            assert not judge(api, data, stream=stream), (api, stream)
            assert judge(api, data, stream=stream, limited=True), (api, stream)


def test_bodies_that_are_no_response_are_not_cacheable():
    def chat(**choice: Any) -> bytes:
        made = {"index": 0, "message": {"role": "assistant", "content": "one"}, "finish_reason": "stop", **choice}
        return json.dumps({"id": "1", "object": "chat.completion", "model": "m", "choices": [made]}).encode()

    assert judge("chat", chat(), stream=False)
    refusal = {"role": "assistant", "content": None, "refusal": "I cannot"}
    delta = {"index": 0, "delta": {"content": "one"}, "finish_reason": None}
    open_ended = b"data: " + json.dumps({"id": "1", "model": "m", "choices": [delta]}).encode() + b"\n\n"
    for data, stream in (
        (chat(message=refusal), False),
        (chat(finish_reason=None), False),
        (b"", False), (b"{}", False), (b"<html>", False), (b'{"error": {"message": "no"}}', False),
        (b"", True), (b"data: [DONE]\n\n", True), (open_ended + b"data: [DONE]\n\n", True),
        (open_ended + b'data: {"error": {"message": "broke"}}\n\n', True),
    ):  # fmt: skip
        assert not judge("chat", data, stream=stream), data
