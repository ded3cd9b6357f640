"""The grammar of Amazon Bedrock's ConverseStream.

``messageStart (block)* messageStop metadata``, each event a frame named by its header, with ``block =
contentBlockStart? contentBlockDelta* contentBlockStop``. A failure is an exception, which ends the stream. Sources:
Amazon's service model ``bedrock-runtime`` and streams of Bedrock.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from providers.grammar.event_frames import EVENT_FRAME_RULES, EVENT_FRAMES
from providers.grammar.rules import Finding, Outcome, Rule, States, Stream, table
from providers.grammar.shapes import Shape, elements, find_misfit, is_object, members, one_of, show, string_or_empty

MODEL = "Amazon's service model, ConverseStreamOutput"
ANSWER = "Amazon's service model, ConverseResponse"
BEDROCK = "Bedrock, as recorded"
NEW = "Bedrock: new ones come unannounced"

FRAMES = EVENT_FRAMES

RULES: Mapping[str, Rule] = table(
    *EVENT_FRAME_RULES,
    Rule("converse.event.known", "the event is one of the API's, or a ping, which SDKs skip", MODEL, NEW),
    Rule("converse.event.shape", "the event has the members that it needs", MODEL),
    # Order
    Rule("converse.start.first", "messageStart is the first event", BEDROCK),
    Rule("converse.start.once", "messageStart comes once", BEDROCK),
    Rule("converse.block.contiguous", "a block starts only after the one before has stopped",
         "aaif-goose/goose#9579: clients keep one current block", "Bedrock may interleave them"),
    Rule("converse.block.open", "a delta or a stop belongs to the block that is open", BEDROCK,
         "Bedrock may interleave them"),
    Rule("converse.block.index", "blocks are numbered 0, 1, 2, … as they open", BEDROCK, "some models of Bedrock's"),
    Rule("converse.block.late", "no block opens after messageStop", BEDROCK),
    Rule("converse.stop.blocks", "every block has stopped before messageStop", BEDROCK),
    Rule("converse.stop.once", "messageStop comes once", BEDROCK),
    Rule("converse.metadata.last", "metadata comes once, after messageStop, and nothing follows it", BEDROCK),
    Rule("converse.error.last", "nothing follows an exception", "aaif-goose/goose#9579"),
    Rule("converse.end", "the stream ends with metadata or an exception", BEDROCK),
    # Blocks
    Rule("converse.union", "a delta, a start and a block have exactly one member", "botocore refuses any other union"),
    Rule("converse.block.known", "the kind of a block is one of the API's", MODEL, NEW),
    Rule("converse.block.shape", "the block has the members that its kind needs", ANSWER),
    Rule("converse.block.started", "a call starts with its name and id; texts and reasoning have no start", BEDROCK,
         "some models of Bedrock's"),
    Rule("converse.block.said", "a block is not empty", "langchain-ai/langchain-aws#130", BEDROCK),
    Rule("converse.piece.fits", "the delta's kind fits the block's", MODEL),
    Rule("converse.piece.shape", "the delta has the member that its kind needs", MODEL),
    Rule("converse.input.json", "the joined pieces of an input are a JSON object",
         "aws/bedrock-agentcore-sdk-python#425", "Bedrock: calls without arguments have no piece"),
    Rule("converse.tool.id", "a call's id is 1 to 64 letters, digits, _ . : or -", "Amazon's service model, ToolUseId"),
    Rule("converse.tool.unique", "each call has its own id", "huggingface/smolagents#1958"),
    Rule("converse.signature.last", "the signature is the last delta of its block, and the only one", BEDROCK),
    # Ends
    Rule("converse.reason.known", "stopReason is one of the API's", MODEL, NEW),
    Rule("converse.reason.calls", "stopReason is tool_use if the client's tools are called, and only then",
         "agentjido/req_llm#944", "some models of Bedrock's"),
    Rule("converse.usage.ints", "token counts are integers ≥ 0", MODEL),
    Rule("converse.usage.total", "the parts of the usage add up to totalTokens", "crmne/ruby_llm#832",
         "OpenAI's models on Bedrock (maximhq/bifrost#6942)"),
    Rule("converse.exception.known", "the exception is one of the API's stream exceptions",
         "botocore shows neither type nor message of any other", NEW),
    Rule("converse.exception.shape", "an exception has a message", MODEL),
    # Errors and whole answers
    Rule("converse.error.shape", "an error is {message}", "AWS restJson1"),
    Rule("converse.whole.json", "the body is JSON", ANSWER),
    Rule("converse.whole.shape", "an answer has output.message, stopReason, usage and metrics", ANSWER),
)  # fmt: skip

EXCEPTIONS = (
    "internalServerException", "modelStreamErrorException", "validationException", "throttlingException",
    "serviceUnavailableException",
)  # fmt: skip
PING = "ping"

# The state machine; `exception` represents all exceptions. An event that its state does not list breaks the rule in
# MISPLACED.
STATES: States = {
    "start": {"messageStart": "between", PING: "start", "exception": "failed"},
    "between": {
        "contentBlockStart": "block",
        "contentBlockDelta": "block",
        "messageStop": "stopped",
        PING: "between",
        "exception": "failed",
    },
    "block": {
        "contentBlockDelta": "block",
        "contentBlockStop": "between",
        PING: "block",
        "exception": "failed",
    },
    "stopped": {"metadata": "complete", PING: "stopped", "exception": "failed"},
    "complete": {},
    "failed": {},
}
MISPLACED: Mapping[tuple[str, str], str] = {
    ("start", "*"): "converse.start.first",
    ("between", "messageStart"): "converse.start.once",
    ("between", "metadata"): "converse.metadata.last",
    ("between", "*"): "converse.block.open",
    ("block", "messageStart"): "converse.start.once",
    ("block", "contentBlockStart"): "converse.block.contiguous",
    ("block", "metadata"): "converse.metadata.last",
    ("block", "*"): "converse.stop.blocks",
    ("stopped", "messageStop"): "converse.stop.once",
    ("stopped", "*"): "converse.block.late",
    ("complete", "*"): "converse.metadata.last",
    ("failed", "*"): "converse.error.last",
}

EVENTS: Mapping[str, Shape] = {
    "messageStart": {"role": one_of("assistant")},
    "contentBlockStart": {"contentBlockIndex": "int", "start": "object"},
    "contentBlockDelta": {"contentBlockIndex": "int", "delta": "object"},
    "contentBlockStop": {"contentBlockIndex": "int"},
    "messageStop": {"stopReason": "text"},
    "metadata": {"usage": "object", "metrics": {"latencyMs": "int"}},
    PING: {},
}

REASONS = one_of(
    "end_turn", "tool_use", "max_tokens", "stop_sequence", "guardrail_intervened", "content_filtered",
    "malformed_model_output", "malformed_tool_use", "model_context_window_exceeded",
)  # fmt: skip
CUT_SHORT = (
    "max_tokens", "content_filtered", "guardrail_intervened", "malformed_model_output", "malformed_tool_use",
    "model_context_window_exceeded",
)  # fmt: skip

COUNTS: Shape = {
    "inputTokens": "int", "outputTokens": "int", "totalTokens": "int",
    "cacheReadInputTokens?": "int", "cacheWriteInputTokens?": "int",
    "cacheDetails?": [{"ttl": "text", "inputTokens": "int"}],
}  # fmt: skip

# Kinds of blocks by their start, with its shape.
STARTS: Mapping[str, Shape] = {
    "toolUse": {"toolUseId": "text", "name": "text"},
    "toolResult": {"toolUseId": "text"},
    "image": {"format": "text"},
}

# By delta: the kind of block that it opens or belongs to, and its shape.
PIECES: Mapping[str, tuple[str, Shape]] = {
    "text": ("text", "string"),
    "citation": ("text", "object"),
    "toolUse": ("toolUse", {"input": "string"}),
    "toolResult": ("toolResult", "array"),
    "reasoningContent": ("reasoningContent", "object"),
    "image": ("image", "object"),
}
REASONING: Mapping[str, Shape] = {"text": "string", "signature": "string", "redactedContent": "string"}

BLOCKS: Mapping[str, Shape] = {
    "text": "string",
    "toolUse": {"toolUseId": "text", "name": "text", "input": "any"},
    "toolResult": {"toolUseId": "text", "content": "array"},
    "reasoningContent": "object",
    "citationsContent": "object",
    "image": {"format": "text", "source": "object"},
    "audio": {"format": "text", "source": "object"},
}
WHOLE_REASONING: Mapping[str, Shape] = {
    "reasoningText": {"text": "string", "signature?": "string"},
    "redactedContent": "string",
}
WHOLE: Shape = {
    "output": {"message": {"role": one_of("assistant"), "content": "array"}},
    "stopReason": "text", "usage": "object", "metrics": {"latencyMs": "int"},
}  # fmt: skip
ERROR: Shape = {"message": "string"}

_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")

Check: TypeAlias = "Callable[[ConverseStream, Mapping[str, Any]], Iterator[Finding]]"


class ConverseStream(Stream):
    """A ``Stream`` of Converse. The value of an event is an object with one member, its name."""

    states, misplaced, end_rule = STATES, MISPLACED, "converse.end"

    def __init__(self) -> None:
        self.blocks = 0
        self.kind = ""  # the kind of the open block, "" before its first delta
        self.is_client_call = False  # whether the block calls a tool of the client
        self.has_text = False
        self.has_signature = False
        self.pieces: list[str] = []  # the input of the open block
        self.ids: set[str] = set()
        self.calls_tools = False
        self.unparsed: str | None = None  # the first invalid input, which is allowed only if the answer was cut short

    def check_event(self, name: str | None, value: Any) -> Iterator[Finding]:
        kind = name or ""
        if kind.lower().endswith("exception"):
            yield from self._check_exception(kind, value[kind])
            return
        if kind not in EVENTS and self.position not in ("complete", "failed"):
            yield "converse.event.known", f"an event {show(kind)}"
            return
        opens = self.position == "between" and kind in ("contentBlockStart", "contentBlockDelta")
        yield from self.check_order(kind)
        if wrong := find_misfit(value[kind], EVENTS.get(kind, "any"), kind):
            yield "converse.event.shape", wrong
            return
        if opens:
            yield from self._check_open(value[kind]["contentBlockIndex"])
        if kind in _CHECKS:
            yield from _CHECKS[kind](self, value[kind])

    def _check_open(self, index: int) -> Iterator[Finding]:
        if index != self.blocks:
            yield "converse.block.index", f"index {index} where {self.blocks} is next"
        self.blocks = index + 1
        self.kind, self.is_client_call, self.has_text, self.has_signature, self.pieces = "", False, False, False, []

    def _check_exception(self, kind: str, value: Any) -> Iterator[Finding]:
        yield from self.check_order("exception")
        if kind not in EXCEPTIONS:
            yield "converse.exception.known", f"an exception {show(kind)}"
        if wrong := find_misfit(value, ERROR):
            yield "converse.exception.shape", wrong


def _only_member(value: Mapping[str, Any]) -> str | None:
    """Return the name of a union's only member, or ``None`` if it has none or several; null members do not count."""
    names = [name for name, inner in value.items() if inner is not None]
    return names[0] if len(names) == 1 else None


