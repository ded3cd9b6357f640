"""The grammar of Gemini streams.

Pieces of one answer, each a whole ``GenerateContentResponse``, the last candidate with a ``finishReason``; the body
ends without a terminator. A failure is an error, which ends the stream. Sources: the API's reference and the types of
the google-genai package.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from providers.grammar.frames import FRAME_RULES, SSE_FRAMES
from providers.grammar.rules import Finding, FrameFormat, Outcome, ReadEvent, Rule, States, Stream, table
from providers.grammar.shapes import Shape, elements, find_misfit, is_base64, members, one_of, show, string_or_empty

SPEC = "Google, GenerateContentResponse"
TYPES = "types of the google-genai package"
GOOGLE = "Google, as recorded"
NEW = "Google: new ones come unannounced"

_BARE_ERROR = b'{"error"'


def _read_event(raw: bytes) -> ReadEvent:
    """Return one event. A bare JSON error counts as a comment, because most clients skip it."""
    if raw.startswith(_BARE_ERROR) and b"data:" not in raw:
        return ReadEvent(None, None, ())
    return SSE_FRAMES.read(raw)


FRAMES = FrameFormat(SSE_FRAMES.split, _read_event)

RULES: Mapping[str, Rule] = table(
    *(rule for rule in FRAME_RULES if rule.id != "frame.fields"),  # Google's SDKs require a bare JSON line for errors
    Rule("gemini.frame.unnamed", "there is no event: line", SPEC),
    # Pieces
    Rule("gemini.chunk.shape", "a piece has candidates, usageMetadata or promptFeedback", SPEC),
    Rule("gemini.chunk.same", "modelVersion and responseId are the same in every piece", SPEC, GOOGLE),
    Rule("gemini.candidate.shape", "a candidate has an index and content with the role model and parts",
         "epam/ai-dial-adapter-vertexai#149", GOOGLE),
    Rule("gemini.part.union", "a part has exactly one kind of content", TYPES, NEW),
    Rule("gemini.part.shape", "the part has the members that its kind needs", TYPES),
    Rule("gemini.part.signature", "a thoughtSignature is base64 of bytes", "google-genai decodes it"),
    Rule("gemini.call.unique", "each call has its own id", "praxis-proxy/ai#1000", GOOGLE),
    # Ends
    Rule("gemini.finish.known", "finishReason is one of the API's", SPEC, "Vertex AI: a number"),
    Rule("gemini.finish.last", "only an error may follow the finishReason", "Gemini CLI takes the last", GOOGLE),
    Rule("gemini.finish.there", "the stream ends with a finishReason or an error",
         "Gemini CLI: Model stream ended without a finish reason"),
    Rule("gemini.error.last", "nothing follows an error", "google-genai raises and reads no further"),
    Rule("gemini.usage.ints", "token counts are integers ≥ 0", SPEC),
    Rule("gemini.usage.total", "totalTokenCount is the sum of its parts", "BerriAI/litellm#10667", GOOGLE),
    # Errors and whole answers
    Rule("gemini.error.shape", "an error is {error: {code, message, status}}", "AIP-193"),
    Rule("gemini.whole.json", "the body is JSON", SPEC),
    Rule("gemini.whole.shape", "an answer has candidates with a finishReason, or promptFeedback", SPEC),
)  # fmt: skip

STATES: States = {
    "open": {"chunk": "open", "finish": "finished", "error": "failed"},
    "finished": {"error": "failed"},
    "failed": {},
}
MISPLACED: Mapping[tuple[str, str], str] = {
    ("finished", "*"): "gemini.finish.last",
    ("failed", "*"): "gemini.error.last",
}

CANDIDATE: Shape = {"index": "int", "content": {"role": one_of("model"), "parts": "array"}}
PARTS: Mapping[str, Shape] = {
    "text": "string",
    "functionCall": {"name": "text", "id?": "text", "args?": "object"},
    "inlineData": {"mimeType": "text", "data": "string"},
    "fileData": {"fileUri": "text"},
    "functionResponse": {"name": "text"},
    "executableCode": "object",
    "codeExecutionResult": "object",
    "toolCall": "object",
    "toolResponse": "object",
}
FINISH = one_of(
    "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "LANGUAGE", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII",
    "MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE", "TOO_MANY_TOOL_CALLS",
    "UNEXPECTED_TOOL_CALL", "MODEL_ARMOR", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
    "IMAGE_OTHER", "NO_IMAGE", "ESCALATION", "PUP_LIMITED_DISABLED", "CONTINUATION",
)  # fmt: skip
SUMMED = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "toolUsePromptTokenCount")
COUNTS: Shape = {f"{name}?": "int" for name in (*SUMMED, "cachedContentTokenCount", "totalTokenCount")}
ERROR: Shape = {"error": {"code": "int", "message": "string", "status": "text", "details?": "array"}}
SAME = ("modelVersion", "responseId")


class GeminiStream(Stream):
    """A ``Stream`` of Gemini."""

    states, misplaced, position = STATES, MISPLACED, "open"
    end_rule, ends = "gemini.finish.there", ("finished", "failed")

    def __init__(self) -> None:
        self._head: dict[str, Any] = {}
        self._ids: set[str] = set()

    def check_event(self, name: str | None, value: Any) -> Iterator[Finding]:
        if name is not None:
            yield "gemini.frame.unnamed", f"event: {name}"
        kind = _kind_of(value)
        yield from self.check_order(kind)
        if kind == "error":
            yield from error(value)
        else:
            yield from self._check_chunk(members(value))

    def _check_chunk(self, value: Mapping[str, Any]) -> Iterator[Finding]:
        for name in SAME:
            if name in value and self._head.setdefault(name, value[name]) != value[name]:
                yield "gemini.chunk.same", f"{name} {show(value[name])} after {show(self._head[name])}"
        yield from answer(value, self._ids)


def _kind_of(value: Any) -> str:
    if members(value).get("error"):
        return "error"
    return "finish" if _has_end(value) else "chunk"


def _has_end(value: Any) -> bool:
    if members(members(value).get("promptFeedback")).get("blockReason"):
        return True
    return any(members(one).get("finishReason") for one in elements(members(value).get("candidates")))


def answer(value: Mapping[str, Any], ids: set[str]) -> Iterator[Finding]:
    """Check a piece or a whole answer; ``ids`` are the ids of calls so far."""
    if not any(name in value for name in ("candidates", "usageMetadata", "promptFeedback")):
        yield "gemini.chunk.shape", f"members {', '.join(value) or 'none'}"
    for candidate in elements(value.get("candidates")):
        if wrong := find_misfit(candidate, CANDIDATE, "candidate"):
            yield "gemini.candidate.shape", wrong
            continue
        if not candidate["content"]["parts"]:
            yield "gemini.candidate.shape", "candidate.content.parts is empty"
        for part in candidate["content"]["parts"]:
            yield from _check_part(members(part), ids)
        reason = candidate.get("finishReason")
        if reason is not None and (not isinstance(reason, str) or reason not in FINISH):
            yield "gemini.finish.known", f"finishReason {show(reason)}"
    yield from _check_usage(value.get("usageMetadata"))


def _check_part(part: Mapping[str, Any], ids: set[str]) -> Iterator[Finding]:
    kinds = [kind for kind in PARTS if kind in part]
    if len(kinds) != 1:
        yield "gemini.part.union", f"a part of {', '.join(part) or 'nothing'}"
    for kind in kinds:
        if wrong := find_misfit(part[kind], PARTS[kind], kind):
            yield "gemini.part.shape", wrong
    if "thought" in part and not isinstance(part["thought"], bool):
        yield "gemini.part.shape", f"thought is {show(part['thought'])}"
    if "thoughtSignature" in part and not (part["thoughtSignature"] and is_base64(part["thoughtSignature"])):
        yield "gemini.part.signature", f"thoughtSignature {show(part['thoughtSignature'])}"
    id = string_or_empty(members(part.get("functionCall")).get("id"))
    if id and id in ids:
        yield "gemini.call.unique", f"the id {show(id)} again"
    ids.add(id)


def _check_usage(usage: Any) -> Iterator[Finding]:
    if usage is None:
        return
    if wrong := find_misfit(usage, COUNTS, "usageMetadata"):
        yield "gemini.usage.ints", wrong
    elif "totalTokenCount" in usage and "candidatesTokenCount" in usage:
        parts = sum(usage.get(name, 0) for name in SUMMED)
        if parts != usage["totalTokenCount"]:
            yield "gemini.usage.total", f"the parts add up to {parts} of {usage['totalTokenCount']}"


def error(value: Any) -> Iterator[Finding]:
    """Check an error of Google's APIs."""
    if wrong := find_misfit(value, ERROR):
        yield "gemini.error.shape", wrong


def is_spoken(value: Mapping[str, Any]) -> bool:
    """Return whether ``value`` is an answer of this API, a piece of one, or an error."""
    error = members(value.get("error"))
    return (
        "candidates" in value or "promptFeedback" in value or (isinstance(error.get("code"), int) and "status" in error)
    )


STREAM = GeminiStream


def outcome(value: Any) -> Outcome | None:
    """Return the outcome that ``value`` shows. See ``Grammar.outcome``."""
    if members(value).get("error"):
        return "failed"
    return "complete" if _has_end(value) else None


def whole(value: Any) -> Iterator[Finding]:
    """Check a ``GenerateContentResponse``, the body of an error, or a stream as one array."""
    if isinstance(value, list):
        judged = GeminiStream()
        for one in value:
            yield from judged.check_event(None, one)
        yield from judged.check_end()
    elif members(value).get("error"):
        yield from error(value)
    elif not _has_end(value):
        yield "gemini.whole.shape", "no candidate with a finishReason, no promptFeedback with a blockReason"
    else:
        yield from answer(members(value), set())
