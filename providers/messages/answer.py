"""Reader and writer of whole Messages answers, and the values that they share with streams.

Source: ``Message``, ``Usage`` and ``StopReason`` of the anthropic package.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from providers.errors.failures import error_or_raise, load_answer
from providers.messages.blocks import tool_id
from providers.messages.content import DIRECT_CALLER
from providers.messages.usage import Counts, full_usage
from providers.neutral.arguments import call_input
from providers.neutral.bounds import check_length
from providers.neutral.codec import Reply, complete_usage, corrected_reason, new_id
from providers.neutral.ends import ENDS, WRITTEN, Failed, end_failure
from providers.neutral.fields import Drops
from providers.neutral.made_images import signs_image
from providers.neutral.parameters import stop_strings
from providers.neutral.request import NativeTool, Parameter
from providers.neutral.seal import Issuer, seal
from providers.neutral.shapes import ByType, Shape, check_answer
from providers.neutral.values import arguments_text, as_string
from streams.events import (
    AnswerEnd,
    AnswerStart,
    BlockEnd,
    Citation,
    ErrorInfo,
    Event,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)
from streams.fold import Answer, Block, NativeBlock, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock

_ENDS = ENDS["messages"]
_OWN_REASONS = ("compaction",)  # a reason of this API only, written back unchanged


def read_failure(word: str | None) -> ErrorInfo | None:
    """Return the failure that the stop reason ``word`` means, or ``None``."""
    meaning = _ENDS.get((word or "").lower())
    return end_failure(meaning, word or "", (word or "").lower()) if isinstance(meaning, Failed) else None


def read_end(word: str | None, stop_sequence: str | None, details: Any) -> AnswerEnd:
    """Return the end of an answer. An unknown reason reads as ``stop``; ``details`` explain a refusal."""
    meaning = _ENDS.get((word or "").lower())
    reason, is_known = (meaning, True) if isinstance(meaning, str) else ("stop", False)
    return AnswerEnd(reason, word, stop_sequence, details if isinstance(details, dict) else None, is_known=is_known)


def write_end(end: AnswerEnd, calls_tools: bool, stop: Parameter | None) -> dict[str, Any]:
    """Return the members of a message, or of ``message_delta.delta``, about the end of the answer. All are required.

    ``stop`` has the request's stop strings: if there is one, a provider that does not report it has met that one.
    """
    own = end.raw if end.raw in _OWN_REASONS and not calls_tools else None
    word = own or WRITTEN["messages"][corrected_reason(end.reason, calls_tools)]
    stops = stop_strings(stop, Drops()) if word == "stop_sequence" else []
    only = stops[0] if len(stops) == 1 else None
    return {
        "stop_reason": word,
        "stop_sequence": end.stop_sequence or only if word == "stop_sequence" else None,
        "stop_details": end.details,
        "container": None,
    }


# Seals


def signature(issuer: Issuer, state: ReasoningState | None) -> str:
    """Return the ``signature`` of a thinking block: the provider's own for a block of this API, else our seal.

    Clients require a signature in every block. Without a ``state`` the seal is empty and is never restored.
    """
    if state is None:
        return seal(issuer, "messages", None)
    if state.api == "messages" and isinstance(state.item, dict) and isinstance(state.item.get("signature"), str):
        return str(state.item["signature"])
    return seal(issuer, state.api, state.item)


def textless_block(issuer: Issuer, state: ReasoningState) -> dict[str, Any]:
    """Return the block for reasoning without text: the provider's own, or a redacted one with our seal."""
    if state.api == "messages" and isinstance(state.item, dict):
        return state.item
    return {"type": "redacted_thinking", "data": seal(issuer, state.api, state.item)}


# Reading


def block_events(number: int, item: Mapping[str, Any], ids: set[str]) -> list[Event]:
    """Return the events of a finished block, the same as for a streamed one; none for an empty block.

    Adds to ``ids``, the ids of all calls so far.
    """
    kind = as_string(item.get("type"))
    if kind == "text":
        return _text_events(number, as_string(item.get("text")), item.get("citations"))
    if kind == "thinking":
        return reasoning_events(number, as_string(item.get("thinking")), item)
    if kind == "redacted_thinking":
        return [ReasoningState(number, "messages", item), BlockEnd(number)]
    if kind == "tool_use":
        text = arguments_text(item.get("input"))
        begin = tool_call_start(number, item, ids)
        return [begin, *([ToolCallDelta(number, text)] if text else []), BlockEnd(number)]
    return [NativeItem(number, "messages", kind, item)]


def _text_events(number: int, text: str, citations: Any) -> list[Event]:
    if not text:
        return []
    cited = check_length(citations, "citations") if isinstance(citations, list) else ()
    return [TextDelta(number, text), *(Citation(number, "messages", item) for item in cited), BlockEnd(number)]


def reasoning_events(number: int, text: str, item: Mapping[str, Any]) -> list[Event]:
    """Return the events of a whole thinking block. A signed block is itself the state that the provider
    requires back."""
    events: list[Event] = [ReasoningDelta(number, text)] if text else []
    if as_string(item.get("signature")):
        events.append(ReasoningState(number, "messages", item))
    return [*events, BlockEnd(number)] if events else []


def tool_call_start(number: int, item: Mapping[str, Any], ids: set[str]) -> ToolCallStart:
    """Return the start of a tool call, with a new id if the provider sent none or repeated one."""
    id = as_string(item.get("id"))
    if not id or id in ids:
        id = new_id("toolu_")
    ids.add(id)
    return ToolCallStart(number, id, as_string(item.get("name")))