def _check_block_start(stream: ConverseStream, value: Mapping[str, Any]) -> Iterator[Finding]:
    kind = _only_member(value["start"])
    if kind is None:
        yield "converse.union", f"a start with {', '.join(value['start']) or 'nothing'}"
        return
    stream.kind = kind
    if kind not in STARTS:
        yield "converse.block.started" if kind in BLOCKS else "converse.block.known", f"a start of {show(kind)}"
        return
    inner = value["start"][kind]
    if wrong := find_misfit(inner, STARTS[kind], kind):
        yield "converse.block.shape", wrong
    elif kind == "toolUse":
        stream.is_client_call = inner.get("type") != "server_tool_use"
        stream.calls_tools = stream.calls_tools or stream.is_client_call
        yield from _check_id(inner["toolUseId"], stream.ids)


def _check_id(id: str, ids: set[str]) -> Iterator[Finding]:
    if not _ID.fullmatch(id):
        yield "converse.tool.id", f"id {show(id)}"
    if id in ids:
        yield "converse.tool.unique", f"id {show(id)} again"
    ids.add(id)


def _check_block_delta(stream: ConverseStream, value: Mapping[str, Any]) -> Iterator[Finding]:
    if value["contentBlockIndex"] != stream.blocks - 1:
        yield "converse.block.open", f"a delta of block {value['contentBlockIndex']} while {stream.blocks - 1} is open"
    delta = value["delta"]
    piece = _only_member(delta)
    if piece is None:
        yield "converse.union", f"a delta with {', '.join(delta) or 'nothing'}"
        return
    if piece not in PIECES:
        yield "converse.block.known", f"a delta of {show(piece)}"
        return
    fitting, shape = PIECES[piece]
    if not stream.kind:
        stream.kind = fitting
        if fitting in STARTS:
            yield "converse.block.started", f"a delta of {piece} in a block without a start"
    elif stream.kind != fitting:
        yield "converse.piece.fits", f"a delta of {piece} in a block of {stream.kind}"
    if wrong := find_misfit(delta[piece], shape, piece):
        yield "converse.piece.shape", wrong
        return
    stream.has_text = stream.has_text or bool(delta[piece])
    if piece == "toolUse":
        stream.pieces.append(delta[piece]["input"])
    elif piece == "reasoningContent":
        yield from _check_reasoning_delta(stream, delta[piece])


