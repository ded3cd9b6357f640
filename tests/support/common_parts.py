"""The parts of an answer that every API has, to compare the answers of two APIs."""

import json
from typing import Any

from streams.events import Event
from streams.fold import Answer, Fold, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock

REASONS: dict[str, dict[str, str]] = {
    "chat": {"stop_sequence": "stop", "pause": "stop", "context_exceeded": "length"},
    "messages": {},
    "responses": {"stop_sequence": "stop", "pause": "stop", "context_exceeded": "length"},
    "gemini": {"stop_sequence": "stop", "pause": "stop", "context_exceeded": "length"},
    "converse": {"pause": "stop"},
    "interactions": {"stop_sequence": "stop", "pause": "length", "context_exceeded": "length", "refusal": "length"},
}
"""The words of each client's API for reasons of other APIs."""


def whole_answer(events: list[Event]) -> Answer | None:
    """Return the whole answer, ``None`` for a failed one."""
    folded = Fold()
    for event in events:
        folded.add(event)
    return None if folded.error is not None else folded.answer()


def common_parts(answer: Answer, client: str) -> dict[str, Any]:
    """Return the parts of ``answer`` that every API has. Only OpenAI's clients get refusals as such, others as text."""
    texts = [block.text for block in answer.blocks if isinstance(block, TextBlock | RefusalBlock)]
    thoughts = [block.text for block in answer.blocks if isinstance(block, ReasoningBlock)]
    calls = [(block.name, argument_value(block)) for block in answer.blocks if isinstance(block, ToolCallBlock)]
    reason = answer.end.reason
    if calls and reason in ("stop", "stop_sequence"):
        reason = "tool_calls"
    return {
        "text": "".join(texts).strip(),
        "thoughts": "".join("".join(thoughts).split()),
        "calls": calls,
        "reason": REASONS[client].get(reason, reason),
        "tokens": (usage.prompt, usage.output) if (usage := answer.usage) and usage.prompt else None,
    }


def argument_value(block: ToolCallBlock) -> Any:
    """Return a call's arguments as a value, wrapped like in APIs with objects alone if necessary."""
    try:
        value = json.loads(block.input or "{}")
    except ValueError:
        return block.input
    if isinstance(value, dict) and len(value) == 1 and ("_raw" in value or "input" in value):
        return next(iter(value.values())) or {}
    return value or {}
