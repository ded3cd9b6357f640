"""A Chat answer while it comes in: the block that is open, and what its kind needs until it ends."""

from typing import Any, TypeAlias

from providers.chat.reading.details import Details
from providers.chat.reading.fragments import Calls
from providers.neutral.bounds import PLACES, Budget, memory_of
from streams.events import BlockEnd, Event, ReasoningDelta, ReasoningState, RefusalDelta, TextDelta

Speech: TypeAlias = type[TextDelta] | type[RefusalDelta] | type[ReasoningDelta]


class OpenAnswer:
    """The state that content of all kinds shares.

    Blocks are numbered as they open; of those that are no tool calls one is open at a time."""

    __slots__ = (
        "arriving", "block", "blocks", "calls", "citations", "details", "field", "held", "keeps", "logprobs", "speech",
        "tools",
    )  # fmt: skip

    def __init__(self, keeps: int) -> None:
        """``keeps``: bytes of what is said that may be held."""
        self.keeps = keeps > 0
        self.held = Budget(keeps)
        self.arriving = b""  # the event that is being read
        self.blocks = 0
        self.block: int | None = None  # the open block that is not a tool call
        self.speech: Speech = TextDelta  # the kind of events in it
        self.citations: list[Any] = []  # texts: those that came before their text
        self.logprobs: list[Any] = []  # texts: of tokens whose text is still to come
        self.field = ""  # reasoning: the member in which it came
        self.details = Details()  # reasoning: of the open block, or of one to come
        self.calls = Calls(Budget(PLACES))
        self.tools: list[int] = []  # calls: their blocks, which end with the answer

    def next_block(self) -> int:
        """The number of a block that opens."""
        self.blocks += 1
        return self.blocks - 1

    def block_of(self, speech: Speech, out: list[Event]) -> int:
        """The block of ``speech``, which opens if another was open, or none."""
        return self.open(speech, out) if self.block is None or self.speech is not speech else self.block

    def open(self, speech: Speech, out: list[Event]) -> int:
        """Open a block of ``speech``; the block that was open before ends."""
        self.shut(out)
        self.speech = speech
        self.block = self.next_block()
        return self.block

    def shut(self, out: list[Event]) -> None:
        """End the open block that is not a tool call, with what its reasoning needs back. Details that came without
        readable reasoning make a block of their own."""
        if self.details and (self.block is None or self.speech is not ReasoningDelta):
            if self.block is not None:
                out.append(BlockEnd(self.block))
            self.block, self.speech = self.next_block(), ReasoningDelta
        if self.block is None:
            return
        if self.speech is ReasoningDelta and (item := self._returned()):
            out.append(ReasoningState(self.block, "chat", item))
        out.append(BlockEnd(self.block))
        self.block = None

    def _returned(self) -> dict[str, Any]:
        """The item that gives the open reasoning back to its provider; empty if there is none."""
        if self.details:
            return {"reasoning_details": self.details.take()}
        return {"field": self.field} if self.field else {}

    def hold(self, what: str) -> None:
        """Account for values out of the event that is being read, which are held until more has come."""
        self.held.spend(memory_of(self.arriving), what)