def _check_reasoning_delta(stream: ConverseStream, value: Mapping[str, Any]) -> Iterator[Finding]:
    member = _only_member(value)
    if member is None:
        yield "converse.union", f"reasoningContent with {', '.join(value) or 'nothing'}"
    elif member not in REASONING:
        yield "converse.block.known", f"reasoningContent with {show(member)}"
    elif wrong := find_misfit(value[member], REASONING[member], member):
        yield "converse.piece.shape", wrong
    elif stream.has_signature:
        yield "converse.signature.last", f"{member} after the signature"
    stream.has_signature = stream.has_signature or member == "signature"


def _check_block_stop(stream: ConverseStream, value: Mapping[str, Any]) -> Iterator[Finding]:
    if value["contentBlockIndex"] != stream.blocks - 1:
        yield "converse.block.open", f"a stop of block {value['contentBlockIndex']} while {stream.blocks - 1} is open"
    if stream.kind not in STARTS and not stream.has_text:
        yield "converse.block.said", f"block {value['contentBlockIndex']} has nothing"
    text = "".join(stream.pieces)
    if stream.kind == "toolUse" and stream.unparsed is None and not is_object(text):
        stream.unparsed = text


def _check_message_stop(stream: ConverseStream, value: Mapping[str, Any]) -> Iterator[Finding]:
    yield from _check_reason(value["stopReason"], stream.calls_tools)
    if stream.unparsed is not None and value["stopReason"] not in CUT_SHORT:
        yield "converse.input.json", f"the input {show(stream.unparsed)}"


