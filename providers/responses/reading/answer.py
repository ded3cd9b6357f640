"""A Responses answer while it comes in: its items, and the blocks that they become."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from providers.neutral.bounds import PLACES, Budget
from providers.responses.reading.items import Items, OutputItem
from providers.responses.reading.wire import Wire
from streams.events import BlockEnd, Event, ReasoningDelta, RefusalDelta, TextDelta

Speech: TypeAlias = type[TextDelta] | type[RefusalDelta] | type[ReasoningDelta]


class OpenAnswer:
    """The state that events of all kinds of items share. Its memory grows with the number of items, never with their
    length.

    Blocks are numbered as they open; of those with text one is open at a time."""

    __slots__ = ("block", "blocks", "call_ids", "citations", "heard", "items", "piece", "place", "ran")

    def __init__(self) -> None:
        self.items = Items(Budget(PLACES))
        self.blocks = 0
        self.place: tuple[OutputItem, Speech, Any] | None = None  # whose text is open, and which part of it
        self.block = 0  # the block of that text
        self.heard = 0  # characters of it
        self.piece = ""  # the last of them
        self.citations = 0  # how many came as events of their own
        self.call_ids: set[str] = set()
        self.ran: set[tuple[str, int]] = set()  # the provider's own tools: see ``hosted_tools``

    def open(self, item: OutputItem, speech: Speech, part: Any) -> list[Event]:
        """Open a block for the words of ``item``; the block that was open before ends."""
        events = self.shut()
        item.say()
        self.citations = 0
        self.place = (item, speech, part)
        self.block = self.next_block()
        return events

    def shut(self) -> list[Event]:
        """End the block of text that is open."""
        if self.place is None:
            return []
        self.place = None
        return [BlockEnd(self.block)]

    def next_block(self) -> int:
        """The number of a block that opens."""
        self.blocks += 1
        return self.blocks - 1

    def says(self, item: OutputItem) -> bool:
        """The text that is open is of ``item``."""
        return self.place is not None and self.place[0] is item


TakeEvent: TypeAlias = Callable[[OpenAnswer, Wire], Sequence[Event]]
