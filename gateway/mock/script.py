"""The stand-in's responses as events: text, thinking if requested, JSON by a schema, or a tool call."""

import json
from collections.abc import Iterator

from gateway.mock import words
from gateway.mock.filling import NoMatchingValue, fill
from gateway.mock.tools import available_tools, choose, current_parts
from providers.neutral.codec import new_id
from providers.neutral.formats import format_in_words
from providers.neutral.request import Format, Request, TextPart, ToolCallPart, ToolResultPart
from streams.errors import GatewayError
from streams.events import (
    AnswerEnd,
    AnswerStart,
    Api,
    BlockEnd,
    Event,
    Reason,
    ReasoningDelta,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    Usage,
)


def script(request: Request, api: Api) -> Iterator[Event]:
    """Yield the response to ``request`` as events: thinking if requested, then a tool call if suitable, else text or
    JSON in the requested format.

    Raises ``GatewayError`` (400) for a format that nothing fits."""
    yield AnswerStart(new_id("mock-"), request.model)
    block, thought = 0, 0
    if request.reasoning is not None and request.reasoning.mode != "disabled" and request.reasoning.effort != "none":
        thoughts = _tokens(words.THINKING)
        thought = len(thoughts)
        yield from (ReasoningDelta(block, word) for word in thoughts)
        yield ReasoningState(block, api, _native_thinking(api))
        yield BlockEnd(block)
        block += 1
    pick = choose(request)
    reason: Reason
    if pick is not None:
        yield ToolCallStart(block, new_id("call_"), pick.tool.name, pick.tool.kind)
        half = len(pick.input) // 2
        yield from (ToolCallDelta(block, piece) for piece in (pick.input[:half], pick.input[half:]) if piece)
        yield BlockEnd(block)
        reason, tokens = "tool_calls", 12
    else:
        answer_tokens = _tokens(_answer_text(request))
        yield from (TextDelta(block, token) for token in answer_tokens)
        yield BlockEnd(block)
        reason, tokens = "stop", len(answer_tokens)
    prompt_tokens = max(1, sum(len(str(message.parts)) for message in request.messages) // 4)
    yield Usage(input=prompt_tokens, output=tokens + thought, reasoning=thought or None)
    yield AnswerEnd(reason)


def _answer_text(request: Request) -> str:
    if (format := request.format or _format_in_words(request)) is not None:
        return _json_text(request, format)
    if words.wants_title(request):
        return words.title(request)
    user_words = words.shorten(words.user_text(request))
    if (called := _last_result(request)) is not None:
        call, result = called
        input = words.shorten(call.input)
        return words.CALLED.format(said=user_words, tool=call.name, input=input, result=words.result_sentence(result))
    mode, tools = available_tools(request)
    if mode == "auto" and tools and not any(isinstance(part, ToolResultPart) for part in current_parts(request)):
        return words.NOT_CALLED.format(said=user_words, tools=words.names([tool.name for tool in tools]))
    return words.ANSWER.format(said=user_words)


def _format_in_words(request: Request) -> Format | None:
    """Return the format that a gateway requests in words after the last answer, because the API has none."""
    texts = (part.text for part in current_parts(request) if isinstance(part, TextPart))
    return next(filter(None, map(format_in_words, texts)), None)


def _json_text(request: Request, format: Format) -> str:
    schema = format.schema if format.kind == "json_schema" else {"properties": {"answer": {"type": "string"}}}
    try:
        found = fill(schema, lambda name: words.example_text(name, request))
    except NoMatchingValue:
        raise GatewayError(
            "invalid_request", "the stand-in cannot find a value that fits this JSON schema", param=format.at
        ) from None
    return json.dumps(found, ensure_ascii=False)


def _last_result(request: Request) -> tuple[ToolCallPart, ToolResultPart] | None:
    """Return the tool call whose result ends the conversation, with that result."""
    for turn in reversed(request.messages):
        results = [part for part in turn.parts if isinstance(part, ToolResultPart)]
        if results:
            calls = (part for message in request.messages for part in message.parts if isinstance(part, ToolCallPart))
            return next(((part, results[-1]) for part in calls if part.id == results[-1].call_id), None)
        if turn.role == "user" and words.user_text_in(turn):
            return None
    return None


def _native_thinking(api: Api) -> object:
    """Return the reasoning item that the imitated provider would expect on the next turn."""
    match api:
        case "messages":
            return {"type": "thinking", "thinking": words.THINKING, "signature": "bW9jay1zaWduYXR1cmU="}
        case "responses":
            summary = [{"type": "summary_text", "text": words.THINKING}]
            return {"type": "reasoning", "id": new_id("rs_"), "summary": summary, "encrypted_content": "bW9jaw=="}
        case "gemini":
            return {"part": "thought", "signature": "bW9jay1zaWduYXR1cmU="}
        case "interactions":
            return {"type": "thought", "signature": "bW9jay1zaWduYXR1cmU="}
        case "converse":
            return {"reasoningText": {"text": words.THINKING, "signature": "bW9jaw=="}}
        case _:
            return {"field": "reasoning_content"}


def _tokens(text: str) -> list[str]:
    """Return the words, each with the space before it, like model tokens."""
    first, *rest = text.split(" ")
    return [first, *(f" {word}" for word in rest)]