def _check_reason(reason: str, calls_tools: bool) -> Iterator[Finding]:
    if reason not in REASONS:
        yield "converse.reason.known", f"stopReason {show(reason)}"
    if (calls_tools and reason == "end_turn") or (reason == "tool_use" and not calls_tools):
        yield "converse.reason.calls", f"stopReason {reason}, with{'' if calls_tools else 'out'} calls"


def _check_usage(usage: Mapping[str, Any]) -> Iterator[Finding]:
    if wrong := find_misfit(usage, COUNTS, "usage"):
        yield "converse.usage.ints", wrong
        return
    parts = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
    total = sum(usage.get(part, 0) for part in parts)
    if total != usage["totalTokens"]:
        yield "converse.usage.total", f"{total} in parts, totalTokens {usage['totalTokens']}"


_CHECKS: Mapping[str, Check] = {
    "contentBlockStart": _check_block_start,
    "contentBlockDelta": _check_block_delta,
    "contentBlockStop": _check_block_stop,
    "messageStop": _check_message_stop,
    "metadata": lambda stream, value: _check_usage(value["usage"]),
}


STREAM = ConverseStream


def outcome(value: Any) -> Outcome | None:
    """Return the outcome of an event, a whole answer or an error body. See ``Grammar.outcome``."""
    said = members(value)
    if any(name.lower().endswith("exception") for name in said) or ("message" in said and "output" not in said):
        return "failed"
    return "complete" if "messageStop" in said or "output" in said else None


def whole(value: Any) -> Iterator[Finding]:
    """Check a ``ConverseResponse``, or the body of an error."""
    if outcome(value) == "failed":
        if wrong := find_misfit(value, ERROR):
            yield "converse.error.shape", wrong
        return
    if wrong := find_misfit(value, WHOLE):
        yield "converse.whole.shape", wrong
        return
    calls_tools = False
    ids: set[str] = set()
    for block in elements(value["output"]["message"]["content"]):
        yield from _check_block(block, ids)
        call = members(members(block).get("toolUse"))
        calls_tools = calls_tools or bool(call and string_or_empty(call.get("type")) != "server_tool_use")
    yield from _check_reason(value["stopReason"], calls_tools)
    yield from _check_usage(value["usage"])


def _check_block(block: Any, ids: set[str]) -> Iterator[Finding]:
    kind = _only_member(members(block))
    if kind is None:
        yield "converse.union", f"a block with {', '.join(members(block)) or 'nothing'}"
        return
    if kind not in BLOCKS:
        yield "converse.block.known", f"a block of {show(kind)}"
        return
    inner = block[kind]
    if wrong := find_misfit(inner, BLOCKS[kind], kind):
        yield "converse.block.shape", wrong
    elif kind == "text" and not inner:
        yield "converse.block.said", "an empty text"
    elif kind == "toolUse":
        yield from _check_id(inner["toolUseId"], ids)
        if not isinstance(inner["input"], dict):
            yield "converse.input.json", f"the input {show(inner['input'])}"
    elif kind == "reasoningContent":
        member = _only_member(inner)
        if member is None:
            yield "converse.union", f"reasoningContent with {', '.join(inner) or 'nothing'}"
        elif wrong := find_misfit(inner[member], WHOLE_REASONING.get(member, "any"), member):
            yield "converse.block.shape", wrong
