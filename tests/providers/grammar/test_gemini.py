"""The grammar of Gemini: good answers pass, each rule can be broken and is then the one that is named, recorded traffic
passes in tolerant mode, what our own writer says passes strictly."""

import copy
import json
from typing import Any

from providers.gemini import GEMINI
from providers.grammar import Judge, detect, judge, rules
from streams.events import (
    AnswerEnd,
    BlockEnd,
    ErrorInfo,
    Event,
    ReasoningDelta,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import fold
from tests.support.gemini_wire import gemini_reply, written
from tests.support.recordings import files

SAID: list[Event] = [
    ReasoningDelta(0, "Hm."), ReasoningState(0, "messages", {"type": "thinking", "thinking": "Hm.", "signature": "x"}),
    BlockEnd(0), ToolCallStart(1, "call_1", "f"), ToolCallDelta(1, "{}"), BlockEnd(1), TextDelta(2, "a\u2028"),
    BlockEnd(2), Usage(input=5, output=7, reasoning=2), AnswerEnd("stop"),
]  # fmt: skip
FAILED = ErrorInfo("overloaded", "busy")


# A bare JSON error behind the events, which Google's own SDKs read and nobody else does.
BARE = {"vertexai-streaming-failure-error-mid-stream": "frame.data"}


def piece(*parts: Any, **candidate: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "index": 0, **candidate}]}


CALL = {"functionCall": {"id": "1", "name": "f"}, "thoughtSignature": "c2ln"}
COUNTS = {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3}
LAST = {**piece({"text": ""}, finishReason="STOP"), "usageMetadata": COUNTS, "modelVersion": "m"}
GOOD = [{**piece({"text": "hi"}), "modelVersion": "m"}, piece(CALL), LAST]
ERROR = {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}


def wire(events: list[Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\r\n\r\n" for event in events)


BROKEN: dict[str, list[Any]] = {
    "gemini.chunk.shape": [{"modelVersion": "m"}, LAST],
    "gemini.chunk.same": [{**GOOD[0], "modelVersion": "other"}, LAST],
    "gemini.candidate.shape": [piece(), LAST],
    "gemini.part.union": [piece({"text": "a", **CALL}), LAST],
    "gemini.part.shape": [piece({"functionCall": {"name": ""}}), LAST],
    "gemini.part.signature": [piece({"text": "", "thoughtSignature": "tg1.x"}), LAST],
    "gemini.call.unique": [piece(CALL), piece(CALL), LAST],
    "gemini.finish.known": [piece({"text": ""}, finishReason=1)],
    "gemini.finish.last": [LAST, GOOD[0]],
    "gemini.finish.there": [GOOD[0]],
    "gemini.error.last": [ERROR, LAST],
    "gemini.usage.ints": [{**LAST, "usageMetadata": {**COUNTS, "promptTokenCount": -1}}],
    "gemini.usage.total": [{**LAST, "usageMetadata": {**COUNTS, "totalTokenCount": 9}}],
    "gemini.error.shape": [{"error": {"code": "x", "message": "busy"}}],
}
BODIES: dict[str, bytes] = {
    "gemini.frame.unnamed": b"event: message\n" + wire([LAST]),
    "frame.blank_line": wire([LAST])[:-2],
    "frame.data": wire([LAST]) + b"event: x\n\n",
    "frame.one_line": wire([GOOD[0]]).replace(b', "index"', b',\r\ndata: "index"') + wire([LAST]),
    "frame.order": b"data: {}\nevent: x\n\n",
    "frame.json": b"data: {\r\n\r\n",
    "frame.separators": wire([piece({"text": "x"}), LAST]).replace(b'"x"', '"\u2028"'.encode()),
}
WHOLE: dict[str, bytes] = {"gemini.whole.json": b"{", "gemini.whole.shape": json.dumps(GOOD[0]).encode()}


def test_good_answers_pass_and_are_known_by_their_bytes():
    array = json.dumps(GOOD).encode()
    for body, outcome in (
        (wire(GOOD), "complete"), (json.dumps(LAST).encode(), "complete"), (array, "complete"),
        (wire([GOOD[0], ERROR]), "failed"), (json.dumps(ERROR).encode(), "failed"),
    ):  # fmt: skip
        verdict = judge("gemini", body)
        assert (verdict.broken, verdict.outcome) == (None, outcome), body
        assert detect(body) == "gemini", body


def test_what_our_own_writer_says_is_well_formed():
    for thoughts in (True, False):
        assert judge("gemini", written(SAID, thoughts=thoughts)).broken is None
        assert judge("gemini", GEMINI.write_answer(fold(SAID), gemini_reply(thoughts=thoughts))).broken is None
    ping = GEMINI.writer(gemini_reply()).ping()
    failed = judge("gemini", ping + written([TextDelta(0, "a"), FAILED]))
    assert (failed.broken, failed.outcome) == (None, "failed")
    assert judge("gemini", GEMINI.write_error(FAILED, "req_1")).broken is None


def test_each_broken_answer_names_its_rule():
    bodies = {rule: wire(events) for rule, events in BROKEN.items()} | BODIES | WHOLE
    for rule, body in bodies.items():
        verdict = judge("gemini", body)
        assert verdict.broken is not None, rule
        assert verdict.broken.rule == rule, verdict.broken
    assert bodies.keys() == rules("gemini").keys()


def test_a_judge_reads_along_event_by_event():
    judging = Judge("gemini")
    for event in copy.deepcopy(GOOD):
        assert judging.feed(wire([event])) is None
    assert judging.close().outcome == "complete"


def test_recorded_traffic_passes_in_tolerant_mode():
    found = {}
    for path in files("gemini", "*.response.*"):
        verdict = judge("gemini", path.read_bytes(), tolerant=True)
        if verdict.broken is not None:
            found[path.name.split(".")[1]] = verdict.broken.rule
    assert found.items() <= BARE.items()
