"""A good answer of Responses, and changes that each break a rule of its grammar."""

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

TOKENS = {
    "input_tokens": 10, "output_tokens": 5, "total_tokens": 15,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 2},
}  # fmt: skip
SUMMARY = {"type": "summary_text", "text": "hm"}
SAID = {"type": "output_text", "text": "Hi", "annotations": [], "logprobs": []}
REASONING = {"id": "rs_1", "type": "reasoning", "summary": [SUMMARY]}
SPOKEN = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [SAID]}
CALLED = {
    "id": "fc_1", "type": "function_call", "status": "completed", "call_id": "call_1", "name": "f",
    "arguments": '{"a":1}',
}  # fmt: skip


TOLD_TOOL = {"type": "function", "name": "f", "description": None, "parameters": None, "strict": False}
TOLD_FORMAT = {"type": "json_schema", "name": "out", "description": None, "schema": {}, "strict": True}


def response(status: str, output: Any = (), usage: Any = None) -> dict[str, Any]:
    return {
        "id": "resp_1", "object": "response", "created_at": 5, "status": status, "model": "m", "output": list(output),
        "usage": usage, "parallel_tool_calls": True, "tools": [TOLD_TOOL], "error": None, "incomplete_details": None,
        "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
        "instructions": None, "metadata": {}, "temperature": 1.0, "top_p": 1.0, "text": {"format": TOLD_FORMAT},
        "presence_penalty": 0.0, "frequency_penalty": 0.0, "top_logprobs": 0, "truncation": "disabled",
        "reasoning": {"effort": None, "summary": None}, "max_output_tokens": None, "max_tool_calls": None,
        "store": False, "background": False, "service_tier": "auto", "previous_response_id": None,
        "safety_identifier": None, "prompt_cache_key": None, "completed_at": 5 if status == "completed" else None,
    }  # fmt: skip


def event(name: str, index: int | None = None, id: str = "", /, **members: Any) -> dict[str, Any]:
    place = {} if index is None else {"output_index": index}
    return {"type": f"response.{name}", **place, **({"item_id": id} if id else {}), **members}


ALARM = {"type": "error", "error": {"type": "server_error", "code": "server_error", "message": "no", "param": None}}
FAILED = event("failed", response=response("failed") | {"error": {"code": "server_error", "message": "no"}})

STREAM: Events = [
    event("created", response=response("in_progress")),  # 0
    event("in_progress", response=response("in_progress")),
    event("output_item.added", 0, item={**REASONING, "summary": []}),
    event("reasoning_summary_part.added", 0, "rs_1", summary_index=0, part={**SUMMARY, "text": ""}),
    event("reasoning_summary_text.delta", 0, "rs_1", summary_index=0, delta="hm"),
    event("reasoning_summary_text.done", 0, "rs_1", summary_index=0, text="hm"),  # 5
    event("reasoning_summary_part.done", 0, "rs_1", summary_index=0, part=SUMMARY),
    event("output_item.done", 0, item=REASONING),
    event("output_item.added", 1, item={**SPOKEN, "status": "in_progress", "content": []}),
    event("content_part.added", 1, "msg_1", content_index=0, part={**SAID, "text": ""}),
    event("output_text.delta", 1, "msg_1", content_index=0, delta="H", logprobs=[]),  # 10
    event("output_text.delta", 1, "msg_1", content_index=0, delta="i", logprobs=[]),
    event("output_text.done", 1, "msg_1", content_index=0, text="Hi", logprobs=[]),
    event("content_part.done", 1, "msg_1", content_index=0, part=SAID),
    event("output_item.done", 1, item=SPOKEN),
    event("output_item.added", 2, item={**CALLED, "status": "in_progress", "arguments": ""}),  # 15
    event("function_call_arguments.delta", 2, "fc_1", delta='{"a":1}'),
    event("function_call_arguments.done", 2, "fc_1", arguments='{"a":1}', name="f"),
    event("output_item.done", 2, item=CALLED),
    event("completed", response=response("completed", [REASONING, SPOKEN, CALLED], TOKENS)),
]
WHOLE = STREAM[-1]["response"]

ERROR = {"error": {"message": "no", "type": "server_error", "param": None, "code": None}}
HALF_A_CALL = apply_all(
    set_value(16, "delta", "{"), set_value(17, "arguments", "{"), set_value(18, "item", "arguments", "{"),
    set_value(19, "response", "output", 2, "arguments", "{"),
)  # fmt: skip

