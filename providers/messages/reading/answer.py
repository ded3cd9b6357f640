"""A Messages answer while it comes in: its content blocks, and the blocks of ours that they become."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from providers.neutral.bounds import PLACES, Budget, memory_of
from streams.events import Event


class OpenBlock:
    """A content block between its start and its stop."""

    __slots__ = ("citations", "item", "kind", "number", "pieces", "signature")

    def __init__(self, kind: "BlockKind", item: Mapping[str, Any]) -> None:
        self.kind = kind
        self.item = dict(item)
        self.number: int | None = None  # ours, once an event has opened it
        self.pieces: list[str] = []  # the thinking so far, or the JSON of the input
        self.citations: list[Any] = []  # those that came before any text
        self.signature: list[str] = []


class OpenAnswer:
    """The state that blocks of all kinds share. Blocks that say nothing (an empty text) open no block of ours."""

    __slots__ = ("arriving", "blocks", "call_ids", "held", "keeps", "opened", "places", "words")

    def __init__(self, keeps: int) -> None:
        """``keeps``: bytes of what is said that may be held."""
        self.keeps = keeps > 0
        self.held = Budget(keeps)
        self.places = Budget(PLACES)
        self.arriving = b""  # the event that is being read
        self.blocks: dict[int, OpenBlock] = {}  # by the provider's index
        self.words: list[int] = []  # the index of the open block that is no tool call
        self.opened = 0  # blocks of ours so far
        self.call_ids: set[str] = set()

    def number(self, block: OpenBlock) -> int:
        """Our number of ``block``, which opens if it was not open."""
        if block.number is None:
            block.number = self.opened
            self.opened += 1
        return block.number

    def hold(self, what: str) -> None:
        """Account for values out of the event that is being read, which are held until more has come."""
        self.held.spend(memory_of(self.arriving), what)

    def hold_piece(self, pieces: list[str], text: str) -> None:
        """Add ``text`` to ``pieces``, which are held until their block ends, if anybody wants them then."""
        if self.keeps:
            self.held.spend(len(text), "signed thoughts and arguments")
            pieces.append(text)


Step: TypeAlias = Callable[[OpenAnswer, OpenBlock], list[Event]]
TakePiece: TypeAlias = Callable[[OpenAnswer, OpenBlock, str], Sequence[Event]]
TakeDelta: TypeAlias = Callable[[OpenAnswer, OpenBlock, Mapping[str, Any]], Sequence[Event]]


@attrs.frozen
class BlockKind:
    """The reading of one kind of content block."""

    begin: Step
    finish: Step
    pieces: Mapping[str, tuple[str, TakePiece]]
    """By type of delta: the member that holds a piece of text, and what takes it."""
    deltas: Mapping[str, TakeDelta] = {}
    """By type of delta: what takes one that is more than a piece of text."""
