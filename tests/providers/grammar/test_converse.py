"""The grammar of Converse: good answers pass, each rule can be broken and is then the one that is named, recorded
traffic passes in tolerant mode."""

import copy
import json
import zlib
from collections.abc import Callable
from typing import Any, TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from providers.grammar import Judge, detect, judge, rules
from streams.event_stream import FrameSplitter, event, exception, frame
from tests.support.recordings import files

Said: TypeAlias = tuple[str, Any]
Change: TypeAlias = Callable[[list[Said]], list[Said]]

USAGE = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 18, "cacheReadInputTokens": 3}
CALL = {"toolUseId": "tooluse_1", "name": "f"}
STREAM: list[Said] = [
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


def wire(said: list[Said]) -> list[bytes]:
    return [
        (exception if name.endswith("Exception") else event)(name, json.dumps(value).encode()) for name, value in said
    ]


def put(place: int, *path: Any) -> Change:
    """The last of ``path`` is put in place of what the others lead to."""

    def change(said: list[Said]) -> list[Said]:
        inner: Any = said[place][1]
        for step in path[:-2]:
            inner = inner[step]
        inner[path[-2]] = path[-1]
        return said

    return change


def drop(place: int, *path: Any) -> Change:
    def change(said: list[Said]) -> list[Said]:
        inner: Any = said[place][1]
        for step in path[:-1]:
            inner = inner[step]
        del inner[path[-1]]
        return said

    return change


def add(place: int, name: str, value: Any = None) -> Change:
    return lambda said: [*said[:place], (name, value or {}), *said[place:]]


def cut(start: int, end: int) -> Change:
    return lambda said: [*said[:start], *said[end:]]


def start(index: int, **kind: Any) -> Any:
    return {"contentBlockIndex": index, "start": kind}


def delta(index: int, **kind: Any) -> Any:
    return {"contentBlockIndex": index, "delta": kind}


BROKEN: list[tuple[str, Change]] = [
    ("converse.event.known", add(3, "song")),
    ("converse.event.shape", drop(3, "contentBlockIndex")),
    ("converse.event.shape", put(0, "role", "user")),
    ("converse.start.first", cut(0, 1)),
    ("converse.start.once", add(4, "messageStart", {"role": "assistant"})),
    ("converse.block.contiguous", add(5, "contentBlockStart", start(2, toolUse=CALL))),
    ("converse.block.open", put(8, "contentBlockIndex", 1)),
    ("converse.block.open", cut(4, 5)),
    ("converse.block.index", put(4, "contentBlockIndex", 2)),
    ("converse.block.late", add(12, "contentBlockDelta", delta(3, text="more"))),
    ("converse.stop.blocks", cut(10, 11)),
    ("converse.stop.once", add(12, "messageStop", {"stopReason": "tool_use"})),
    ("converse.metadata.last", cut(11, 12)),
    ("converse.metadata.last", add(13, "metadata", STREAM[12][1])),
    ("converse.error.last", lambda said: [*said[:3], ("throttlingException", {"message": "slow"}), *said[3:]]),
    ("converse.end", cut(12, 13)),
    ("converse.union", put(4, "delta", "citation", {})),
    ("converse.union", put(7, "start", {})),
    ("converse.union", put(1, "delta", "reasoningContent", {"text": "a", "signature": "b"})),
    ("converse.block.known", put(4, "delta", {"song": "la"})),
    ("converse.block.known", put(7, "start", {"song": {}})),
    ("converse.block.shape", drop(7, "start", "toolUse", "name")),
    ("converse.block.started", cut(7, 8)),
    ("converse.block.started", add(4, "contentBlockStart", start(1, text=""))),
    ("converse.block.said", put(4, "delta", "text", "")),
    ("converse.piece.fits", put(8, "delta", {"text": "x"})),
    ("converse.piece.shape", put(8, "delta", "toolUse", "input", {})),
    ("converse.input.json", put(9, "delta", "toolUse", "input", "1")),
    ("converse.input.json", cut(8, 10)),
    ("converse.tool.id", put(7, "start", "toolUse", "toolUseId", "a b")),
    ("converse.tool.unique", lambda said: [*said[:11], ("contentBlockStart", start(3, toolUse=CALL)), *said[11:]]),
    ("converse.signature.last", add(3, "contentBlockDelta", STREAM[1][1])),
    ("converse.reason.known", put(11, "stopReason", "STOP")),
    ("converse.reason.calls", put(11, "stopReason", "end_turn")),
    ("converse.usage.ints", put(12, "usage", "outputTokens", None)),
    ("converse.usage.total", put(12, "usage", "totalTokens", 15)),
    ("converse.exception.known", lambda said: [*said[:3], ("modelTimeoutException", {"message": "late"})]),
    ("converse.exception.shape", lambda said: [*said[:3], ("throttlingException", {"Message": "slow"})]),
]
BROKEN_WHOLES: list[tuple[str, Callable[[Any], Any]]] = [
    ("converse.whole.shape", lambda value: {**value, "metrics": {}}),
    ("converse.whole.shape", lambda value: {}),
    ("converse.error.shape", lambda value: {"message": 1}),
    ("converse.reason.calls", lambda value: {**value, "stopReason": "end_turn"}),
    ("converse.usage.total", lambda value: {**value, "usage": {**USAGE, "totalTokens": 15}}),
    *(
        (rule, lambda value, block=block: {**value, "output": {"message": {"role": "assistant", "content": [block]}}})
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
]


def headed(headers: dict[str, str], payload: bytes = b"{}") -> bytes:
    return frame(headers, payload)


def _resealed(raw: bytes) -> bytes:
    return raw[:-4] + zlib.crc32(raw[:-4]).to_bytes(4, "big")


GOOD_HEADERS = {":event-type": "ping", ":content-type": "application/json", ":message-type": "event"}
PING = headed(GOOD_HEADERS)
FRAMES: list[tuple[str, bytes]] = [
    ("frame.whole", PING[:10]),
    ("frame.whole", PING[:-1]),
    ("frame.prelude", PING[:8] + b"\0\0\0\0" + PING[12:]),
    ("frame.checksum", PING[:-1] + bytes([PING[-1] ^ 1])),
    ("frame.headers", _resealed(PING[:12] + b"\xff" + PING[13:])),
    ("frame.message", headed({**GOOD_HEADERS, ":message-type": "error"})),
    ("frame.message", headed({":message-type": "event", ":content-type": "application/json"})),
    ("frame.content", headed({**GOOD_HEADERS, ":content-type": "text/plain"})),
    ("frame.json", headed(GOOD_HEADERS, b"[]")),
    ("frame.json", headed(GOOD_HEADERS, b"{")),
]


def test_good_answers_pass_and_are_known_by_their_bytes():
    body = b"".join(wire(STREAM))
    verdict = judge("converse", body)
    assert (verdict.broken, verdict.outcome, verdict.streamed, verdict.events) == (None, "complete", True, len(STREAM))
    whole = json.dumps(WHOLE).encode()
    verdict = judge("converse", whole)
    assert (verdict.broken, verdict.outcome, verdict.streamed) == (None, "complete", False)
    assert detect(body) == detect(whole) == "converse"
    cut_short = wire([*STREAM[:9], *STREAM[10:11], ("messageStop", {"stopReason": "max_tokens"}), STREAM[12]])
    assert judge("converse", b"".join(cut_short)).broken is None, "an input may be half said then"


def test_failures_in_the_right_form_are_well_formed():
    failed = b"".join(wire([*STREAM[:5], ("throttlingException", {"message": "slow down"})]))
    for body in (failed, b'{"message": "no", "__type": "ValidationException"}'):
        verdict = judge("converse", body)
        assert (verdict.broken, verdict.outcome) == (None, "failed")


def test_each_broken_stream_names_its_rule():
    for number, (rule, change) in enumerate(BROKEN):
        verdict = judge("converse", b"".join(wire(change(copy.deepcopy(STREAM)))))
        assert verdict.broken is not None, (number, rule)
        assert verdict.broken.rule == rule, (number, verdict.broken)
        assert verdict.broken.want == rules("converse")[rule].text


def test_each_broken_whole_answer_names_its_rule():
    for number, (rule, change) in enumerate(BROKEN_WHOLES):
        verdict = judge("converse", json.dumps(change(copy.deepcopy(WHOLE))).encode())
        assert verdict.broken is not None, (number, rule)
        assert (verdict.broken.rule, verdict.broken.event) == (rule, 0), (number, verdict.broken)


def test_framing_is_judged_on_the_bytes():
    raws = wire(STREAM)
    for number, (rule, raw) in enumerate(FRAMES):
        live = Judge("converse")
        told = [live.feed(one) for one in (*raws[:4], raw)]
        broken = told[-1]
        assert broken is not None, number
        assert (broken.rule, broken.event, broken.offset) == (rule, 5, sum(map(len, raws[:4]))), number
        assert told[:-1] == [None] * 4
    verdict = judge("converse", b"".join(raws)[:-1])
    assert verdict.broken is not None
    assert (verdict.broken.rule, verdict.broken.event) == ("frame.whole", len(raws))


def test_every_rule_is_broken_by_one_of_these_tests():
    tried = {rule for rule, _ in (*BROKEN, *BROKEN_WHOLES, *FRAMES)} | {"converse.whole.json"}
    assert set(rules("converse")) == tried
    verdict = judge("converse", b'{"output": ')
    assert verdict.broken is not None
    assert verdict.broken.rule == "converse.whole.json"
    assert all(rule.source for rule in rules("converse").values())


@given(body=st.binary(max_size=200), payload=st.binary(max_size=50), order=st.lists(st.integers(0, 12), max_size=15))
def test_any_bytes_and_any_order_get_a_verdict(body, payload, order):
    judge("converse", body, streamed=True)
    judge("converse", event("metadata", payload) + body)
    frames = wire(STREAM)
    assert judge("converse", b"".join(frames[i] for i in order), streamed=True).events == len(order)
    detect(body)


def test_recorded_traffic_passes_in_tolerant_mode():
    for path in files("bedrock_converse", "*.response.*"):
        if path.suffix == ".jsonl":
            continue
        body = path.read_bytes()
        verdict = judge("converse", body, tolerant=True)
        assert (verdict.broken, detect(body)) == (None, "converse"), path.name
        if path.suffix == ".eventstream":
            assert b"".join(FrameSplitter().feed(body)) == body
