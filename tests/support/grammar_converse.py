"""A good answer of Converse, and changes that each break a rule of its grammar."""

import json
import zlib
from typing import Any

from streams import event_stream
from tests.support.grammar_changes import Events, GrammarCase, add, cut, drop, end, in_turn, put

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
    failed=end(5, THROTTLED),
    half_said=in_turn(cut(9, 10), put(10, 1, "stopReason", "max_tokens")),
    frames=frames,
    broken=[
        ("converse.event.known", add(3, ("song", {}))),
        ("converse.event.shape", drop(3, 1, "contentBlockIndex")),
        ("converse.event.shape", put(0, 1, "role", "user")),
        ("converse.start.first", cut(0, 1)),
        ("converse.start.once", add(4, ("messageStart", {"role": "assistant"}))),
        ("converse.block.contiguous", add(5, ("contentBlockStart", start(2, toolUse=CALL)))),
        ("converse.block.open", put(8, 1, "contentBlockIndex", 1)),
        ("converse.block.open", cut(4, 5)),
        ("converse.block.index", put(4, 1, "contentBlockIndex", 2)),
        ("converse.block.late", add(12, ("contentBlockDelta", delta(3, text="more")))),
        ("converse.stop.blocks", cut(10, 11)),
        ("converse.stop.once", add(12, ("messageStop", {"stopReason": "tool_use"}))),
        ("converse.metadata.last", cut(11, 12)),
        ("converse.metadata.last", add(13, ("metadata", STREAM[12][1]))),
        ("converse.error.last", add(3, ("throttlingException", {"message": "slow"}))),
        ("converse.end", cut(12, 13)),
        ("converse.union", put(4, 1, "delta", "citation", {})),
        ("converse.union", put(7, 1, "start", {})),
        ("converse.union", put(1, 1, "delta", "reasoningContent", {"text": "a", "signature": "b"})),
        ("converse.block.known", put(4, 1, "delta", {"song": "la"})),
        ("converse.block.known", put(7, 1, "start", {"song": {}})),
        ("converse.block.shape", drop(7, 1, "start", "toolUse", "name")),
        ("converse.block.started", cut(7, 8)),
        ("converse.block.started", add(4, ("contentBlockStart", start(1, text="")))),
        ("converse.block.said", put(4, 1, "delta", "text", "")),
        ("converse.piece.fits", put(8, 1, "delta", {"text": "x"})),
        ("converse.piece.shape", put(8, 1, "delta", "toolUse", "input", {})),
        ("converse.input.json", put(9, 1, "delta", "toolUse", "input", "1")),
        ("converse.input.json", cut(8, 10)),
        ("converse.tool.id", put(7, 1, "start", "toolUse", "toolUseId", "a b")),
        ("converse.tool.unique", add(11, ("contentBlockStart", start(3, toolUse=CALL)))),
        ("converse.signature.last", add(3, ("contentBlockDelta", STREAM[1][1]))),
        ("converse.reason.known", put(11, 1, "stopReason", "STOP")),
        ("converse.reason.calls", put(11, 1, "stopReason", "end_turn")),
        ("converse.usage.ints", put(12, 1, "usage", "outputTokens", None)),
        ("converse.usage.total", put(12, 1, "usage", "totalTokens", 15)),
        ("converse.exception.known", end(3, ("modelTimeoutException", {"message": "late"}))),
        ("converse.exception.shape", end(3, ("throttlingException", {"Message": "slow"}))),
    ],
    broken_wholes=[
        ("converse.whole.shape", lambda value: {**value, "metrics": {}}),
        ("converse.whole.shape", lambda value: {}),
        ("converse.error.shape", lambda value: {"message": 1}),
        ("converse.reason.calls", lambda value: {**value, "stopReason": "end_turn"}),
        ("converse.usage.total", lambda value: {**value, "usage": {**USAGE, "totalTokens": 15}}),
        *(
            (rule, put("output", "message", "content", [block]))
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