_MESSAGE: Shape = {
    "content": [
        ByType(
            {
                "text": {"text": str},
                "thinking": {"thinking": str, "signature": str},
                "tool_use": {"id": str, "name": str},
            }
        )
    ],
    "stop_reason": str,
}


def read_answer(body: bytes, texts: bool = True, checked: bool = True) -> Sequence[Event]:
    """Return a whole message as events. See ``Codec.read_answer``."""
    value = load_answer(body)
    if checked and isinstance(value, dict) and "content" in value:
        check_answer(value, _MESSAGE)
    if not isinstance(value, dict) or not isinstance(value.get("content"), list):
        return [error_or_raise(value, "the provider's answer is no message of the Messages API")]
    return _answer_events(value)


def _answer_events(value: Mapping[str, Any]) -> list[Event]:
    events: list[Event] = [AnswerStart(as_string(value.get("id")), as_string(value.get("model")))]
    counts = Counts()
    counts.add(value.get("usage"))
    counts.add_diagnosis(value)
    if (usage := counts.usage()) is not None:  # first, because a client's stream may start with it
        events.append(usage)
    ids: set[str] = set()
    number = 0
    for item in check_length(value["content"], "content blocks"):
        if isinstance(item, dict) and (block := block_events(number, item, ids)):
            events.extend(block)
            number += 1
    word, matched = as_string(value.get("stop_reason")) or None, as_string(value.get("stop_sequence")) or None
    events.append(read_failure(word) or read_end(word, matched, value.get("stop_details")))
    return events


# Writing


def empty_message(begin: AnswerStart, id: str, model: str, usage: Usage) -> dict[str, Any]:
    """Return the message of ``message_start``: every member, no content.

    The id is ``id``, else the provider's if it has this API's format, else a new one. Providers of other APIs count
    tokens at the end, so ``usage`` is an estimate: a status bar that shows 0 alarms people
    (router-for-me/CLIProxyAPI#1700).
    """
    return {
        "id": id or (begin.id if begin.id.startswith("msg_") else new_id("msg_")),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
        "diagnostics": None,
        "usage": full_usage(usage),
    }


def text_block(text: str = "", citations: Sequence[Any] = ()) -> dict[str, Any]:
    """Return a text block.

    ``citations`` must be an array or null. The AI SDK rejects null (CherryHQ/cherry-studio#13769), so this is always an
    array, as Anthropic sends it for texts that may have citations.
    """
    return {"type": "text", "text": text, "citations": list(citations)}


def call_block(id: str, name: str, input: Any) -> dict[str, Any]:
    """Return a block that calls a tool.

    ``caller`` is required. It is the model itself, because programmatic tool calls run at Anthropic only.
    """
    return {"type": "tool_use", "id": tool_id(id), "name": name, "input": input, "caller": DIRECT_CALLER}


def write_answer(answer: Answer, reply: Reply) -> bytes:
    """Return the message as JSON. See ``Codec.write_answer``."""
    usage = complete_usage(answer.usage, reply.input_estimate, answer.characters)
    message = empty_message(answer.start, reply.id, reply.request.model, usage) | {
        "content": [*map(text_block, left_out_notes(reply)), *write_content(answer.blocks, reply.issuer)],
        **write_end(answer.end, answer.calls_tools, reply.request.parameters.get("stop")),
    }
    return msgspec.json.encode(message)


def left_out_notes(reply: Reply) -> tuple[str, ...]:
    """Return a note for the answer to a client's request that has tools of the provider alone, and lost some.

    Claude Code searches the web with such requests. It shows no header, and without the note its main model takes an
    answer from memory for the results of a search (router-for-me/CLIProxyAPI#883).
    """
    request = reply.request
    if request.api != "messages" or request.format is not None or not request.tools:
        return ()
    lost = [path.partition(": ")[2] for path in reply.unsent if path.startswith("tools[]: ")]
    if not lost or not all(isinstance(tool, NativeTool) for tool in request.tools):
        return ()
    return (f"[{', '.join(lost)} is not available with {request.model}: this answer was written without it.]\n\n",)


def write_content(blocks: Sequence[Block], issuer: Issuer) -> list[Any]:
    """Return the content blocks of a message, the same as in a stream.

    Reasoning without text that follows the last text moves before it, because Claude Code shows nothing of an answer
    that ends with reasoning (musistudio/claude-code-router#1275).
    """
    visible = [block for block in blocks if not isinstance(block, NativeBlock) or block.api == "messages"]
    states: list[Block] = []
    while visible and _is_foreign_state(visible[-1]):
        states.insert(0, visible.pop())
    if visible and not isinstance(visible[-1], ReasoningBlock):
        visible[-1:-1] = states
    else:
        visible += states
    return [item for block in visible for item in _write_block(block, issuer)]


def _is_foreign_state(block: Block) -> bool:
    """Return whether ``block`` only holds state for a provider of another API."""
    if not isinstance(block, ReasoningBlock) or block.text or block.state is None:
        return False
    return block.state.api != "messages"


def _write_block(block: Block, issuer: Issuer) -> list[Any]:
    match block:
        case TextBlock(text=text, citations=citations):
            return [text_block(text, [item.item for item in citations if item.api == "messages"])] if text else []
        case RefusalBlock(text=text):
            return [text_block(text)] if text else []
        case ReasoningBlock(text="", state=state):
            return [] if state is None or signs_image(state) else [textless_block(issuer, state)]
        case ReasoningBlock(text=text, state=state):
            return [{"type": "thinking", "thinking": text, "signature": signature(issuer, state)}]
        case ToolCallBlock(id=id, name=name, input=text, kind=kind):
            return [call_block(id, name, call_input(text, kind))]
        case NativeBlock(api=api, item=item):
            return [item] if api == "messages" else []
