"""Blocks in order, for clients that accept a block only after the end of the last one."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final, TypeAlias, TypeVar

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
    change_event,
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

E = TypeVar("E", bound=BlockEvent)

_LAST: Final = (BlockEnd, NativeItem)
"""The last events of blocks."""

_TEXTS: Final = (TextDelta, RefusalDelta, ReasoningDelta, ToolCallDelta)

JOINED: Final = 16 * 1024
"""Characters up to which texts that waited are joined."""


def join_texts(events: Sequence[E]) -> list[E]:
    """Return ``events``, in which one text replaces several consecutive ones of a block.

    Thousands of events may wait for one, and writing each of them would keep all other streams waiting.
    """
    joined: list[E] = []
    run: list[E] = []
    size = 0
    for event in events:
        if run and (size >= JOINED or not _continues(run[0], event)):
            joined.append(_join(run))
            run, size = [], 0
        run.append(event)
        size += len(event.text) if isinstance(event, _TEXTS) else 0
    return [*joined, _join(run)] if run else joined


def _continues(first: BlockEvent, event: BlockEvent) -> bool:
    if type(event) is not type(first) or not isinstance(event, _TEXTS) or event.block != first.block:
        return False
    return not isinstance(event, TextDelta) or not (_has_details(first) or _has_details(event))


def _has_details(event: BlockEvent) -> bool:
    return isinstance(event, TextDelta) and not (event.logprobs is None and event.phase is None)


def _join(run: Sequence[E]) -> E:
    if len(run) == 1:
        return run[0]
    first: Any = run[0]
    joined: E = change_event(first, text="".join([event.text for event in run if isinstance(event, _TEXTS)]))
    return joined


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
            events = join_texts(self._held.popitem(last=False)[1])
            self.open = None if isinstance(events[-1], _LAST) else events[-1].block
            released.extend(events)
        return released
