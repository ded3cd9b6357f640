"""A good answer of Messages, and changes that each break a rule of its grammar."""

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
    failed=replace_events_from(8, ERROR),
    half_said=apply_all(remove_events(11, 12), set_value(12, "delta", "stop_reason", "max_tokens")),
    frames=lambda events: sse_frames("messages", events),
    broken=[
        ("messages.done", insert_events(15, "[DONE]")),
        ("messages.event.known", insert_events(3, {"type": "message_pause"})),
        ("messages.event.shape", remove_value(3, "delta")),
        ("messages.start.first", remove_events(0, 1)),
        ("messages.start.first", remove_events(0, 2)),
        ("messages.start.once", insert_events(1, STREAM[0])),
        ("messages.start.once", insert_events(8, STREAM[0])),
        ("messages.block.contiguous", remove_events(5, 6)),
        ("messages.block.open", remove_events(2, 3)),
        ("messages.block.open", set_value(3, "index", 1)),
        ("messages.block.open", set_value(5, "index", 1)),
        ("messages.block.index", set_value(6, "index", 2)),
        ("messages.block.index", set_value(2, "index", 1)),
        ("messages.block.late", insert_events(14, start(3, **TOOL))),
        ("messages.delta.blocks", remove_events(12, 13)),
        ("messages.delta.blocks", remove_events(12, 14)),
        ("messages.delta.once", insert_events(14, STREAM[13])),
        ("messages.stop.delta", remove_events(13, 14)),
        ("messages.stop.last", insert_events(15, {"type": "ping"})),
        ("messages.stop.last", insert_events(15, STREAM[14])),
        ("messages.error.last", replace_events_from(8, ERROR, STREAM[14])),
        ("messages.end", replace_events_from(14)),
        ("messages.end", replace_events_from(0)),
        ("messages.message.shape", remove_value(0, "message", "id")),
        ("messages.message.shape", set_value(0, "message", "role", None)),
        ("messages.message.keys", remove_value(0, "message", "container")),
        ("messages.message.id", set_value(0, "message", "id", "gen-1")),
        ("messages.start.empty", set_value(0, "message", "content", [THINKING])),
        ("messages.start.empty", set_value(0, "message", "stop_reason", "end_turn")),
        ("messages.usage.ints", set_value(0, "message", "usage", "input_tokens", None)),
        ("messages.usage.ints", set_value(13, "usage", "output_tokens", -1)),
        ("messages.usage.ints", set_value(13, "usage", "cache_creation", {"ephemeral_5m_input_tokens": 1})),
        ("messages.usage.keys", remove_value(0, "message", "usage", "service_tier")),
        ("messages.usage.thinking", set_value(13, "usage", "output_tokens", 3)),
        ("messages.usage.input", remove_value(13, "usage", "input_tokens")),
        ("messages.delta.keys", remove_value(13, "delta", "container")),
        ("messages.reason.known", set_value(13, "delta", "stop_reason", "stop")),
        ("messages.reason.calls", set_value(13, "delta", "stop_reason", "end_turn")),
        ("messages.reason.calls", remove_events(9, 13)),
        ("messages.reason.sequence", set_value(13, "delta", "stop_sequence", "X")),
        ("messages.reason.sequence", set_value(13, "delta", "stop_reason", "stop_sequence")),
        ("messages.block.known", set_value(6, "content_block", "type", "song")),
        ("messages.block.shape", remove_value(9, "content_block", "name")),
        ("messages.block.members", remove_value(6, "content_block", "citations")),
        ("messages.block.members", remove_value(9, "content_block", "caller")),
        ("messages.block.empty", set_value(9, "content_block", "input", {"a": 1})),
        ("messages.block.empty", set_value(6, "content_block", "text", "H")),
        ("messages.block.empty", remove_value(2, "content_block", "signature")),
        ("messages.text.said", remove_events(7, 8)),
        ("messages.piece.known", set_value(7, "delta", "type", "song_delta")),
        ("messages.piece.fits", set_value(3, "delta", {"type": "text_delta", "text": "x"})),
        ("messages.piece.fits", set_value(7, "delta", {"type": "thinking_delta", "thinking": "x"})),
        ("messages.piece.shape", set_value(7, "delta", "text", None)),
        ("messages.input.empty", set_value(10, "delta", "partial_json", "")),
        ("messages.input.json", remove_events(11, 12)),
        ("messages.input.json", apply_all(set_value(10, "delta", "partial_json", "[1"), set_value(11, "delta",
         "partial_json", "]"))),
        ("messages.tool.id", set_value(9, "content_block", "id", "call:1")),
        ("messages.tool.unique", insert_events(13, start(3, **TOOL), stop(3))),
        ("messages.signature.last", insert_events(5, STREAM[3])),
        ("messages.signature.last", insert_events(5, STREAM[4])),
        ("messages.signature.there", remove_events(4, 5)),
        ("messages.error.shape", replace_events_from(8, {"type": "error", "error": "no"})),
        ("messages.error.type", replace_events_from(8, {"type": "error", "error": {"type": "None", "message": "no"}})),
    ],
    broken_wholes=[
        ("messages.whole.ended", set_value("stop_reason", None)),
        ("messages.message.shape", remove_value("content")),
        ("messages.reason.calls", set_value("stop_reason", "end_turn")),
        ("messages.block.shape", remove_value("content", 2, "input")),
        ("messages.signature.there", remove_value("content", 0, "signature")),
        ("messages.error.request_id", lambda _: {"type": "error", "error": ERROR["error"]}),
        ("messages.error.shape", lambda _: OPENAI_ERROR),
    ],
    broken_bodies=lambda frames: [
        ("frame.blank_line", b"".join(frames)[:-1]), ("messages.whole.json", b'{"id": '),
        *(("messages.frame.name", with_other_first_line(frames, line)) for line in (b"", b"event: other\n")),
    ],
)  # fmt: skip
