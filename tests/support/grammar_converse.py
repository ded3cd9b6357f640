"""A good answer of Converse, and changes that each break a rule of its grammar."""

import json
import zlib
from typing import Any

from streams import event_stream
from tests.support.grammar_changes import (
    Events,
    GrammarCase,
    apply_all,
    insert_events,
    remove_events,
    remove_value,
    replace_events_from,
    set_value,
)

USAGE = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 18, "cacheReadInputTokens": 3}
CALL = {"toolUseId": "tooluse_1", "name": "f"}
STREAM: Events = [
    ("messageStart", {"role": "assistant"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}, "p": "abc"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "s"}}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "hi"}}),
    ("ping", {}),
    ("contentBlockStop", {"contentBlockIndex": 1}),
    ("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": CALL}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"a":'}}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": "1}"}}}),
    ("contentBlockStop", {"contentBlockIndex": 2}),
    ("messageStop", {"stopReason": "tool_use"}),
    ("metadata", {"usage": USAGE, "metrics": {"latencyMs": 7}}),
]
WHOLE: dict[str, Any] = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
                {"text": "hi"},
                {"toolUse": {**CALL, "input": {"a": 1}}},
            ],
        }
    },
    "stopReason": "tool_use",
    "usage": USAGE,
    "metrics": {"latencyMs": 7},
}
THROTTLED = ("throttlingException", {"message": "slow down"})
HEADERS = {":event-type": "ping", ":content-type": "application/json", ":message-type": "event"}
PING = event_stream.build_frame(HEADERS, b"{}")


def start(index: int, **kind: Any) -> Any:
    return {"contentBlockIndex": index, "start": kind}


def delta(index: int, **kind: Any) -> Any:
    return {"contentBlockIndex": index, "delta": kind}


def frames(events: Events) -> list[bytes]:
    return [
        (event_stream.exception_frame if name.endswith("Exception") else event_stream.event_frame)(
            name, json.dumps(value).encode()
        )
        for name, value in events
    ]


def frame_with(headers: dict[str, str], payload: bytes = b"{}") -> bytes:
    return event_stream.build_frame(headers, payload)


def reseal(raw: bytes) -> bytes:
    return raw[:-4] + zlib.crc32(raw[:-4]).to_bytes(4, "big")


BAD_FRAMES: list[tuple[str, bytes]] = [
    ("frame.whole", PING[:10]),
    ("frame.whole", PING[:-1]),
    ("frame.prelude", PING[:8] + b"\0\0\0\0" + PING[12:]),
    ("frame.checksum", PING[:-1] + bytes([PING[-1] ^ 1])),
    ("frame.headers", reseal(PING[:12] + b"\xff" + PING[13:])),
    ("frame.message", frame_with({**HEADERS, ":message-type": "error"})),
    ("frame.message", frame_with({":message-type": "event", ":content-type": "application/json"})),
    ("frame.content", frame_with({**HEADERS, ":content-type": "text/plain"})),
    ("frame.json", frame_with(HEADERS, b"[]")),
    ("frame.json", frame_with(HEADERS, b"{")),
]
"""Replacements for the fifth event of a stream."""


