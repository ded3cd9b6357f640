"""Reasoning, under whichever name, and the details that its provider wants back."""

from collections.abc import Mapping
from typing import Any

from providers.chat.chunks import Delta
from providers.chat.parts.reasoning import TYPED_FIELD
from providers.chat.reading.answer import OpenAnswer
from providers.chat.reading.details import readable
from providers.chat.reading.values import objects, text_of
from streams.events import Event, ReasoningDelta


def take_members(answer: OpenAnswer, delta: Delta, out: list[Event]) -> None:
    """A piece of reasoning, once if it came under two names, together or after each other (BerriAI/litellm#29600)."""
    details = objects(delta.reasoning_details)
    for field, text in (
        ("reasoning_content", delta.reasoning_content),
        ("reasoning", delta.reasoning),
        ("", "" if answer.field else "".join(map(readable, details))),
    ):
        if text and isinstance(text, str):
            _say(answer, field, text, out)
            break
    if details and answer.keeps:
        answer.hold("reasoning details")
        for detail in details:  # after the text: they are given back with the block that it has opened
            answer.details.add(detail)


def take_part(answer: OpenAnswer, part: Mapping[str, Any], out: list[Event]) -> None:
    """Reasoning as a part of typed content (Mistral)."""
    if text := _thinking(part.get("thinking")):
        _say(answer, TYPED_FIELD, text, out)


def _say(answer: OpenAnswer, field: str, text: str, out: list[Event]) -> None:
    out.append(ReasoningDelta(answer.block_of(ReasoningDelta, out), text))
    answer.field = field


def _thinking(value: Any) -> str:
    """The text of Mistral's ``thinking``: an array of text parts, at times a string."""
    return value if isinstance(value, str) else "".join(text_of(part.get("text")) for part in objects(value))
