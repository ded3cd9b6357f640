"""A good answer of Gemini, and changes that each break a rule of its grammar."""

from typing import Any

from tests.support.grammar_changes import Events, GrammarCase, replace_events_from, sse_frames


def piece(*parts: Any, **candidate: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, "index": 0, **candidate}]}


CALL = {"functionCall": {"id": "1", "name": "f"}, "thoughtSignature": "c2ln"}
COUNTS = {"promptTokenCount": 1, "candidatesTokenCount": 2, "totalTokenCount": 3}
LAST = {**piece({"text": ""}, finishReason="STOP"), "usageMetadata": COUNTS, "modelVersion": "m"}
GOOD = [{**piece({"text": "hi"}), "modelVersion": "m"}, piece(CALL), LAST]
ERROR = {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}


def wire(events: Events) -> bytes:
    return b"".join(sse_frames("gemini", events))


CASE = GrammarCase(
    api="gemini",
    stream=GOOD,
    whole=LAST,
    error=ERROR,
    failed=replace_events_from(1, ERROR),
    frames=lambda events: sse_frames("gemini", events),
    broken=[
        ("gemini.chunk.shape", replace_events_from(0, {"modelVersion": "m"}, LAST)),
        ("gemini.chunk.same", replace_events_from(0, {**GOOD[0], "modelVersion": "other"}, LAST)),
        ("gemini.candidate.shape", replace_events_from(0, piece(), LAST)),
        ("gemini.part.union", replace_events_from(0, piece({"text": "a", **CALL}), LAST)),
        ("gemini.part.shape", replace_events_from(0, piece({"functionCall": {"name": ""}}), LAST)),
        ("gemini.part.signature", replace_events_from(0, piece({"text": "", "thoughtSignature": "tg1.x"}), LAST)),
        ("gemini.call.unique", replace_events_from(0, piece(CALL), piece(CALL), LAST)),
        ("gemini.finish.known", replace_events_from(0, piece({"text": ""}, finishReason=1))),
        ("gemini.finish.last", replace_events_from(0, LAST, GOOD[0])),
        ("gemini.finish.there", replace_events_from(0, GOOD[0])),
        ("gemini.error.last", replace_events_from(0, ERROR, LAST)),
        ("gemini.usage.ints", replace_events_from(0, {**LAST, "usageMetadata": {**COUNTS, "promptTokenCount": -1}})),
        ("gemini.usage.total", replace_events_from(0, {**LAST, "usageMetadata": {**COUNTS, "totalTokenCount": 9}})),
        ("gemini.error.shape", replace_events_from(0, {"error": {"code": "x", "message": "busy"}})),
    ],
    broken_wholes=[("gemini.whole.shape", lambda _: GOOD[0])],
    broken_bodies=lambda frames: [
        ("gemini.whole.json", b"{"),
        ("gemini.frame.unnamed", b"event: message\n" + wire([LAST])),
        ("frame.blank_line", wire([LAST])[:-2]),
        ("frame.data", wire([LAST]) + b"event: x\n\n"),
        ("frame.one_line", wire([GOOD[0]]).replace(b', "index"', b',\r\ndata: "index"') + wire([LAST])),
        ("frame.order", b"data: {}\nevent: x\n\n"),
        ("frame.json", b"data: {\r\n\r\n"),
        ("frame.separators", wire([piece({"text": "x"}), LAST]).replace(b'"x"', '"\u2028"'.encode())),
    ],
)