CASE = GrammarCase(
    api="converse",
    stream=STREAM,
    whole=WHOLE,
    error={"message": "no", "__type": "ValidationException"},
    failed=replace_events_from(5, THROTTLED),
    half_said=apply_all(remove_events(9, 10), set_value(10, 1, "stopReason", "max_tokens")),
    frames=frames,
    broken=[
        ("converse.event.known", insert_events(3, ("song", {}))),
        ("converse.event.shape", remove_value(3, 1, "contentBlockIndex")),
        ("converse.event.shape", set_value(0, 1, "role", "user")),
        ("converse.start.first", remove_events(0, 1)),
        ("converse.start.once", insert_events(4, ("messageStart", {"role": "assistant"}))),
        ("converse.block.contiguous", insert_events(5, ("contentBlockStart", start(2, toolUse=CALL)))),
        ("converse.block.open", set_value(8, 1, "contentBlockIndex", 1)),
        ("converse.block.open", remove_events(4, 5)),
        ("converse.block.index", set_value(4, 1, "contentBlockIndex", 2)),
        ("converse.block.late", insert_events(12, ("contentBlockDelta", delta(3, text="more")))),
        ("converse.stop.blocks", remove_events(10, 11)),
        ("converse.stop.once", insert_events(12, ("messageStop", {"stopReason": "tool_use"}))),
        ("converse.metadata.last", remove_events(11, 12)),
        ("converse.metadata.last", insert_events(13, ("metadata", STREAM[12][1]))),
        ("converse.error.last", insert_events(3, ("throttlingException", {"message": "slow"}))),
        ("converse.end", remove_events(12, 13)),
        ("converse.union", set_value(4, 1, "delta", "citation", {})),
        ("converse.union", set_value(7, 1, "start", {})),
        ("converse.union", set_value(1, 1, "delta", "reasoningContent", {"text": "a", "signature": "b"})),
        ("converse.block.known", set_value(4, 1, "delta", {"song": "la"})),
        ("converse.block.known", set_value(7, 1, "start", {"song": {}})),
        ("converse.block.shape", remove_value(7, 1, "start", "toolUse", "name")),
        ("converse.block.started", remove_events(7, 8)),
        ("converse.block.started", insert_events(4, ("contentBlockStart", start(1, text="")))),
        ("converse.block.said", set_value(4, 1, "delta", "text", "")),
        ("converse.piece.fits", set_value(8, 1, "delta", {"text": "x"})),
        ("converse.piece.shape", set_value(8, 1, "delta", "toolUse", "input", {})),
        ("converse.input.json", set_value(9, 1, "delta", "toolUse", "input", "1")),
        ("converse.input.json", remove_events(8, 10)),
        ("converse.tool.id", set_value(7, 1, "start", "toolUse", "toolUseId", "a b")),
        ("converse.tool.unique", insert_events(11, ("contentBlockStart", start(3, toolUse=CALL)))),
        ("converse.signature.last", insert_events(3, ("contentBlockDelta", STREAM[1][1]))),
        ("converse.reason.known", set_value(11, 1, "stopReason", "STOP")),
        ("converse.reason.calls", set_value(11, 1, "stopReason", "end_turn")),
        ("converse.usage.ints", set_value(12, 1, "usage", "outputTokens", None)),
        ("converse.usage.total", set_value(12, 1, "usage", "totalTokens", 15)),
        ("converse.exception.known", replace_events_from(3, ("modelTimeoutException", {"message": "late"}))),
        ("converse.exception.shape", replace_events_from(3, ("throttlingException", {"Message": "slow"}))),
    ],
    broken_wholes=[
        ("converse.whole.shape", lambda value: {**value, "metrics": {}}),
        ("converse.whole.shape", lambda value: {}),
        ("converse.error.shape", lambda value: {"message": 1}),
        ("converse.reason.calls", lambda value: {**value, "stopReason": "end_turn"}),
        ("converse.usage.total", lambda value: {**value, "usage": {**USAGE, "totalTokens": 15}}),
        *(
            (rule, set_value("output", "message", "content", [block]))
            for rule, block in (
                ("converse.union", {"text": "a", "image": {}}),
                ("converse.union", {"reasoningContent": {}}),
                ("converse.block.known", {"song": "la"}),
                ("converse.block.shape", {"toolUse": {"name": "f"}}),
                ("converse.block.shape", {"reasoningContent": {"reasoningText": {"signature": "s"}}}),
                ("converse.block.said", {"text": ""}),
                ("converse.input.json", {"toolUse": {**CALL, "input": "{}"}}),
                ("converse.tool.id", {"toolUse": {**CALL, "toolUseId": "x" * 65, "input": {}}}),
            )
        ),
    ],
    broken_bodies=lambda frames: [
        ("frame.whole", b"".join(frames)[:-1]), ("converse.whole.json", b'{"output": '),
    ],
)  # fmt: skip
