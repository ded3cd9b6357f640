"""The grammar of Anthropic Messages.

``message_start (block)* message_delta message_stop``, with ``ping`` anywhere after ``message_start`` and ``block =
content_block_start content_block_delta* content_block_stop``. A failure is an ``error`` event, which ends the stream.
Sources: Anthropic's streaming reference and the types of the anthropic package.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from providers.grammar.frames import DONE, FRAME_RULES, SSE_FRAMES
from providers.grammar.rules import Finding, Outcome, Rule, States, Stream, table
from providers.grammar.shapes import Shape, elements, find_misfit, is_object, members, one_of, show, string_or_empty

SPEC = "Anthropic, streaming Messages"
TYPES = "types of the anthropic package"
OTHERS = "other servers of this API"
OLD = "recordings of before 2026"

FRAMES = SSE_FRAMES

RULES: Mapping[str, Rule] = table(
    *FRAME_RULES,
    Rule("messages.frame.name", "the event: line is there and equals the type in the data", SPEC),
    Rule("messages.done", "there is no data: [DONE]", SPEC),
    Rule("messages.event.known", "the event's type is one of the API's", TYPES, "Anthropic: new ones come unannounced"),
    Rule("messages.event.shape", "the event has the members that its type needs", TYPES),
    # Order
    Rule("messages.start.first", "message_start is the first event", "BerriAI/litellm#32357"),
    Rule("messages.start.once", "message_start comes once", "braintrustdata/lingua#318"),
    Rule("messages.block.contiguous", "a block starts only after the one before has stopped", "ollama/ollama#17101"),
    Rule("messages.block.open", "a delta or a stop belongs to the block that is open", "ollama/ollama#17101"),
    Rule("messages.block.index", "blocks are numbered 0, 1, 2, … as they start", "Wei-Shaw/sub2api#4286"),
    Rule("messages.block.late", "no block starts after message_delta", SPEC),
    Rule("messages.delta.blocks", "every block has stopped before message_delta", SPEC),
    Rule("messages.delta.once", "message_delta comes once", SPEC),
    Rule("messages.stop.delta", "message_delta comes before message_stop", "Anthropic SDKs lose the stop reason"),
    Rule("messages.stop.last", "nothing follows message_stop", SPEC),
    Rule("messages.error.last", "nothing follows an error, not even message_stop", "BerriAI/litellm#40578"),
    Rule("messages.end", "the stream ends with message_stop or an error", "maximhq/bifrost#5546"),
    # The message
    Rule("messages.message.shape", "a message has id, type, role, model, content and usage", TYPES),
    Rule("messages.message.keys", "missing members of a message are null", "types of @anthropic-ai/sdk", OLD),
    Rule("messages.message.id", "the id begins with msg_", SPEC, OTHERS),
    Rule("messages.start.empty", "a message that starts has no content and no stop_reason", SPEC,
         "Anthropic, programmatic tool calling"),
    Rule("messages.usage.ints", "token counts are integers ≥ 0", "BerriAI/litellm#12924"),
    Rule("messages.usage.keys", "missing members of usage are null", "types of @anthropic-ai/sdk", OLD),
    Rule("messages.usage.thinking", "thinking_tokens are part of output_tokens", TYPES),
    Rule("messages.usage.input", "message_delta.usage has input_tokens, too: some clients read only that",
         "router-for-me/CLIProxyAPI#1700", OLD),
    Rule("messages.delta.keys", "missing members of message_delta are null", "types of @anthropic-ai/sdk", OLD),
    Rule("messages.reason.known", "stop_reason is one of the API's", TYPES, "Anthropic: new ones come unannounced"),
    Rule("messages.reason.calls", "stop_reason is tool_use if the client's tools are called, and only then",
         "vllm-project/agentic-api#296", OTHERS),
    Rule("messages.reason.sequence", "stop_sequence is set if and only if it is the stop_reason", SPEC),
    # Blocks
    Rule("messages.block.known", "the block's type is one of the API's", TYPES, "Anthropic: new ones come unannounced"),
    Rule("messages.block.shape", "the block has the members that its type needs", TYPES),
    Rule("messages.block.members", "a text has citations, a call its caller", TYPES,
         "Anthropic: texts without citations have none; calls had no caller before 2026"),
    Rule("messages.block.empty", "text, thinking, signature and input are present and empty when a block starts", SPEC,
         "Anthropic, programmatic tool calling; thinking of 2025 starts without signature"),
    Rule("messages.text.said", "a text block is not empty", "agentjido/req_llm#763", OTHERS),
    Rule("messages.piece.known", "the delta's type is one of the API's", TYPES, "Anthropic: new ones come unannounced"),
    Rule("messages.piece.fits", "the delta's type fits the block's", "BerriAI/litellm#33224"),
    Rule("messages.piece.shape", "the delta has the member that its type needs", TYPES),
    Rule("messages.input.empty", "no input_json_delta is empty", "theopenco/llmgateway#2468", "Anthropic itself"),
    Rule("messages.input.json", "the joined pieces of an input are a JSON object, or there are no pieces",
         "BerriAI/litellm#24355"),
    Rule("messages.tool.id", "a call's id is 1 to 64 letters, digits, _ or -", "huggingface/smolagents#1958"),
    Rule("messages.tool.unique", "each call has its own id", "huggingface/smolagents#1958"),
    Rule("messages.signature.last", "the signature is the last delta of its thinking block, and the only one",
         "8monkey-ai/hebo-gateway#132"),
    Rule("messages.signature.there", "a thinking block has a signature", "8monkey-ai/hebo-gateway#132", OTHERS),
    # Errors and whole answers
    Rule("messages.error.shape", "an error is {type: error, error: {type, message}}", "anthropics/claude-code#51700"),
    Rule("messages.error.type", "the error's type is one of the API's", TYPES, OTHERS),
    Rule("messages.error.request_id", "the body of an error has a request_id", TYPES, OLD),
    Rule("messages.whole.json", "the body is JSON", SPEC),
    Rule("messages.whole.ended", "an answer has a stop_reason", SPEC),
)  # fmt: skip

# The state machine. An event that its state does not list breaks the rule in MISPLACED.
STATES: States = {
    "start": {"message_start": "between", "error": "failed"},
    "between": {
        "content_block_start": "block",
        "message_delta": "ending",
        "ping": "between",
        "error": "failed",
    },
    "block": {"content_block_delta": "block", "content_block_stop": "between", "ping": "block", "error": "failed"},
    "ending": {"message_stop": "complete", "ping": "ending", "error": "failed"},
    "complete": {},
    "failed": {},
}
MISPLACED: Mapping[tuple[str, str], str] = {
    ("start", "*"): "messages.start.first",
    ("between", "message_start"): "messages.start.once",
    ("between", "message_stop"): "messages.stop.delta",
    ("between", "*"): "messages.block.open",
    ("block", "message_start"): "messages.start.once",
    ("block", "content_block_start"): "messages.block.contiguous",
    ("block", "*"): "messages.delta.blocks",
    ("ending", "message_start"): "messages.start.once",
    ("ending", "message_delta"): "messages.delta.once",
    ("ending", "*"): "messages.block.late",
    ("complete", "*"): "messages.stop.last",
    ("failed", "*"): "messages.error.last",
}

EVENTS: Mapping[str, Shape] = {
    "message_start": {"message": "object"},
    "content_block_start": {"index": "int", "content_block": {"type": "text"}},
    "content_block_delta": {"index": "int", "delta": {"type": "text"}},
    "content_block_stop": {"index": "int"},
    "message_delta": {"delta": {"stop_reason": "text", "stop_sequence": "string|null"}, "usage": "object"},
    "message_stop": {},
    "ping": {},
    "error": {},
}

MESSAGE: Shape = {
    "id": "text", "type": one_of("message"), "role": one_of("assistant"), "model": "string",
    "content": "array", "usage": "object",
}  # fmt: skip
MESSAGE_KEYS: Shape = dict.fromkeys(("stop_reason", "stop_sequence", "stop_details", "container", "diagnostics"), "any")
DELTA_KEYS: Shape = dict.fromkeys(("stop_details", "container"), "any")
EMPTY: Shape = {"content": [one_of()], "stop_reason?": "null"}
COUNTS: Shape = {
    "input_tokens": "int", "output_tokens": "int",
    "cache_creation_input_tokens?": "int|null", "cache_read_input_tokens?": "int|null",
}  # fmt: skip
PARTS: Mapping[str, Any] = {
    "cache_creation": {"ephemeral_5m_input_tokens": "int", "ephemeral_1h_input_tokens": "int"},
    "output_tokens_details": {"thinking_tokens": "int"},
}
USAGE_KEYS: Shape = dict.fromkeys(
    (
        "cache_creation", "cache_creation_input_tokens", "cache_read_input_tokens", "inference_geo",
        "output_tokens_details", "server_tool_use", "service_tier",
    ),
    "any",
)  # fmt: skip

RESULT: Mapping[str, Any] = {"tool_use_id": "text", "content": "any"}
CALL: Mapping[str, Any] = {"id": "text", "name": "text", "input": "object"}
BLOCKS: Mapping[str, Shape] = {
    "text": {"text": "string", "citations?": "array|null"},
    "thinking": {"thinking": "string", "signature?": "string"},
    "redacted_thinking": {"data": "string"},
    "tool_use": CALL,
    "server_tool_use": CALL,
    "mcp_tool_use": {**CALL, "server_name": "string"},
    "mcp_tool_result": {**RESULT, "is_error": "boolean"},
    "web_search_tool_result": RESULT,
    "web_fetch_tool_result": RESULT,
    "code_execution_tool_result": RESULT,
    "bash_code_execution_tool_result": RESULT,
    "text_editor_code_execution_tool_result": RESULT,
    "tool_search_tool_result": RESULT,
    "advisor_tool_result": RESULT,
    "container_upload": {"file_id": "string"},
    "compaction": {},
    "fallback": {"from": "any", "to": "any"},
    "mcp_tool_listing": {"mcp_server_name": "string", "tools": "array"},
}
# Members that are also required, but that some servers omit.
MEMBERS: Mapping[str, Shape] = {
    "text": {"citations": "array|null"},
    "tool_use": {"caller": {"type": "text"}},
}
CALLS = ("tool_use", "server_tool_use", "mcp_tool_use")
BLANK: Mapping[str, Shape] = {
    "text": {"text": one_of("")},
    "thinking": {"thinking": one_of(""), "signature": one_of("")},
    "tool_use": {"input": "object"},
}

# By delta: the blocks that it belongs to, and its shape.
PIECES: Mapping[str, tuple[tuple[str, ...], Shape]] = {
    "text_delta": (("text",), {"text": "string"}),
    "citations_delta": (("text",), {"citation": "object"}),
    "thinking_delta": (("thinking",), {"thinking": "string"}),
    "signature_delta": (("thinking",), {"signature": "string"}),
    "input_json_delta": (CALLS, {"partial_json": "string"}),
    "compaction_delta": (("compaction",), {}),
}

REASONS = one_of(
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal",
    "model_context_window_exceeded", "compaction",
)  # fmt: skip
CUT_SHORT = ("max_tokens", "model_context_window_exceeded", "refusal", "pause_turn")  # an input may then be incomplete
ERROR: Shape = {"type": one_of("error"), "error": {"type": "text", "message": "string"}}
ERRORS = one_of(
    "invalid_request_error", "authentication_error", "billing_error", "permission_error", "not_found_error",
    "rate_limit_error", "timeout_error", "api_error", "overloaded_error", "request_too_large",
)  # fmt: skip

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

Check: TypeAlias = "Callable[[MessagesStream, Mapping[str, Any]], Iterator[Finding]]"


class MessagesStream(Stream):
    """A ``Stream`` of Messages."""

    states, misplaced, end_rule = STATES, MISPLACED, "messages.end"

    def __init__(self) -> None:
        self.blocks = 0
        self.block: Mapping[str, Any] = {}  # the block of its start event
        self.pieces: list[str] = []  # the input of the open block
        self.has_text = False
        self.has_signature = False
        self.ids: set[str] = set()
        self.calls_tools = False
        self.unparsed: str | None = None  # the first invalid input, which is allowed only if the answer was cut short

    def check_event(self, name: str | None, value: Any) -> Iterator[Finding]:
        if value == DONE:
            yield "messages.done", "data: [DONE]"
            return
        kind = string_or_empty(value.get("type"))
        if name != kind:
            yield "messages.frame.name", f"event: {name or 'none'} over type {show(value.get('type'))}"
        if kind not in EVENTS and self.position not in ("complete", "failed"):
            yield "messages.event.known", f"type {show(value.get('type'))}"
            return
        yield from self.check_order(kind)
        if wrong := find_misfit(value, EVENTS[kind]):
            yield "messages.event.shape", f"{kind}: {wrong}"
            return
        if kind in _CHECKS:
            yield from _CHECKS[kind](self, value)


def _check_message_start(stream: MessagesStream, value: Mapping[str, Any]) -> Iterator[Finding]:
    message = value["message"]
    yield from _check_message(message)
    if wrong := find_misfit(message, EMPTY, "message"):
        yield "messages.start.empty", wrong


def _check_message(message: Any) -> Iterator[Finding]:
    if wrong := find_misfit(message, MESSAGE, "message"):
        yield "messages.message.shape", wrong
        return
    if wrong := find_misfit(message, MESSAGE_KEYS, "message"):
        yield "messages.message.keys", wrong
    if not message["id"].startswith("msg_"):
        yield "messages.message.id", f"id {show(message['id'])}"
    yield from _check_usage(message["usage"])
    if wrong := find_misfit(message["usage"], USAGE_KEYS, "usage"):
        yield "messages.usage.keys", wrong


def _check_usage(usage: Mapping[str, Any], shape: Shape = COUNTS) -> Iterator[Finding]:
    parts = {name: inner for name, inner in PARTS.items() if usage.get(name) is not None}
    if wrong := find_misfit(usage, shape, "usage") or find_misfit(usage, parts, "usage"):
        yield "messages.usage.ints", wrong
        return
    thinking = members(usage.get("output_tokens_details")).get("thinking_tokens", 0)
    if thinking > usage["output_tokens"]:
        yield "messages.usage.thinking", f"{thinking} thinking_tokens of {usage['output_tokens']} output_tokens"


def _check_block_start(stream: MessagesStream, value: Mapping[str, Any]) -> Iterator[Finding]:
    block = stream.block = value["content_block"]
    if value["index"] != stream.blocks:
        yield "messages.block.index", f"index {value['index']} where {stream.blocks} is next"
    stream.blocks += 1
    stream.pieces, stream.has_text, stream.has_signature = [], bool(block.get("text")), bool(block.get("signature"))
    yield from _check_block(block, stream.ids)
    kind = block["type"]
    stream.calls_tools = stream.calls_tools or kind == "tool_use"
    if (wrong := find_misfit(block, BLANK.get(kind, "any"), kind)) or (kind == "tool_use" and block.get("input")):
        yield "messages.block.empty", wrong or f"input is {show(block['input'])}"


def _check_block(block: Any, ids: set[str]) -> Iterator[Finding]:
    """Check the rules of every block, streamed or not; ``ids`` are the ids of earlier calls."""
    kind = string_or_empty(members(block).get("type"))
    if kind not in BLOCKS:
        yield "messages.block.known", f"a block of type {show(members(block).get('type'))}"
        return
    if wrong := find_misfit(block, BLOCKS[kind], kind):
        yield "messages.block.shape", wrong
        return
    if wrong := find_misfit(block, MEMBERS.get(kind, "any"), kind):
        yield "messages.block.members", wrong
    if kind in CALLS:
        if not _ID.fullmatch(block["id"]):
            yield "messages.tool.id", f"id {show(block['id'])}"
        if block["id"] in ids:
            yield "messages.tool.unique", f"id {show(block['id'])} again"
        ids.add(block["id"])


def _check_block_delta(stream: MessagesStream, value: Mapping[str, Any]) -> Iterator[Finding]:
    delta, block = value["delta"], stream.block
    if value["index"] != stream.blocks - 1:
        yield "messages.block.open", f"a delta of block {value['index']} while {stream.blocks - 1} is open"
    kind = delta["type"]
    if kind not in PIECES:
        yield "messages.piece.known", f"a delta of type {show(kind)}"
        return
    fitting, shape = PIECES[kind]
    if block.get("type") in BLOCKS and block["type"] not in fitting:
        yield "messages.piece.fits", f"{kind} in a {block['type']} block"
    if wrong := find_misfit(delta, shape, kind):
        yield "messages.piece.shape", wrong
        return
    if stream.has_signature:
        yield "messages.signature.last", f"{kind} after the signature"
    stream.has_signature = stream.has_signature or kind == "signature_delta"
    stream.has_text = stream.has_text or bool(delta.get("text"))
    if kind == "input_json_delta":
        stream.pieces.append(delta["partial_json"])
        if not delta["partial_json"]:
            yield "messages.input.empty", "an empty input_json_delta"


def _check_block_stop(stream: MessagesStream, value: Mapping[str, Any]) -> Iterator[Finding]:
    if value["index"] != stream.blocks - 1:
        yield "messages.block.open", f"a stop of block {value['index']} while {stream.blocks - 1} is open"
    match stream.block.get("type"):
        case "text" if not stream.has_text:
            yield "messages.text.said", f"block {value['index']} has no text"
        case "thinking" if not stream.has_signature:
            yield "messages.signature.there", f"block {value['index']} has no signature"
    text = "".join(stream.pieces)
    if text and stream.unparsed is None and not is_object(text):
        stream.unparsed = text


def _check_message_delta(stream: MessagesStream, value: Mapping[str, Any]) -> Iterator[Finding]:
    delta, usage = value["delta"], value["usage"]
    if wrong := find_misfit(delta, DELTA_KEYS, "delta"):
        yield "messages.delta.keys", wrong
    yield from _check_reason(delta, stream.calls_tools)
    if stream.unparsed is not None and delta["stop_reason"] not in CUT_SHORT:
        yield "messages.input.json", f"the input {show(stream.unparsed)}"
    if "input_tokens" not in usage:
        yield "messages.usage.input", "usage.input_tokens is missing"
    yield from _check_usage({"input_tokens": 0, **usage})


def _check_reason(said: Mapping[str, Any], calls_tools: bool) -> Iterator[Finding]:
    reason, sequence = said["stop_reason"], said.get("stop_sequence")
    if reason not in REASONS:
        yield "messages.reason.known", f"stop_reason {show(reason)}"
    if calls_tools and reason == "end_turn":
        yield "messages.reason.calls", "stop_reason end_turn, with calls"
    if reason == "tool_use" and not calls_tools:
        yield "messages.reason.calls", "stop_reason tool_use, without a call"
    if (reason == "stop_sequence") != (sequence is not None):
        yield "messages.reason.sequence", f"stop_reason {show(reason)} with stop_sequence {show(sequence)}"


def _check_error(stream: MessagesStream | None, value: Mapping[str, Any]) -> Iterator[Finding]:
    if wrong := find_misfit(value, ERROR):
        yield "messages.error.shape", wrong
        return
    if value["error"]["type"] not in ERRORS:
        yield "messages.error.type", f"error.type {show(value['error']['type'])}"


_CHECKS: Mapping[str, Check] = {
    "message_start": _check_message_start,
    "content_block_start": _check_block_start,
    "content_block_delta": _check_block_delta,
    "content_block_stop": _check_block_stop,
    "message_delta": _check_message_delta,
    "error": _check_error,
}


STREAM = MessagesStream


def outcome(value: Any) -> Outcome | None:
    """Return the outcome that ``value`` shows; a ``message_delta`` with a reason is a success, too. See
    ``Grammar.outcome``."""
    kind = members(value).get("type")
    if kind == "error":
        return "failed"
    ended = kind == "message_delta" and members(value.get("delta")).get("stop_reason")
    return "complete" if ended or kind == "message_stop" else None


def whole(value: Any) -> Iterator[Finding]:
    """Check a ``Message``, or the body of an error."""
    if members(value).get("type") == "error" or members(value).get("error") is not None:
        yield from _check_error(None, value)
        if wrong := find_misfit(value, {"request_id": "string|null"}):
            yield "messages.error.request_id", wrong
        return
    yield from _check_message(value)
    ids: set[str] = set()
    blocks = elements(members(value).get("content"))
    for block in blocks:
        yield from _check_block(block, ids)
        if members(block).get("type") == "thinking" and "signature" not in block:
            yield "messages.signature.there", "a thinking block without a signature"
    if wrong := find_misfit(value, {"stop_reason": "text"}):
        yield "messages.whole.ended", wrong
        return
    yield from _check_reason(value, any(members(block).get("type") == "tool_use" for block in blocks))
