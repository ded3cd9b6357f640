"""The content of an answer while it comes in: its blocks by the provider's index."""

from collections.abc import Mapping, Sequence
from typing import Any

from providers.converse.reading.blocks import (
    BlockReading,
    CallReading,
    Numbers,
    ReasoningReading,
    TextReading,
    begun,
    reading_by,
    reading_of,
)
from providers.neutral.bounds import PLACE
from streams.events import Event

_MEMBER = {TextReading: ("text", "citation"), ReasoningReading: ("reasoningContent",)}
"""What a piece of such a block holds: texts and reasoning may share an index, since neither has a start."""


class ContentReading:
    """The blocks that have begun and not ended. Blocks of calls may interleave; of the others one is open at a time."""

    def __init__(self, keeps: int) -> None:
        self.numbers = Numbers(keeps)
        self._blocks: dict[int, BlockReading] = {}
        self._words: dict[int, None] = {}  # those of them that are no calls

    def start(self, value: Mapping[str, Any]) -> Sequence[Event]:
        """``contentBlockStart``."""
        if (found := begun(value.get("start"))) is None:
            return ()
        index = _index(value)
        events = [*self._finish(index), *self._words_end()]
        block = reading_of(self.numbers, *found)
        self._keep(index, block)
        if isinstance(block, CallReading):
            events += [*self.numbers.rest_ends(), *block.begin]
        return events

    def go_on(self, value: Mapping[str, Any]) -> Sequence[Event]:
        """``contentBlockDelta``."""
        delta, index = value.get("delta"), _index(value)
        if not isinstance(delta, dict):
            return ()
        block = self._blocks.get(index)
        if block is not None and _takes(block, delta):
            return block.take(delta)
        if (opened := reading_by(self.numbers, delta)) is None:
            return ()
        events = [*self._finish(index), *self._words_end()]
        self._keep(index, opened)
        return [*events, *opened.take(delta)]

    def stop(self, value: Mapping[str, Any]) -> Sequence[Event]:
        """``contentBlockStop``."""
        return self._finish(_index(value))

    def finish_all(self) -> list[Event]:
        """The ends of all blocks that are open."""
        events = [event for index in list(self._blocks) for event in self._finish(index)]
        return [*events, *self.numbers.rest_ends()]

    def _keep(self, index: int, block: BlockReading) -> None:
        self.numbers.places.spend(PLACE, "content blocks")
        self._blocks[index] = block
        if not isinstance(block, CallReading):
            self._words[index] = None

    def _finish(self, index: int) -> list[Event]:
        block = self._blocks.pop(index, None)
        if block is None:
            return []
        self._words.pop(index, None)
        self.numbers.places.give_back(PLACE)
        return block.finish()

    def _words_end(self) -> list[Event]:
        """The ends of all blocks but calls."""
        return [event for index in list(self._words) for event in self._finish(index)]


def _takes(block: BlockReading, delta: Mapping[str, Any]) -> bool:
    members = _MEMBER.get(type(block))
    return members is None or not delta or any(name in delta for name in members)


def _index(value: Mapping[str, Any]) -> int:
    index = value.get("contentBlockIndex")
    return index if isinstance(index, int) else 0
