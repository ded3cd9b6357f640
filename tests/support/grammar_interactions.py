"""Good answers of Interactions, and changes that each break a rule of their grammar."""

import json
from typing import Any

from streams import sse
from tests.support.grammar_changes import (
    Events,
    GrammarCase,
    insert_events,
    remove_events,
    remove_value,
    replace_events_from,
    set_value,
)

COUNTS = {
    "total_input_tokens": 2, "total_output_tokens": 3, "total_thought_tokens": 1, "total_tool_use_tokens": 0,
    "total_tokens": 6,
}  # fmt: skip
HEAD = {"id": "v1_a", "model": "m", "object": "interaction"}
CALL = {"type": "function_call", "id": "c1", "name": "f", "arguments": {}}
TEXT = {"type": "text", "text": "hi"}


def event(kind: str, number: int, **members: Any) -> dict[str, Any]:
    return {"event_type": kind, **members, "event_id": str(number)}


def delta(number: int, index: int, **members: Any) -> dict[str, Any]:
    return event("step.delta", number, index=index, delta=members)


STREAM: Events = [
    event("interaction.created", 1, interaction={**HEAD, "status": "in_progress"}),
    event("interaction.status_update", 2, interaction_id="v1_a", status="in_progress"),
    event("step.start", 3, index=0, step={"type": "thought"}),
    delta(4, 0, type="thought_summary", content=TEXT),
    delta(5, 0, type="thought_signature", signature="c2ln"),
    event("step.stop", 6, index=0),
    event("step.start", 7, index=1, step={"type": "model_output"}),
    delta(8, 1, type="text", text="hi"),
    event("step.stop", 9, index=1),
    event("step.start", 10, index=2, step=CALL),
    delta(11, 2, type="arguments_delta", arguments='{"a"'),
    delta(12, 2, type="arguments_delta", arguments=":1}"),
    event("step.stop", 13, index=2),
    event("interaction.completed", 14, interaction={**HEAD, "status": "requires_action", "usage": COUNTS}),
    "[DONE]",
]
WHOLE = {
    **HEAD, "status": "requires_action", "usage": COUNTS,
    "steps": [
        {"type": "thought", "signature": "c2ln", "summary": [TEXT]}, {"type": "model_output", "content": [TEXT]}, CALL,
    ],
}  # fmt: skip
ERROR = {"error": {"code": "unavailable", "message": "busy"}}
FAILED = event("error", 99, **ERROR)


def frames(events: Events) -> list[bytes]:
    return [
        b"event: done\ndata: [DONE]\n\n" if value == "[DONE]" else sse.event(value["event_type"], value)
        for value in events
    ]


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


CASE = GrammarCase(
    api="interactions",
    stream=STREAM,
    whole=WHOLE,
    error=ERROR,
    failed=replace_events_from(9, FAILED),
    frames=frames,
    broken=[
        ("interactions.event.known", insert_events(3, event("song", 50))),
        ("interactions.event.shape", remove_value(7, "index")),
        ("interactions.event.id", set_value(7, "event_id", "1")),
        ("interactions.created.first", remove_events(0, 1)),
        ("interactions.created.once", insert_events(2, event("interaction.created", 50, interaction=HEAD))),
        ("interactions.same", set_value(13, "interaction", "id", "other")),
        ("interactions.step.contiguous", remove_events(5, 6)),
        ("interactions.step.open", set_value(7, "index", 0)),
        ("interactions.step.index", set_value(6, "index", 2)),
        ("interactions.step.stopped", remove_events(12, 13)),
        ("interactions.completed.last", insert_events(14, event("interaction.status_update", 50))),
        ("interactions.done.last", insert_events(15, FAILED)),
        ("interactions.error.last", replace_events_from(9, FAILED, "[DONE]")),
        ("interactions.end", remove_events(14, 15)),
        ("interactions.step.known", set_value(6, "step", "type", "song")),
        ("interactions.step.shape", remove_value(9, "step", "name")),
        ("interactions.delta.known", set_value(7, "delta", "type", "arguments_delta")),
        ("interactions.delta.shape", set_value(7, "delta", "text", 1)),
        ("interactions.signature.base64", set_value(4, "delta", "signature", "tg1.x")),
        ("interactions.signature.last", insert_events(5, delta(50, 0, type="thought_summary", content=TEXT))),
        ("interactions.arguments.json", remove_events(11, 12)),
        ("interactions.call.unique", insert_events(13, event("step.start", 50, index=3, step=CALL))),
        ("interactions.status.known", set_value(13, "interaction", "status", "STOP")),
        ("interactions.status.last", set_value(13, "interaction", "status", "queued")),
        ("interactions.status.calls", set_value(13, "interaction", "status", "completed")),
        ("interactions.usage.ints", set_value(13, "interaction", "usage", "total_tokens", -1)),
        ("interactions.usage.total", set_value(13, "interaction", "usage", "total_tokens", 9)),
        ("interactions.error.shape", replace_events_from(9, event("error", 50, error={"code": 503, "message": "x"}))),
    ],
    broken_wholes=[("interactions.whole.shape", remove_value("steps"))],
    broken_bodies=lambda frames: [
        ("interactions.whole.json", b"{"),
        (
            "interactions.event.named",
            b"".join([frames[0].replace(b": interaction.created", b": x"), *frames[1:]]),
        ),
        ("frame.blank_line", b"".join(frames)[:-1]),
        ("frame.fields", b"".join([*frames[:4], b"what: x\n" + frames[4], *frames[5:]])),
        ("frame.id", b"".join([*frames[:4], b"id: 1\n" + frames[4], *frames[5:]])),
        ("frame.data", b"".join([*frames[:4], b"event: x\n\n", *frames[4:]])),
        ("frame.one_line", b"".join([*frames[:4], frames[4].replace(b',"index"', b',\ndata: "index"'), *frames[5:]])),
        ("frame.order", b"".join([*frames[:4], b"data: {}\nevent: x\n\n", *frames[4:]])),
        ("frame.json", b"".join([*frames[:4], b"event: step.delta\ndata: {\n\n", *frames[4:]])),
        ("frame.separators", b"".join([*frames[:7], frames[7].replace(b'"hi"', '"\u2028"'.encode()), *frames[8:]])),
    ],
)
