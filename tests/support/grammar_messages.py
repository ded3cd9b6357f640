"""A good answer of Messages, and changes that each break a rule of its grammar."""

from typing import Any

from tests.support.grammar_changes import (
    Events,
    GrammarCase,
    add,
    cut,
    drop,
    end,
    in_turn,
    put,
    sse_frames,
    with_other_first_line,
)

USAGE = {
    "input_tokens": 15, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 3, "output_tokens": 1,
    "cache_creation": None, "output_tokens_details": None, "server_tool_use": None, "service_tier": None,
    "inference_geo": None,
}  # fmt: skip
MESSAGE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
    "stop_sequence": None, "stop_details": None, "container": None, "diagnostics": None, "usage": USAGE,
}  # fmt: skip


def start(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **members: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **members}}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


TOOL = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}, "caller": {"type": "direct"}}
STREAM: Events = [
    {"type": "message_start", "message": MESSAGE},
    {"type": "ping"},
    start(0, type="thinking", thinking="", signature=""),
    delta(0, "thinking_delta", thinking="hm"),
    delta(0, "signature_delta", signature="s1"),
    stop(0),
    start(1, type="text", text="", citations=[]),
    delta(1, "text_delta", text="Hi"),
    stop(1),
    start(2, **TOOL),
    delta(2, "input_json_delta", partial_json='{"a":'),
    delta(2, "input_json_delta", partial_json="1}"),
    stop(2),
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None, "stop_details": None, "container": None},
        "usage": {"input_tokens": 15, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 4}},
    },
    {"type": "message_stop"},
]
THINKING = {"type": "thinking", "thinking": "hm", "signature": "s1"}
WHOLE = {
    **MESSAGE, "stop_reason": "tool_use",
    "content": [THINKING, {"type": "text", "text": "Hi", "citations": []}, {**TOOL, "input": {"a": 1}}],
}  # fmt: skip
ERROR = {"type": "error", "error": {"type": "api_error", "message": "no"}, "request_id": "r1"}

OPENAI_ERROR = {"error": {"message": "no", "type": "server_error", "param": None, "code": None}}

CASE = GrammarCase(
    api="messages",
    stream=STREAM,
    whole=WHOLE,
    error=ERROR,
    failed=end(8, ERROR),
    half_said=in_turn(cut(11, 12), put(12, "delta", "stop_reason", "max_tokens")),
    frames=lambda events: sse_frames("messages", events),
    broken=[
        ("messages.done", add(15, "[DONE]")),
        ("messages.event.known", add(3, {"type": "message_pause"})),
        ("messages.event.shape", drop(3, "delta")),
        ("messages.start.first", cut(0, 1)),
        ("messages.start.first", cut(0, 2)),
        ("messages.start.once", add(1, STREAM[0])),
        ("messages.start.once", add(8, STREAM[0])),
        ("messages.block.contiguous", cut(5, 6)),
        ("messages.block.open", cut(2, 3)),
        ("messages.block.open", put(3, "index", 1)),
        ("messages.block.open", put(5, "index", 1)),
        ("messages.block.index", put(6, "index", 2)),
        ("messages.block.index", put(2, "index", 1)),
        ("messages.block.late", add(14, start(3, **TOOL))),
        ("messages.delta.blocks", cut(12, 13)),
        ("messages.delta.blocks", cut(12, 14)),
        ("messages.delta.once", add(14, STREAM[13])),
        ("messages.stop.delta", cut(13, 14)),
        ("messages.stop.last", add(15, {"type": "ping"})),
        ("messages.stop.last", add(15, STREAM[14])),
        ("messages.error.last", end(8, ERROR, STREAM[14])),
        ("messages.end", end(14)),
        ("messages.end", end(0)),
        ("messages.message.shape", drop(0, "message", "id")),
        ("messages.message.shape", put(0, "message", "role", None)),
        ("messages.message.keys", drop(0, "message", "container")),
        ("messages.message.id", put(0, "message", "id", "gen-1")),
        ("messages.start.empty", put(0, "message", "content", [THINKING])),
        ("messages.start.empty", put(0, "message", "stop_reason", "end_turn")),
        ("messages.usage.ints", put(0, "message", "usage", "input_tokens", None)),
        ("messages.usage.ints", put(13, "usage", "output_tokens", -1)),
        ("messages.usage.ints", put(13, "usage", "cache_creation", {"ephemeral_5m_input_tokens": 1})),
        ("messages.usage.keys", drop(0, "message", "usage", "service_tier")),
        ("messages.usage.thinking", put(13, "usage", "output_tokens", 3)),
        ("messages.usage.input", drop(13, "usage", "input_tokens")),
        ("messages.delta.keys", drop(13, "delta", "container")),
        ("messages.reason.known", put(13, "delta", "stop_reason", "stop")),
        ("messages.reason.calls", put(13, "delta", "stop_reason", "end_turn")),
        ("messages.reason.calls", cut(9, 13)),
        ("messages.reason.sequence", put(13, "delta", "stop_sequence", "X")),
        ("messages.reason.sequence", put(13, "delta", "stop_reason", "stop_sequence")),
        ("messages.block.known", put(6, "content_block", "type", "song")),
        ("messages.block.shape", drop(9, "content_block", "name")),
        ("messages.block.members", drop(6, "content_block", "citations")),
        ("messages.block.members", drop(9, "content_block", "caller")),
        ("messages.block.empty", put(9, "content_block", "input", {"a": 1})),
        ("messages.block.empty", put(6, "content_block", "text", "H")),
        ("messages.block.empty", drop(2, "content_block", "signature")),
        ("messages.text.said", cut(7, 8)),
        ("messages.piece.known", put(7, "delta", "type", "song_delta")),
        ("messages.piece.fits", put(3, "delta", {"type": "text_delta", "text": "x"})),
        ("messages.piece.fits", put(7, "delta", {"type": "thinking_delta", "thinking": "x"})),
        ("messages.piece.shape", put(7, "delta", "text", None)),
        ("messages.input.empty", put(10, "delta", "partial_json", "")),
        ("messages.input.json", cut(11, 12)),
        ("messages.input.json", in_turn(put(10, "delta", "partial_json", "[1"), put(11, "delta", "partial_json", "]"))),
        ("messages.tool.id", put(9, "content_block", "id", "call:1")),
        ("messages.tool.unique", add(13, start(3, **TOOL), stop(3))),
        ("messages.signature.last", add(5, STREAM[3])),
        ("messages.signature.last", add(5, STREAM[4])),
        ("messages.signature.there", cut(4, 5)),
        ("messages.error.shape", end(8, {"type": "error", "error": "no"})),
        ("messages.error.type", end(8, {"type": "error", "error": {"type": "None", "message": "no"}})),
    ],
    broken_wholes=[
        ("messages.whole.ended", put("stop_reason", None)),
        ("messages.message.shape", drop("content")),
        ("messages.reason.calls", put("stop_reason", "end_turn")),
        ("messages.block.shape", drop("content", 2, "input")),
        ("messages.signature.there", drop("content", 0, "signature")),
        ("messages.error.request_id", lambda _: {"type": "error", "error": ERROR["error"]}),
        ("messages.error.shape", lambda _: OPENAI_ERROR),
    ],
    broken_bodies=lambda frames: [
        ("frame.blank_line", b"".join(frames)[:-1]), ("messages.whole.json", b'{"id": '),
        *(("messages.frame.name", with_other_first_line(frames, line)) for line in (b"", b"event: other\n")),
    ],
)  # fmt: skip
