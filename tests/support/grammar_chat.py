"""A good answer of Chat, and changes that each break a rule of its grammar."""

from typing import Any

from tests.support.grammar_changes import (
    Events,
    GrammarCase,
    apply_all,
    insert_events,
    remove_events,
    remove_value,
    replace_events_from,
    set_value,
    sse_frames,
)


def chunk(change: dict[str, Any] | None = None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": change or {}, "finish_reason": reason, "logprobs": None}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m"}
    return {**head, "choices": [choice], **more}


def piece(index: int, text: str, **more: Any) -> dict[str, Any]:
    return {"index": index, "function": {"arguments": text}, **more}


FIRST = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
SECOND = {"index": 1, "id": "call_2", "type": "function", "function": {"name": "f", "arguments": '{"b":2}'}}
COUNTS = {
    "prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2},
}  # fmt: skip
STREAM: Events = [
    chunk({"role": "assistant", "content": ""}),
    chunk({"reasoning_content": "hm"}),
    chunk({"content": "Hi"}),
    chunk({"tool_calls": [FIRST]}),
    chunk({"tool_calls": [piece(0, '{"a":')]}),
    chunk({"tool_calls": [SECOND]}),
    chunk({"tool_calls": [piece(0, "1}")]}),
    chunk({}, "tool_calls"),
    {**chunk(), "choices": [], "usage": COUNTS},
    "[DONE]",
]
WHOLE = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 5, "model": "m", "usage": COUNTS,
    "choices": [{
        "index": 0, "finish_reason": "tool_calls", "logprobs": None,
        "message": {"role": "assistant", "content": None, "refusal": None, "annotations": [], "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        ]},
    }],
}  # fmt: skip
ERROR = {"error": {"message": "no", "type": "server_error", "param": None, "code": None}}


CASE = GrammarCase(
    api="chat",
    stream=STREAM,
    whole=WHOLE,
    error=ERROR,
    failed=replace_events_from(3, ERROR),
    half_said=apply_all(remove_events(6, 7), set_value(6, "choices", 0, "finish_reason", "length")),
    frames=lambda events: sse_frames("chat", events),
    broken=[
        ("chat.chunk.object", set_value(2, "object", "chat.completion")),
        ("chat.chunk.shape", remove_value(8, "choices")),
        ("chat.chunk.shape", set_value(0, "created", None)),
        ("chat.chunk.id", set_value(0, "id", "gen-1")),
        ("chat.chunk.same", set_value(2, "id", "chatcmpl-2")),
        ("chat.chunk.same", set_value(8, "model", "other")),
        ("chat.choice.shape", remove_value(2, "choices", 0, "index")),
        ("chat.choice.keys", remove_value(2, "choices", 0, "finish_reason")),
        ("chat.choice.none", set_value(2, "choices", [])),
        ("chat.delta.shape", set_value(2, "choices", 0, "delta", "content", [{"type": "text"}])),
        ("chat.delta.reasoning", set_value(1, "choices", 0, "delta", "reasoning", "hm")),
        ("chat.role.first", remove_events(0, 1)),
        ("chat.role.once", set_value(2, "choices", 0, "delta", "role", "assistant")),
        ("chat.finish.once", insert_events(8, STREAM[7])),
        ("chat.finish.last", insert_events(8, STREAM[2])),
        ("chat.finish.alone", set_value(7, "choices", 0, "delta", "content", "x")),
        ("chat.finish.there", remove_events(7, 8)),
        ("chat.finish.there", remove_events(7, 9)),
        ("chat.finish.there", remove_events(0, 9)),
        ("chat.done.last", insert_events(10, "[DONE]")),
        ("chat.done.last", insert_events(10, ERROR)),
        ("chat.error.last", replace_events_from(3, ERROR, "[DONE]")),
        ("chat.end", replace_events_from(9)),
        ("chat.end", replace_events_from(4)),
        ("chat.finish.known", set_value(7, "choices", 0, "finish_reason", "STOP")),
        ("chat.finish.calls", set_value(7, "choices", 0, "finish_reason", "stop")),
        ("chat.finish.calls", remove_events(3, 7)),
        ("chat.tool.index", set_value(5, "choices", 0, "delta", "tool_calls", 0, "index", 2)),
        ("chat.tool.index", set_value(5, "choices", 0, "delta", "tool_calls", 0, "index", 0)),
        ("chat.tool.index", remove_value(3, "choices", 0, "delta", "tool_calls", 0, "index")),
        ("chat.tool.begin", remove_value(3, "choices", 0, "delta", "tool_calls", 0, "function", "name")),
        ("chat.tool.type", remove_value(3, "choices", 0, "delta", "tool_calls", 0, "type")),
        ("chat.tool.id", set_value(3, "choices", 0, "delta", "tool_calls", 0, "id", "")),
        ("chat.tool.id", set_value(5, "choices", 0, "delta", "tool_calls", 0, "id", "call_1")),
        ("chat.tool.repeat", set_value(4, "choices", 0, "delta", "tool_calls", 0, "id", "call_1")),
        ("chat.tool.repeat", set_value(4, "choices", 0, "delta", "tool_calls", 0, "function", "name", "f")),
        ("chat.tool.json", remove_events(6, 7)),
        ("chat.tool.json", set_value(5, "choices", 0, "delta", "tool_calls", 0, "function", "arguments", "")),
        ("chat.usage.last", insert_events(9, STREAM[8])),
        ("chat.usage.last", insert_events(9, STREAM[2])),
        ("chat.usage.alone", set_value(2, "usage", COUNTS)),
        ("chat.usage.ints", set_value(8, "usage", "prompt_tokens", None)),
        ("chat.usage.ints", set_value(8, "usage", "prompt_tokens_details", "cached_tokens", None)),
        ("chat.usage.total", set_value(8, "usage", "total_tokens", 16)),
        ("chat.usage.parts", set_value(8, "usage", "completion_tokens_details", "reasoning_tokens", 6)),
        ("chat.error.shape", replace_events_from(3, {"error": {"type": "server_error"}})),
        ("chat.error.code", replace_events_from(3, {"error": {**ERROR["error"], "code": "400"}})),
    ],
    broken_wholes=[
        ("chat.whole.shape", remove_value("choices")),
        ("chat.whole.shape", remove_value("choices", 0, "message", "role")),
        ("chat.whole.object", set_value("object", "text_completion")),
        ("chat.whole.keys", remove_value("choices", 0, "logprobs")),
        ("chat.whole.keys", remove_value("choices", 0, "message", "content")),
        ("chat.whole.keys", remove_value("choices", 0, "message", "annotations")),
        ("chat.whole.calls", set_value("choices", 0, "message", "tool_calls", [])),
        ("chat.finish.calls", set_value("choices", 0, "finish_reason", "stop")),
        ("chat.tool.json", set_value("choices", 0, "message", "tool_calls", 0, "function", "arguments", "")),
        ("chat.usage.total", set_value("usage", "total_tokens", 1)),
        ("chat.error.shape", lambda _: {"error": "no"}),
    ],
    broken_bodies=lambda frames: [
        ("frame.blank_line", b"".join(frames)[:-1]), ("chat.whole.json", b'{"id": '),
        ("chat.frame.unnamed", b"event: error\n".join([b"", *frames])),
    ],
)  # fmt: skip
