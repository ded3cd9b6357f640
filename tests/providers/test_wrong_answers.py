"""Invalid whole answers: a 502 with the wrong member, in every API."""

import json
import re
from typing import Any

import pytest

from providers.apis import CODECS
from streams.errors import GatewayError
from streams.events import AnswerEnd, ErrorInfo, ToolCallDelta, Usage
from streams.fold import ToolCallBlock, fold
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
    for body in (b"", b"<html>", b'{"\xff":1}', *NO_ANSWERS[api]):
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
    ],
    "messages": [
        (MESSAGE | {"content": "x"}, "content"),
        (MESSAGE | {"content": ["x"]}, "content[0]"),
        (MESSAGE | {"content": [{"type": "text", "text": {}}]}, "content[0].text"),
        (MESSAGE | {"content": [{"type": "thinking", "thinking": 7}]}, "content[0].thinking"),
        (MESSAGE | {"content": [{"type": "tool_use", "name": {}}]}, "content[0].name"),
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


def call_events(api: str, arguments: Any) -> list[tuple[str, Any]]:
    """Return the events of a stream with one call, each with its name."""
    function = {"index": 0, "id": "c", "function": {"name": "f", "arguments": arguments}}
    item = {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": ""}
    part = {"functionCall": {"name": "f", "args": arguments}}
    return {
        "chat": [("", {"choices": [{"index": 0, "delta": {"tool_calls": [function]}}]})],
        "responses": [
            ("", {"type": "response.output_item.added", "output_index": 0, "item": item}),
            ("", {"type": "response.output_item.done", "output_index": 0, "item": item | {"arguments": arguments}}),
        ],
        "gemini": [("", {"candidates": [{"content": {"parts": [part]}}]})],
        "converse": [
            ("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "c", "name": "f"}}}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": arguments}}}),
        ],
        "interactions": [
            ("", {"event_type": "step.start", "index": 0,
                  "step": {"type": "function_call", "id": "c", "name": "f", "arguments": arguments}}),
        ],
    }[api]  # fmt: skip


@each_row("api", ["chat", "responses", "gemini", "converse", "interactions"])
def test_arguments_of_a_wrong_type_are_not_dropped(api):
    """A program would run the tool without arguments. Some local servers send the object instead of its text."""
    for arguments in ([1, "a"], {"a": 1}, 5, True):
        if api == "interactions" and isinstance(arguments, dict):
            continue  # its right type
        reader = CODECS[api].reader()
        events = [event for name, value in call_events(api, arguments) for event in
                  reader.read_event(name, json.dumps(value).encode())]  # fmt: skip
        text = "".join(event.text for event in events if isinstance(event, ToolCallDelta))
        assert json.loads(text) == arguments


