"""Deltas, and whole messages, taken apart: each member is read by the module of its kind."""

from collections.abc import Callable, Mapping
from typing import Any

from providers.chat.chunks import Choice
from providers.chat.reading import calls, reasoning, texts
from providers.chat.reading.answer import OpenAnswer
from providers.chat.reading.values import objects, text_of
from streams.events import Event

_PARTS: Mapping[str, Callable[[OpenAnswer, Mapping[str, Any], list[Event]], None]] = {
    "text": texts.take_part,
    "thinking": reasoning.take_part,
}
"""Content parts by type. Others are left out."""


def take(answer: OpenAnswer, choice: Choice, out: list[Event]) -> None:
    """All members of a choice's delta. Reasoning comes before the text, citations while the text is open, and calls
    last."""
    # A message is a whole answer in one event, or what was said once more.
    delta = choice.delta or (None if answer.blocks else choice.message)
    if delta is None:
        return
    if delta.reasoning_content or delta.reasoning or delta.reasoning_details:
        reasoning.take_members(answer, delta, out)
    content = delta.content
    if type(content) is str:
        if choice.logprobs and answer.keeps:
            texts.take_logprobs(answer, choice.logprobs)
            if not content:
                answer.hold("log probabilities")
        if content:
            texts.take_text(answer, content, out)
    elif content is not None:
        _take_parts(answer, content, out)
    if delta.audio:
        texts.take_audio(answer, delta.audio, content, out)
    if delta.annotations and answer.keeps:
        texts.take_annotations(answer, delta.annotations, out)
    if delta.refusal:
        texts.take_refusal(answer, delta.refusal, out)
    if delta.tool_calls or delta.function_call:
        calls.take_members(answer, delta, out)


def _take_parts(answer: OpenAnswer, content: Any, out: list[Event]) -> None:
    for part in objects(content):
        take_part = _PARTS.get(text_of(part.get("type")))
        if take_part is not None:
            take_part(answer, part, out)
