"""Blocks in order: for clients that take a block only when the one before has ended."""

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
"""Events after which no other event of their block follows."""


class BlockOrder:
    """The events of an answer's blocks, block after block. What comes for another block than the open one is held back
    until that has ended: clients put deltas of interleaved calls together (QwenLM/Qwen-Agent#943)."""

    __slots__ = ("_held", "open")

    def __init__(self) -> None:
        self.open: int | None = None
        self._held: OrderedDict[int, list[BlockEvent]] = OrderedDict()

    def take(self, event: BlockEvent) -> list[BlockEvent]:
        """Return the events that can be written now that ``event`` has come, in order."""
        if self.open is not None and event.block != self.open:
            self._held.setdefault(event.block, []).append(event)
            return []
        self.open = None if isinstance(event, _LAST) else event.block
        return [event] if self.open is not None or not self._held else [event, *self._released()]

    def close(self) -> list[BlockEvent]:
        """Return what is left of an answer that has ended: a reader closes every block, and the order holds without
        it."""
        left: list[BlockEvent] = []
        while self.open is not None or self._held:
            if self.open is not None:
                left.append(BlockEnd(self.open))
                self.open = None
            left.extend(self._released())
        return left

    def _released(self) -> list[BlockEvent]:
        released: list[BlockEvent] = []
        while self.open is None and self._held:
            events = self._held.popitem(last=False)[1]
            self.open = None if isinstance(events[-1], _LAST) else events[-1].block
            released.extend(events)
        return released
