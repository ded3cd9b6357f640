"""The messages of an exchange in the form of OpenTelemetry's semantic conventions for generative AI.

https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/gen-ai-spans.md"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from gateway.seams.observed_texts import ObservedTexts
from providers.neutral.request import (
    Message,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from streams.fold import Answer, Block, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock
from streams.surrogates import any_json, decode_or

REASONS: Final[Mapping[str, str]] = {"tool_calls": "tool_call", "refusal": "content_filter"}
"""The conventions' finish reasons that differ from this project's."""


def message_attributes(content: ObservedTexts) -> dict[str, str]:
    """Return the attributes with the messages of a conversation as JSON. Media have only their type."""
    request, answers = content.neutral_request, content.answers
    found: dict[str, Any] = {}
    if request is not None:
        found["gen_ai.input.messages"] = [_message(one) for one in request.messages]
    if answers:
        found["gen_ai.output.messages"] = [_answer(one) for one in answers]
    return {name: msgspec.json.encode(value).decode("utf-8", "replace") for name, value in found.items()}


def _message(message: Message) -> dict[str, Any]:
    is_result = bool(message.parts) and all(isinstance(part, ToolResultPart) for part in message.parts)
    parts = [_part(part) for part in message.parts]
    return {"role": "tool" if is_result else message.role, "parts": parts}


def _part(part: Part) -> dict[str, Any]:
    match part:
        case TextPart() | RefusalPart():
            return {"type": "text", "content": part.text}
        case ReasoningPart():
            return {"type": "reasoning", "content": part.text}
        case ToolCallPart():
            return _call(part.id, part.name, part.input)
        case ToolResultPart():
            return {"type": "tool_call_response", "id": part.call_id, "response": _join_texts(part.parts)}
        case _:
            return {"type": type(part).__name__.removesuffix("Part").lower()}


def _join_texts(parts: Iterable[Any]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextPart))


def _call(id: str, name: str, arguments: str) -> dict[str, Any]:
    value = decode_or(any_json, arguments.encode("utf-8", "replace"), arguments)
    return {"type": "tool_call", "id": id, "name": name, "arguments": value}


def _answer(answer: Answer) -> dict[str, Any]:
    parts = [part for block in answer.blocks for part in _block(block)]
    reason = answer.end.reason
    return {"role": "assistant", "parts": parts, "finish_reason": REASONS.get(reason, reason)}


def _block(block: Block) -> Sequence[dict[str, Any]]:
    match block:
        case TextBlock() | RefusalBlock():
            return [{"type": "text", "content": block.text}]
        case ReasoningBlock():
            return [{"type": "reasoning", "content": block.text}] if block.text else []
        case ToolCallBlock():
            return [_call(block.id, block.name, block.input)]
        case _:
            return [{"type": "native"}]
