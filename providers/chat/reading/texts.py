"""Texts and refusals, each a block, with the citations and log probabilities of texts."""

from collections.abc import Mapping
from typing import Any

from providers.chat.reading.answer import OpenAnswer
from providers.chat.reading.values import objects, text_of
from streams.events import Citation, Event, RefusalDelta, TextDelta


def take_text(answer: OpenAnswer, text: str, out: list[Event]) -> None:
    """A piece of text, with the log probabilities and the citations that wait for it."""
    block = answer.block
    if block is None or answer.speech is not TextDelta:
        block = answer.open(TextDelta, out)
    if answer.logprobs:
        out.append(TextDelta(block, text, answer.logprobs))
        answer.logprobs = []
    else:
        out.append(TextDelta(block, text))
    if answer.citations:
        _cite(answer, block, out)


def take_part(answer: OpenAnswer, part: Mapping[str, Any], out: list[Event]) -> None:
    """A text as a part of typed content (Mistral)."""
    if text := text_of(part.get("text")):
        take_text(answer, text, out)


def take_audio(answer: OpenAnswer, audio: Any, content: Any, out: list[Event]) -> None:
    """Take the transcript of speech, unless the ``content`` that came with it says the same: some servers fill both."""
    text = text_of(audio.get("transcript")) if isinstance(audio, dict) else ""
    if text and text.strip() != _text_in(content).strip():
        take_text(answer, text, out)


def _text_in(content: Any) -> str:
    parts = objects(content) if isinstance(content, list) else ()
    return content if isinstance(content, str) else "".join(text_of(part.get("text")) for part in parts)


def take_refusal(answer: OpenAnswer, refusal: Any, out: list[Event]) -> None:
    """A piece of a refusal."""
    if isinstance(refusal, str):
        out.append(RefusalDelta(answer.block_of(RefusalDelta, out), refusal))


def take_logprobs(answer: OpenAnswer, logprobs: Any) -> None:
    """Log probabilities for the text beside them; a token may be too small a part of a character to have any."""
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    if isinstance(tokens, list):  # as long as the answer, so that no number is too many
        answer.logprobs.extend(token for token in tokens if isinstance(token, dict))


def take_annotations(answer: OpenAnswer, annotations: Any, out: list[Event]) -> None:
    """Citations of the open text; those that come before it wait (OpenRouter sends them first)."""
    answer.citations.extend(item for item in objects(annotations) if item.get("type") == "url_citation")
    if answer.block is not None and answer.speech is TextDelta:
        _cite(answer, answer.block, out)
    elif answer.citations:
        answer.hold("citations")


def _cite(answer: OpenAnswer, block: int, out: list[Event]) -> None:
    out.extend(Citation(block, "chat", item) for item in answer.citations)
    answer.citations.clear()
