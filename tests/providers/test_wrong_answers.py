"""Invalid whole answers: a 502 with the wrong member, in every API."""

import json
import re
from typing import Any

import pytest

from providers.apis import CODECS
from streams.errors import GatewayError
from streams.fold import fold
from tests.support.cases import case
from tests.support.each_row import each_row

MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
    "stop_sequence": None, "content": [], "usage": {"input_tokens": 15, "output_tokens": 9},
}  # fmt: skip
RESPONSE = {"object": "response", "status": "completed"}
NO_ANSWERS: dict[str, tuple[bytes, ...]] = {
    "chat": (b"[]", b"{}", b'{"choices":[]}', b'{"choices":null}', b'{"choices":[{"index":0,"message":{"role":"assi'),
    "messages": (b"[]", b'{"choices":[]}', b"\xff", b'{"content":"x"}', b"[" * 5000),
    "responses": (b"[]", b'{"a":1}', b'{"object":"list","data":[]}'),
    "gemini": (b"{}", b"[]", b"null", b"no", b'{"choices": []}',
               b'{"candidates": [{"content": {"parts": [{"text": 5}]}}]}'),
    "converse": (b"{", b"[]", b'"x"', b"{}", b'{"output": {}}', b'{"output": {"message": {"content": [{"text": 1}]}}}'),
    "interactions": (b"{", b"[]", b'"x"', b"{}", b'{"status": 1}', b'{"status": "completed", "steps": {}}',
                     b'{"status": "completed", "steps": [{"type": "model_output", "content": "x"}]}'),
}  # fmt: skip


@each_row("api", CODECS)
def test_an_invalid_answer_is_a_502(api):
    for body in (b"", b"<html>", *NO_ANSWERS[api]):
        with case(body), pytest.raises(GatewayError) as caught:
            CODECS[api].read_answer(body)
        assert (caught.value.info.status, caught.value.info.reason) == (502, "bad_answer")


def choice(**message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": "a", **message}, "finish_reason": "stop"}]}


WRONG: dict[str, list[tuple[dict[str, Any], str]]] = {
    "chat": [
        ({"choices": 7}, "choices"),
        ({"choices": ["x"]}, "choices[0]"),
        ({"choices": [{"message": "x"}]}, "choices[0].message"),
        (choice(content={}), "choices[0].message.content"),
        (choice(content=7), "choices[0].message.content"),
        (choice(content=["a"]), "choices[0].message.content[0]"),
        (choice(content=[{"type": "text", "text": {}}]), "choices[0].message.content[0].text"),
        (choice(refusal={}), "choices[0].message.refusal"),
        (choice(tool_calls="f"), "choices[0].message.tool_calls"),
        (choice(tool_calls=["f"]), "choices[0].message.tool_calls[0]"),
        (choice(tool_calls=[{"function": "f"}]), "choices[0].message.tool_calls[0].function"),
        (choice(tool_calls=[{"function": {"name": {}}}]), "choices[0].message.tool_calls[0].function.name"),
        (choice(function_call="f"), "choices[0].message.function_call"),
        ({**choice(), "usage": [1]}, "usage"),
    ],
    "messages": [
        (MESSAGE | {"content": "x"}, "content"),
        (MESSAGE | {"content": ["x"]}, "content[0]"),
        (MESSAGE | {"content": [{"type": "text", "text": {}}]}, "content[0].text"),
        (MESSAGE | {"content": [{"type": "thinking", "thinking": 7}]}, "content[0].thinking"),
        (MESSAGE | {"content": [{"type": "tool_use", "name": {}}]}, "content[0].name"),
        (MESSAGE | {"usage": [1]}, "usage"),
        (MESSAGE | {"stop_reason": {}}, "stop_reason"),
    ],
    "responses": [
        (RESPONSE | {"output": {"a": 1}}, "output"),
        (RESPONSE | {"output": ["x"]}, "output[0]"),
        (RESPONSE | {"output": [{"type": "message", "content": "x"}]}, "output[0].content"),
        (RESPONSE | {"output": [{"type": "message", "content": ["x"]}]}, "output[0].content[0]"),
        (RESPONSE | {"output": [{"type": "message", "content": [{"type": "output_text", "text": {}}]}]},
         "output[0].content[0].text"),
        (RESPONSE | {"output": [{"type": "reasoning", "summary": "x"}]}, "output[0].summary"),
        (RESPONSE | {"output": [{"type": "function_call", "name": {}}]}, "output[0].name"),
        (RESPONSE | {"output": [], "usage": [1]}, "usage"),
        (RESPONSE | {"output": [], "status": 7}, "status"),
    ],
}  # fmt: skip


@each_row("api, answer, at", [(api, *row) for api, rows in WRONG.items() for row in rows])
def test_a_member_of_a_wrong_type_is_a_502_for_a_client_of_another_api(api, answer, at):
    with pytest.raises(GatewayError, match=f"{re.escape(at)} is not") as caught:
        CODECS[api].read_answer(json.dumps(answer).encode())
    assert caught.value.info.status == 502


@each_row(
    ("api", "answer"),
    [
        ("chat", {**choice(content={}, tool_calls="x"), "usage": []}),
        ("messages", MESSAGE | {"content": [7, {"type": "text", "text": {}}], "usage": 7}),
        ("responses", RESPONSE | {"output": {"a": 1}, "usage": [1]}),
    ],
)
def test_an_answer_that_passes_unchanged_may_have_any_members(api, answer):
    folded = fold(CODECS[api].read_answer(json.dumps(answer).encode(), checked=False))
    assert (folded.blocks, folded.end.reason) == ((), "stop")
