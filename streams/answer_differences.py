"""The differences between two answers to one request, with their effect on clients."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

import attrs
import msgspec

from streams.fold import Answer, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock
from streams.surrogates import decode_or

Effect: TypeAlias = Literal["breaks", "differs", "lacks", "better"]
"""``breaks``: clients of the old server fail or lose content. ``lacks``: the new server omits a header or JSON member.
``better``: only the old server fails."""

ABSENT: Final = "absent"
PRESENT: Final = "present"

_SHOWN: Final = 60  # characters of a value


@attrs.frozen
class AnswerDifference:
    """A difference: the part of the response, and its ``old`` and ``new`` values."""

    effect: Effect
    part: str
    old: str
    new: str


def compare_answers(old: Answer, new: Answer, exact: bool) -> Iterator[AnswerDifference]:
    """Yield the differences between two answers.

    ``exact``: the same provider answers both with the same words, so texts, tool calls and ends must be equal."""
    for facet in _FACETS:
        yield from facet(old, new, exact)


_TEXTS: Final[Mapping[str, type[TextBlock | RefusalBlock | ReasoningBlock]]] = {
    "text": TextBlock,
    "refusal": RefusalBlock,
    "thinking": ReasoningBlock,
}


def _compare_text(old: Answer, new: Answer, exact: bool) -> Iterator[AnswerDifference]:
    """Yield differences in texts, refusals and thinking. Models seldom repeat a text, so only ``exact`` compares it."""
    for name, kind in _TEXTS.items():
        before, after = (
            "".join(block.text for block in answer.blocks if isinstance(block, kind)) for answer in (old, new)
        )
        if before == after:
            continue
        lost, breaks = bool(before) and not after, kind is not ReasoningBlock
        if exact:
            yield AnswerDifference("breaks" if breaks or lost else "differs", name, *_around_difference(before, after))
        elif bool(before) != bool(after):
            effect: Effect = "breaks" if lost and breaks else "differs"
            yield AnswerDifference(effect, name, *(PRESENT if text else ABSENT for text in (before, after)))


def _around_difference(old: str, new: str) -> tuple[str, str]:
    """Return the parts of two texts where they begin to differ."""
    at = next((place for place, (one, other) in enumerate(zip(old, new, strict=False)) if one != other), None)
    start = max(0, (min(len(old), len(new)) if at is None else at) - 20)
    return shorten(old[start:] or "nothing"), shorten(new[start:] or "nothing")


def _compare_tools(old: Answer, new: Answer, exact: bool) -> Iterator[AnswerDifference]:
    before, after = ([block for block in one.blocks if isinstance(block, ToolCallBlock)] for one in (old, new))
    names, new_names = (", ".join(block.name for block in calls) or "none" for calls in (before, after))
    if names != new_names:
        lost = bool(before) and not after
        yield AnswerDifference("breaks" if exact or lost else "differs", "tool calls", names, new_names)
        return
    for one, other in zip(before, after, strict=True):
        value, new_value = _arguments(one.input), _arguments(other.input)
        if value is not None and new_value is None:
            yield AnswerDifference("breaks", f"arguments of {one.name}", "JSON", "not JSON")
        elif exact and value != new_value:
            yield AnswerDifference("breaks", f"arguments of {one.name}", shorten(one.input), shorten(other.input))


def _arguments(text: str) -> Any:
    """Return the decoded arguments, ``None`` if they are not JSON. A call without arguments may have no text."""
    return decode_or(msgspec.json.decode, text or "{}", None)


def _compare_finish(old: Answer, new: Answer, exact: bool) -> Iterator[AnswerDifference]:
    before, after = (one.end.raw or one.end.reason for one in (old, new))
    yield from value_difference("breaks" if exact else "differs", "finish", before, after)


def _compare_usage(old: Answer, new: Answer, exact: bool) -> Iterator[AnswerDifference]:
    """Yield differences in token counts. Missing ones break programs that add up usage."""
    if (before := old.usage) is None or (after := new.usage) is None:
        if old.usage is not new.usage:
            found = (ABSENT if usage is None else PRESENT for usage in (old.usage, new.usage))
            yield AnswerDifference("better" if old.usage is None else "breaks", "usage", *found)
        return
    if exact:
        total = (one.input + one.cache_read + one.cache_write for one in (before, after))
        yield from value_difference("differs", "usage: input tokens", *total)
        yield from value_difference("differs", "usage: output tokens", before.output, after.output)
        yield from value_difference("differs", "usage: cached tokens", before.cache_read, after.cache_read)
        yield from value_difference("differs", "usage: reasoning tokens", before.reasoning or 0, after.reasoning or 0)


def _compare_model(old: Answer, new: Answer, exact: bool) -> Iterator[AnswerDifference]:
    yield from value_difference("differs", "model in the answer", old.start.model, new.start.model)


_FACETS: Final[tuple[Callable[[Answer, Answer, bool], Iterator[AnswerDifference]], ...]] = (
    _compare_text, _compare_tools, _compare_finish, _compare_usage, _compare_model,
)  # fmt: skip


def value_difference(effect: Effect, part: str, old: Any, new: Any) -> Iterator[AnswerDifference]:
    """Yield a difference if ``old`` and ``new`` are not equal; ``None`` is an absent value."""
    if old != new:
        yield AnswerDifference(
            effect, part, *(ABSENT if value is None else shorten(str(value)) for value in (old, new))
        )


def shorten(text: str) -> str:
    """Return the beginning of ``text`` that a report shows."""
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
