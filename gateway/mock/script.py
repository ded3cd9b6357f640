"""What the stand-in provider answers, as events: words, thinking if asked for, JSON by a schema, the call of a tool."""

import json
from collections.abc import Iterator

from gateway.mock import words
from gateway.mock.filling import Unfillable, fill
from gateway.mock.tools import Pick, choose, offered
from providers.neutral.codec import new_id
from providers.neutral.request import Call, CallPart, Format, ResultPart
from streams.errors import GatewayError
from streams.events import (
    Api,
    Begin,
    BlockEnd,
    End,
    Event,
    Reason,
    Sealed,
    Text,
    Thought,
    ToolBegin,
    ToolInput,
    Usage,
)


def script(call: Call, api: Api) -> list[Event]:
    """The answer to ``call``, as events: thinking if it is asked for, then a call of a tool if there is one to make,
    else words, or JSON in the format that is asked for.

    Raises ``GatewayError`` (400) for a format that nothing fits."""
    return list(_events(call, api))


def _events(call: Call, api: Api) -> Iterator[Event]:
    yield Begin(new_id("mock-"), call.model)
    block, thought = 0, 0
    if call.reasoning is not None and call.reasoning.mode != "disabled" and call.reasoning.effort != "none":
        thoughts = _tokens(words.THINKING)
        thought = len(thoughts)
        yield from (Thought(block, word) for word in thoughts)
        yield Sealed(block, api, _native_thinking(api))
        yield BlockEnd(block)
        block += 1
    pick = choose(call)
    reason: Reason
    if pick is not None:
        yield from _call_events(block, pick)
        reason, tokens = "tool_calls", 12
    else:
        said = _tokens(_text(call))
        yield from (Text(block, token) for token in said)
        yield BlockEnd(block)
        reason, tokens = "stop", len(said)
    asked = max(1, sum(len(str(turn.parts)) for turn in call.turns) // 4)
    yield Usage(input=asked, output=tokens + thought, reasoning=thought or None)
    yield End(reason)


def _call_events(block: int, pick: Pick) -> Iterator[Event]:
    yield ToolBegin(block, new_id("call_"), pick.tool.name, pick.tool.kind)
    half = len(pick.input) // 2
    yield from (ToolInput(block, piece) for piece in (pick.input[:half], pick.input[half:]) if piece)
    yield BlockEnd(block)


def _text(call: Call) -> str:
    if call.format is not None:
        return _json(call, call.format)
    if words.wants_title(call):
        return words.title(call)
    said = words.shown(words.said(call))
    if (told := _told(call)) is not None:
        asked, result = told
        return words.CALLED.format(said=said, tool=asked.name, input=words.shown(asked.input), told=words.told(result))
    mode, tools = offered(call)
    if mode == "auto" and tools and not any(isinstance(part, ResultPart) for turn in call.turns for part in turn.parts):
        return words.NOT_CALLED.format(said=said, tools=words.names([tool.name for tool in tools]))
    return words.ANSWER.format(said=said)


def _json(call: Call, format: Format) -> str:
    schema = format.schema if format.kind == "json_schema" else {"properties": {"answer": {"type": "string"}}}
    try:
        found = fill(schema, lambda name: words.text_for(name, call))
    except Unfillable:
        raise GatewayError("invalid_request", "the stand-in finds no value for this schema", param=format.at) from None
    return json.dumps(found, ensure_ascii=False)


def _told(call: Call) -> tuple[CallPart, ResultPart] | None:
    """The call whose result is the last that was said, and that."""
    for turn in reversed(call.turns):
        results = [part for part in turn.parts if isinstance(part, ResultPart)]
        if results:
            calls = (part for turn in call.turns for part in turn.parts if isinstance(part, CallPart))
            return next(((part, results[-1]) for part in calls if part.id == results[-1].call_id), None)
        if turn.role == "user" and words.said_in(turn):
            return None
    return None


def _native_thinking(api: Api) -> object:
    """What the provider that is played would want back on the next turn."""
    match api:
        case "messages":
            return {"type": "thinking", "thinking": words.THINKING, "signature": "bW9jay1zaWduYXR1cmU="}
        case "responses":
            summary = [{"type": "summary_text", "text": words.THINKING}]
            return {"type": "reasoning", "id": new_id("rs_"), "summary": summary, "encrypted_content": "bW9jaw=="}
        case _:
            return {"field": "reasoning_content"}


def _tokens(text: str) -> list[str]:
    """The words with the space before each, as models' tokens have it."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]