CASE = GrammarCase(
    api="responses",
    stream=STREAM,
    whole=WHOLE,
    error=ERROR,
    failed=replace_events_from(11, ALARM, FAILED),
    half_said=apply_all(
        HALF_A_CALL, set_value(19, "type", "response.incomplete"), set_value(19, "response", "status", "incomplete"),
        set_value(19, "response", "incomplete_details", {"reason": "max_output_tokens"}),
    ),
    frames=lambda events: sse_frames("responses", events),
    broken=[
        ("responses.done", insert_events(20, "[DONE]")),
        ("responses.number", set_value(5, "sequence_number", 4)),
        ("responses.number", set_value(0, "sequence_number", None)),
        ("responses.event.known", insert_events(5, {"type": "keepalive"})),
        ("responses.event.shape", remove_value(4, "delta")),
        ("responses.event.shape", remove_value(10, "item_id")),
        ("responses.created.first", remove_events(0, 1)),
        ("responses.created.once", insert_events(1, STREAM[0])),
        ("responses.created.once", insert_events(2, STREAM[0])),
        ("responses.in_progress", remove_events(1, 2)),
        ("responses.in_progress", insert_events(5, STREAM[1])),
        ("responses.end.last", insert_events(20, STREAM[19])),
        ("responses.end", replace_events_from(19)),
        ("responses.end", replace_events_from(0)),
        ("responses.error.event", replace_events_from(5, {"type": "error", "code": "server_error", "message": "no"})),
        ("responses.error.event", replace_events_from(11, FAILED)),
        ("responses.response.shape", remove_value(19, "response", "output")),
        ("responses.response.members", remove_value(19, "response", "tools")),
        ("responses.response.members", set_value(0, "response", "text", {})),
        ("responses.response.open", remove_value(0, "response", "presence_penalty")),
        ("responses.response.open", set_value(1, "response", "temperature", None)),
        ("responses.response.open", remove_value(0, "response", "tools", 0, "description")),
        ("responses.response.open", remove_value(1, "response", "text", "format", "description")),
        ("responses.response.open", remove_value(19, "response", "tool_choice", "mode")),
        ("responses.response.id", set_value(19, "response", "id", "resp_2")),
        ("responses.response.prefix", set_value(0, "response", "id", "gen-1")),
        ("responses.response.status", set_value(1, "response", "status", "completed_")),
        ("responses.response.why", set_value(19, "response", "error", {"code": "x", "message": "y"})),
        ("responses.response.why", apply_all(set_value(19, "type", "response.incomplete"),
                                        set_value(19, "response", "status", "incomplete"))),
        ("responses.usage.there", set_value(19, "response", "usage", None)),
        ("responses.usage.ints", set_value(19, "response", "usage", "output_tokens_details", {})),
        ("responses.usage.writes", remove_value(19, "response", "usage", "input_tokens_details", "cache_write_tokens")),
        ("responses.usage.total", set_value(19, "response", "usage", "total_tokens", 16)),
        ("responses.usage.parts", set_value(19, "response", "usage", "output_tokens_details", "reasoning_tokens", 6)),
        ("responses.item.index", set_value(8, "output_index", 2)),
        ("responses.item.index", insert_events(3, {**STREAM[2], "item": {**REASONING, "id": "rs_2"}})),
        ("responses.item.known", set_value(2, "item", "type", "song")),
        ("responses.item.shape", remove_value(2, "item", "summary")),
        ("responses.item.shape", set_value(14, "item", "content", None)),
        ("responses.item.written", remove_value(15, "item", "status")),
        ("responses.item.prefix", set_value(2, "item", "id", "gen-1")),
        ("responses.item.unique", insert_events(19, event("output_item.added", 3, item=CALLED | {"id": "fc_2"}))),
        ("responses.item.unique", insert_events(8, event("output_item.added", 1, item=REASONING))),
        ("responses.item.open", remove_events(8, 9)),
        ("responses.item.open", insert_events(15, STREAM[14])),
        ("responses.item.id", set_value(10, "item_id", "msg_2")),
        ("responses.item.same", set_value(18, "item", "call_id", "call_2")),
        ("responses.item.same", set_value(14, "item", "id", "msg_2")),
        ("responses.item.whole", set_value(14, "item", "content", [])),
        ("responses.item.whole", set_value(13, "part", "text", "Ho")),
        ("responses.item.whole", set_value(18, "item", "arguments", "{}")),
        ("responses.end.items", remove_events(18, 19)),
        ("responses.end.output", set_value(19, "response", "output", [])),
        ("responses.end.output", set_value(19, "response", "output", [SPOKEN, REASONING, CALLED])),
        ("responses.event.fits", set_value(10, "type", "response.refusal.delta")),
        ("responses.event.fits", set_value(16, "type", "response.custom_tool_call_input.delta")),
        ("responses.event.fits", set_value(9, "part", SUMMARY)),
        ("responses.event.fits", insert_events(4, event("web_search_call.searching", 0, "rs_1"))),
        ("responses.part.index", set_value(9, "content_index", 1)),
        ("responses.part.shape", remove_value(9, "part", "annotations")),
        ("responses.part.open", remove_events(9, 10)),
        ("responses.part.open", remove_events(3, 4)),
        ("responses.part.open", insert_events(14, STREAM[13])),
        ("responses.part.closed", remove_events(13, 14)),
        ("responses.text.logprobs", remove_value(10, "logprobs")),
        ("responses.text.empty", set_value(10, "delta", "")),
        ("responses.text.same", set_value(12, "text", "Ho")),
        ("responses.text.same", remove_events(11, 12)),
        ("responses.text.last", insert_events(13, STREAM[12])),
        ("responses.text.closed", remove_events(12, 13)),
        ("responses.text.closed", remove_events(17, 18)),
        ("responses.text.closed", remove_events(16, 18)),
        ("responses.call.name", remove_value(17, "name")),
        ("responses.call.json", HALF_A_CALL),
    ],
    broken_wholes=[
        ("responses.whole.ended", set_value("status", "queued")),
        ("responses.response.shape", remove_value("id")),
        ("responses.item.shape", remove_value("output", 1, "role")),
        ("responses.item.unique", set_value("output", 1, REASONING)),
        ("responses.call.json", set_value("output", 2, "arguments", "")),
        ("responses.error.shape", lambda _: {"error": {"message": "no"}}),
        ("responses.error.code", lambda _: {"error": {**ERROR["error"], "code": 400}}),
    ],
    broken_bodies=lambda frames: [
        ("frame.blank_line", b"".join(frames)[:-1]), ("responses.whole.json", b'{"id": '),
        *(("responses.frame.name", with_other_first_line(frames, line)) for line in (b"", b"event: other\n")),
    ],
)  # fmt: skip
