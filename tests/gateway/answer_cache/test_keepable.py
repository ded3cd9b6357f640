"""Which answers are good enough to be given again, by their bytes alone."""

import json
from typing import Any

import attrs

from gateway.answer_cache.eligible import is_keepable
from providers.apis import CODECS
from tests.support.upstreams import Script, ToolCall, render

GOOD = Script(text="one two three")
CALL = Script(calls=(ToolCall("call_1", "f", '{"a": 1}'),), stop="tool_calls")
APIS = ("chat", "messages", "responses", "gemini", "converse")


def body(api: str, script: Script, *, stream: bool) -> bytes:
    return b"".join(render(script, api, {"model": "m", "stream": stream}).pieces)


def judged(api: str, data: bytes, *, stream: bool, limited: bool = False) -> bool:
    return is_keepable(api, data, CODECS[api].wire.framing if stream else None, limited=limited)


def test_a_whole_and_good_answer_is_kept_and_no_part_of_one():
    """gonka-ai/gonka#1722: half an answer was given again for an hour."""
    for api in APIS:
        for script in (GOOD, CALL):
            for stream in (False, True):
                data = body(api, script, stream=stream)
                assert judged(api, data, stream=stream), (api, script, stream)
                pieces = render(script, api, {"model": "m", "stream": stream}).pieces
                cuts = (
                    range(0, len(data) - 2, 97)
                    if not stream
                    else [sum(map(len, pieces[:n])) for n in range(len(pieces) - 2)]
                )
                for cut in cuts:
                    kept = judged(api, data[:cut], stream=stream)
                    assert not kept or (stream and _has_ended(api, data[:cut])), (api, stream, cut)


def _has_ended(api: str, data: bytes) -> bool:
    """Whether what is missing is less than the end of the answer: counts, or the mark behind a finish reason."""
    marks = {"chat": b'"finish_reason": "', "gemini": b'"finishReason"', "converse": b"messageStop"}
    return api in marks and marks[api] in data


def test_an_answer_that_refuses_or_is_filtered_or_empty_is_not_kept():
    """Aharshi3614/Devwhisper#293, vllm-project/semantic-router#2130"""
    empty = Script(text="")
    filtered = attrs.evolve(GOOD, stop="content_filter")
    for api in APIS:
        for script in (empty, filtered):
            for stream in (False, True):
                assert not judged(api, body(api, script, stream=stream), stream=stream), (api, script, stream)


def test_an_answer_that_ends_by_its_length_is_kept_where_the_client_has_set_one():
    for api in APIS:
        for stream in (False, True):
            data = body(api, attrs.evolve(GOOD, stop="length"), stream=stream)
            assert not judged(api, data, stream=stream), (api, stream)
            assert judged(api, data, stream=stream, limited=True), (api, stream)


def test_what_is_no_answer_is_not_kept():
    def chat(**choice: Any) -> bytes:
        made = {"index": 0, "message": {"role": "assistant", "content": "one"}, "finish_reason": "stop", **choice}
        return json.dumps({"id": "1", "object": "chat.completion", "model": "m", "choices": [made]}).encode()

    assert judged("chat", chat(), stream=False)
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
        assert not judged("chat", data, stream=stream), data
