"""Blocks in order, for clients that accept a block only after the end of the last one."""

from collections import OrderedDict
from typing import Final, TypeAlias

from streams.events import (
    BlockEnd,
    Citation,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)

BlockEvent: TypeAlias = (
    TextDelta
    | RefusalDelta
    | ReasoningDelta
    | ReasoningState
    | Citation
    | ToolCallStart
    | ToolCallDelta
    | NativeItem
    | BlockEnd
)

_LAST: Final = (BlockEnd, NativeItem)
"""The last events of blocks."""


class BlockOrder:
    """The events of an answer, block after block.

    Events of other blocks wait until the open block ends, because clients join deltas of interleaved calls
    (QwenLM/Qwen-Agent#943).
    """

    __slots__ = ("_held", "open")

    def __init__(self) -> None:
        self.open: int | None = None
        self._held: OrderedDict[int, list[BlockEvent]] = OrderedDict()

    def add(self, event: BlockEvent) -> list[BlockEvent]:
        """Take an event, and return the events that can be written now, in order."""
        if self.open is not None and event.block != self.open:
            self._held.setdefault(event.block, []).append(event)
            return []
        self.open = None if isinstance(event, _LAST) else event.block
        return [event] if self.open is not None or not self._held else [event, *self._release()]

    def release_all(self) -> list[BlockEvent]:
        """Return the remaining events at the end of an answer, also if the reader did not close every block."""
        left: list[BlockEvent] = []
        while self.open is not None or self._held:
            if self.open is not None:
                left.append(BlockEnd(self.open))
                self.open = None
            left.extend(self._release())
        return left

    def _release(self) -> list[BlockEvent]:
        released: list[BlockEvent] = []
        while self.open is None and self._held:
            events = self._held.popitem(last=False)[1]
            self.open = None if isinstance(events[-1], _LAST) else events[-1].block
            released.extend(events)
        return released