def whole_call(api: str, arguments: Any) -> Any:
    """Return a whole answer with one call."""
    call = {"id": "c", "name": "f", "input": arguments}
    item = {"type": "function_call", "call_id": "c", "name": "f", "arguments": arguments}
    part = {"functionCall": {"name": "f", "args": arguments}}
    use = {"toolUse": {"toolUseId": "c", "name": "f", "input": arguments}}
    return {
        "chat": choice(tool_calls=[{"id": "c", "function": {"name": "f", "arguments": arguments}}]),
        "messages": MESSAGE | {"content": [{"type": "tool_use", **call}]},
        "responses": RESPONSE | {"output": [item]},
        "gemini": {"candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}]},
        "converse": {"output": {"message": {"content": [use]}}, "stopReason": "tool_use"},
        "interactions": {"status": "requires_action", "steps": [item]},
    }[api]


@pytest.mark.parametrize("api", CODECS)
@each_row("arguments", ([1, "a"], {"a": 1}, 5, True, '{"a": 1}', "text", '{"a":'))
def test_a_whole_answer_keeps_arguments_of_every_type(api, arguments):
    """Answers of some APIs were a 502, and a string in others was encoded twice."""
    (call,) = (
        block
        for block in fold(CODECS[api].read_answer(json.dumps(whole_call(api, arguments)).encode())).blocks
        if isinstance(block, ToolCallBlock)
    )
    assert call.input == arguments if isinstance(arguments, str) else json.loads(call.input) == arguments


LOST_CALLS: dict[str, list[list[tuple[str, Any]]]] = {
    "messages": [
        [
            ("", {"type": "message_start", "message": MESSAGE}),
            *before,
            ("", {"type": "content_block_delta", "index": 1,
                  "delta": {"type": "input_json_delta", "partial_json": '{"a":1}'}}),
            ("", {"type": "message_delta", "delta": {"stop_reason": "tool_use"},
                "usage": {"input_tokens": 3, "output_tokens": 4}}),
            ("", {"type": "message_stop"}),
        ]
        for start in ({}, *({"type": kind, kind: "Hm"} for kind in ("text", "thinking")))
        for before in (
            [("", {"type": "content_block_start", "index": 1, "content_block": start})] if start else [],
            [("", {"type": "content_block_stop", "index": 1})],
        )
    ],
    "responses": [
        [
            ("", {"type": "response.created", "response": RESPONSE}),
            ("", {"type": kind, "output_index": 0, "item_id": "fc", **arguments}),
            ("", {"type": "response.completed", "response": {**RESPONSE, "output": [],
                "usage": {"input_tokens": 3, "output_tokens": 4}}}),
        ]
        for kind, arguments in (
            ("response.function_call_arguments.delta", {"delta": '{"a":1}'}),
            ("response.function_call_arguments.done", {"arguments": '{"a":1}'}),
            ("response.custom_tool_call_input.done", {"input": "a"}),
        )
    ],
    "converse": [
        [
            ("messageStart", {"role": "assistant"}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": "{}"}}}),
            ("messageStop", {"stopReason": "tool_use"}),
            ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 4}}),
        ]
    ],
    "interactions": [
        [
            *before,
            ("", {"event_type": "step.delta", "index": 0, "delta": {**kind, "arguments": '{"a":1}'}}),
            ("", {"event_type": "interaction.completed", "interaction": {"status": "requires_action",
                "usage": {"total_input_tokens": 3, "total_output_tokens": 4}}}),
        ]
        for kind in ({}, {"type": "arguments_delta"})
        for before in ([], [("", {"event_type": "step.start", "index": 0, "step": {}})])
    ],
}  # fmt: skip


@each_row("api, sent", [(api, sent) for api, streams in LOST_CALLS.items() for sent in streams])
def test_arguments_of_a_call_without_a_start_fail_the_answer(api, sent):
    """The answer looked complete, without the call. Chat and Gemini have no start of a call."""
    reader = CODECS[api].reader()
    events = [event for name, value in sent for event in reader.read_event(name, json.dumps(value).encode())]
    events += reader.close()
    assert isinstance(events[-1], ErrorInfo)
    assert (events[-1].reason, events[-1].native) == ("bad_answer", False)
    assert api == "converse" or events[-2] == Usage(3, output=4)
    assert not any(isinstance(event, AnswerEnd) for event in events)


def test_arguments_before_their_call_are_not_lost():
    """Some servers announce no items, or not by name."""
    item = {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": '{"a":1}'}
    sent = [
        {"type": "response.function_call_arguments.done", "output_index": 0, "item_id": "fc", "arguments": '{"a":1}'},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {**RESPONSE, "output": [item]}},
    ]
    for left in (sent, [sent[0], sent[2]], [sent[0], {**sent[1], "output_index": 1}, sent[2]]):
        reader = CODECS["responses"].reader()
        events = [event for value in left for event in reader.read_event("", json.dumps(value).encode())]
        assert fold(events).blocks == (ToolCallBlock("c", "f", '{"a":1}'),)
