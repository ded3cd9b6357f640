"""Folding of events into one finished answer, so that streams and whole answers share one code path."""

from collections.abc import Iterable
from typing import Any, TypeAlias

import attrs

from streams.errors import GatewayError
from streams.events import (
    AnswerEnd,
    AnswerStart,
    Api,
    BlockEnd,
    Citation,
    ErrorInfo,
    Event,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    RefusalDelta,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    ToolKind,
    Usage,
)


@attrs.frozen(slots=False)  # one for each request, and made with fewer calls
class TextBlock:
    """Text that the model wrote, with its citations."""

    text: str
    citations: tuple[Citation, ...] = ()
    logprobs: tuple[Any, ...] = ()  # of all its tokens, if requested
    phase: str | None = None


@attrs.frozen
class RefusalBlock:
    """Text with which the model refuses to answer."""

    text: str


@attrs.frozen
class ReasoningBlock:
    """Reasoning: its readable text (or "") and the state that the provider requires back."""

    text: str
    state: ReasoningState | None = None


@attrs.frozen
class ToolCallBlock:
    """A call of one of the client's tools."""

    id: str
    name: str
    input: str  # as the model wrote it
    kind: ToolKind = "function"


@attrs.frozen
class NativeBlock:
    """An item that only ``api`` has, in its own form."""

    api: Api
    kind: str
    item: Any


Block: TypeAlias = TextBlock | RefusalBlock | ReasoningBlock | ToolCallBlock | NativeBlock


@attrs.frozen(slots=False)  # one for each request, and made with fewer calls
class Answer:
    """A whole answer; ``blocks`` are in the order in which they opened. ``ends_with_native``: nothing followed the last
    item that only one API has, not even the rest of a block that had opened earlier."""

    start: AnswerStart
    blocks: tuple[Block, ...]
    usage: Usage | None
    end: AnswerEnd
    ends_with_native: bool = attrs.field(default=False, eq=False)

    @property
    def calls_tools(self) -> bool:
        """True if the answer calls a tool of the client."""
        return ToolCallBlock in map(type, self.blocks)

    @property
    def characters(self) -> int:
        """The number of characters that the model wrote, for an estimated usage."""
        return sum(map(_written_length, self.blocks))


class _OpenBlock:
    """A block whose pieces are still arriving."""

    __slots__ = ("citations", "first", "logprobs", "pieces", "state")

    def __init__(self, first: Event) -> None:
        self.first = first
        self.pieces: list[str] = []
        self.state: ReasoningState | None = None
        self.citations: list[Citation] = []
        self.logprobs: list[Any] = []

    def block(self) -> Block:
        text = "".join(self.pieces)
        match self.first:
            case ToolCallStart(id=id, name=name, kind=kind):
                return ToolCallBlock(id, name, text, kind)
            case NativeItem(api=api, kind=what, item=item):
                return NativeBlock(api, what, item)
            case RefusalDelta():
                return RefusalBlock(text)
            case ReasoningDelta() | ReasoningState():
                return ReasoningBlock(text, self.state)
            case first:
                phase = first.phase if isinstance(first, TextDelta) else None
                return TextBlock(text, tuple(self.citations), tuple(self.logprobs), phase)


class Fold:
    """An accumulator of events; ``answer()`` is available after ``AnswerEnd``. Memory is linear in the answer."""

    def __init__(self) -> None:
        self.start = AnswerStart()
        self._blocks: dict[int, _OpenBlock] = {}
        self._last = -1  # the block that ended last, or the last item without an end
        self._usage: Usage | None = None
        self._end: AnswerEnd | None = None
        self.error: ErrorInfo | None = None
        self._answer: Answer | None = None

    def add(self, event: Event) -> None:
        self._answer = None
        match event:
            case TextDelta(block=block, text=text, logprobs=logprobs):
                opened = self._open(block, event)
                opened.pieces.append(text)
                opened.logprobs.extend(logprobs or ())
            case BlockEnd(block=block):  # the events of every answer come before the rest: each class takes time
                self._last = block
            case AnswerStart():
                self.start = event
            case Usage():
                self._usage = event
            case AnswerEnd():
                self._end = event
            case RefusalDelta(block=block, text=text) | ReasoningDelta(block=block, text=text):
                self._open(block, event).pieces.append(text)
            case ToolCallDelta(block=block, text=text):
                self._blocks[block].pieces.append(text)
            case ToolCallStart(block=block) | NativeItem(block=block):
                self._open(block, event)
                self._last = block
            case ReasoningState(block=block):
                self._open(block, event).state = event
            case Citation(block=block):
                self._open(block, event).citations.append(event)
            case ErrorInfo():
                self.error = event

    def _open(self, block: int, event: Event) -> _OpenBlock:
        found = self._blocks.get(block)
        if found is None:
            found = self._blocks[block] = _OpenBlock(event)
        return found

    def blocks(self) -> tuple[Block, ...]:
        """Return the blocks so far, including unfinished ones."""
        return tuple([self._blocks[block].block() for block in sorted(self._blocks)])

    @property
    def usage(self) -> Usage | None:
        return self._usage

    @property
    def is_complete(self) -> bool:
        """Whether the answer has ended without an error."""
        return self.error is None and self._end is not None

    def answer(self) -> Answer:
        """Return the whole answer, which is made once. Raises ``GatewayError`` if it failed or has not ended."""
        if self.error is not None:
            raise GatewayError.of(self.error)
        if self._end is None:
            raise GatewayError("upstream", "the provider ended its answer early", reason="bad_answer")
        if self._answer is None:
            last = self._blocks.get(self._last)
            ends_with_native = last is not None and type(last.first) is NativeItem
            self._answer = Answer(self.start, self.blocks(), self._usage, self._end, ends_with_native)
        return self._answer


def fold(events: Iterable[Event]) -> Answer:
    """Return the whole answer that ``events`` make up. Raises ``GatewayError`` as ``Fold.answer`` does."""
    folded = Fold()
    for event in events:
        folded.add(event)
    return folded.answer()


def _written_length(block: Block) -> int:
    """Return the number of characters that the model wrote in ``block``."""
    match block:
        case TextBlock(text=text) | ReasoningBlock(text=text) | RefusalBlock(text=text) | ToolCallBlock(input=text):
            return len(text)
        case _:
            return 0
