"""Content blocks of a provider's answer: a class for each kind, and ``ContentReading``, which finds blocks by index.

A block takes its number with its first event, so that a block without content opens none.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from providers.neutral.bounds import PLACE, AnswerBudgets
from providers.neutral.codec import new_id
from providers.neutral.values import as_string
from streams.errors import GatewayError
from streams.events import (
    BlockEnd,
    Citation,
    Event,
    NativeItem,
    ReasoningDelta,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from streams.surrogates import NOT_JSON, any_json

SERVER_TOOL = "server_tool_use"
"""The ``type`` of a call that the provider has run itself."""


class Numbers(AnswerBudgets):
    """What blocks of an answer share: their numbers, the ids of calls, and budgets for what is held."""

    __slots__ = ("call_ids", "resting", "used")

    def __init__(self, keeps: int) -> None:
        super().__init__(keeps)
        self.used = 0
        self.call_ids: set[str] = set()
        self.resting: int | None = None  # a text that has ended, and is told so once no citation can follow

    def next(self) -> int:
        """Return the number of a block that opens now."""
        self.used += 1
        return self.used - 1

    def rest_ends(self) -> list[Event]:
        """Return the events for the end of the text before, where it has not been told."""
        resting, self.resting = self.resting, None
        return [] if resting is None else [BlockEnd(resting)]


class BlockReading(Protocol):
    """The reading of one content block."""

    def take(self, delta: Mapping[str, Any]) -> Sequence[Event]:
        """Return the events of a piece."""
        ...

    def finish(self) -> list[Event]:
        """Return the events of the block's end."""
        ...


class TextReading:
    """A text, with what it cites."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._number: int | None = None
        self._waiting: list[Any] = []  # citations before any text

    def take(self, delta: Mapping[str, Any]) -> Sequence[Event]:
        text, citation = as_string(delta.get("text")), delta.get("citation")
        events: list[Event] = []
        if text:
            events = self._say(text)
        if isinstance(citation, dict):
            events += self._cite(citation)
        return events

    def finish(self) -> list[Event]:
        if self._number is not None:
            self._numbers.resting = self._number
            return []
        block = self._numbers.resting
        return [] if block is None else self._cited(block)

    def _say(self, text: str) -> list[Event]:
        if self._number is not None:
            return [TextDelta(self._number, text)]
        events = self._numbers.rest_ends()
        self._number = self._numbers.next()
        return [*events, TextDelta(self._number, text), *self._cited(self._number)]

    def _cite(self, citation: dict[str, Any]) -> list[Event]:
        """Return the events of a citation. It comes before its text, or, of a page that Nova has found, in a block
        without any behind it."""
        if self._number is not None:
            return [Citation(self._number, "converse", _with_link(citation))]
        if self._numbers.keeps:
            self._numbers.hold("citations")
            self._waiting.append(_with_link(citation))
        return []

    def _cited(self, block: int) -> list[Event]:
        cited, self._waiting = self._waiting, []
        return [Citation(block, "converse", one) for one in cited]


def _with_link(citation: dict[str, Any]) -> dict[str, Any]:
    """Return the citation of a page with its ``url`` and ``title`` where other APIs have them."""
    location = citation.get("location")
    page = location.get("web") if isinstance(location, dict) else None
    if not isinstance(page, dict) or not (url := as_string(page.get("url"))):
        return citation
    return {"title": as_string(page.get("domain")) or url, **citation, "url": url}


class ReasoningReading:
    """Reasoning: its text as it comes, and at the end the whole block that the provider wants back, if it is signed.

    A block that has a signature and no text is kept too: without it, thinking with tools is refused at the next turn
    (spring-projects/spring-ai#6413, NousResearch/hermes-agent#36260)."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._number: int | None = None
        self._texts: list[str] = []
        self._signature: list[str] = []
        self._redacted: list[str] = []

    def take(self, delta: Mapping[str, Any]) -> Sequence[Event]:
        said = delta.get("reasoningContent")
        if not isinstance(said, dict):
            return ()
        self._numbers.hold_piece(self._signature, as_string(said.get("signature")))
        self._numbers.hold_piece(self._redacted, as_string(said.get("redactedContent")))
        if not (text := as_string(said.get("text"))):
            return ()
        self._numbers.hold_piece(self._texts, text)
        return [*self._open(), ReasoningDelta(self._number or 0, text)]

    def finish(self) -> list[Event]:
        item = self._item()
        events = [] if item is None else self._open()
        if self._number is None:
            return []
        state = [] if item is None else [ReasoningState(self._number, "converse", item)]
        return [*events, *state, BlockEnd(self._number)]

    def _open(self) -> list[Event]:
        if self._number is not None:
            return []
        events = self._numbers.rest_ends()
        self._number = self._numbers.next()
        return events

    def _item(self) -> Any:
        if self._signature:
            return {"reasoningText": {"text": "".join(self._texts), "signature": "".join(self._signature)}}
        return {"redactedContent": _joined(self._redacted)} if self._redacted else None


def _joined(pieces: list[str]) -> str:
    """Base64 of bytes that came in pieces."""
    if len(pieces) == 1:
        return pieces[0]
    try:
        return base64.b64encode(b"".join(map(base64.b64decode, pieces))).decode()
    except (binascii.Error, ValueError):
        return "".join(pieces)


class CallReading:
    """A call of a tool of the client's. Its arguments pass as they come, whatever they are."""

    def __init__(self, numbers: Numbers, begun: Mapping[str, Any]) -> None:
        self._numbers = numbers
        self._number = numbers.next()
        id = as_string(begun.get("toolUseId"))
        if not id or id in numbers.call_ids:
            id = new_id("tooluse_")
        numbers.call_ids.add(id)
        numbers.places.spend(PLACE + len(id), "tool calls")
        self.begin: list[Event] = [ToolCallStart(self._number, id, as_string(begun.get("name")))]

    def take(self, delta: Mapping[str, Any]) -> Sequence[Event]:
        said = delta.get("toolUse")
        text = as_string(said.get("input")) if isinstance(said, dict) else ""
        return [ToolCallDelta(self._number, text)] if text else ()

    def finish(self) -> list[Event]:
        return [BlockEnd(self._number)]


class NativeReading:
    """A block that only Converse has: calls that the provider runs itself, their results, pictures. It is passed on
    once it is whole."""

    def __init__(self, numbers: Numbers, kind: str, begun: Mapping[str, Any]) -> None:
        self._numbers = numbers
        self._kind = kind
        self._item = dict(begun) if numbers.keeps else {}
        self._input: list[str] = []
        if numbers.keeps:
            numbers.hold("content blocks")

    def take(self, delta: Mapping[str, Any]) -> Sequence[Event]:
        said = delta.get(self._kind)
        if not self._numbers.keeps:
            return ()
        if isinstance(said, list):  # of a result
            self._numbers.hold("results of the provider's own tools")
            self._item.setdefault("content", []).extend(said)
        elif isinstance(said, dict) and isinstance(piece := said.get("input"), str):
            self._numbers.hold_piece(self._input, piece)
        elif isinstance(said, dict):
            self._numbers.hold("content blocks")
            self._item |= said
        return ()

    def finish(self) -> list[Event]:
        if self._input:
            self._item["input"] = _parsed("".join(self._input))
        events = self._numbers.rest_ends()
        return [*events, NativeItem(self._numbers.next(), "converse", self._kind, {self._kind: self._item})]


def _parsed(text: str) -> Any:
    try:
        return any_json(text.encode())
    except NOT_JSON:
        return text


def begun(start: Any) -> tuple[str, Mapping[str, Any]] | None:
    """Return the kind of a block and what its start says of it, ``None`` where that is nothing."""
    found = start.items() if isinstance(start, dict) else ()
    return next(((kind, item) for kind, item in found if isinstance(item, dict)), None)


def reading_of(numbers: Numbers, kind: str, item: Mapping[str, Any]) -> CallReading | NativeReading:
    """Return the reading of a block that begins so. A call has its number from then on."""
    own = kind == "toolUse" and item.get("type") != SERVER_TOOL
    return CallReading(numbers, item) if own else NativeReading(numbers, kind, item)


def reading_by(numbers: Numbers, delta: Mapping[str, Any]) -> BlockReading | None:
    """Return the reading of a block that has no start: texts and reasoning have none. Raises ``GatewayError`` for a
    piece of a call that has not begun, which must not be taken for one of another call's."""
    if "reasoningContent" in delta:
        return ReasoningReading(numbers)
    if "text" in delta or "citation" in delta:
        return TextReading(numbers)
    if "toolUse" in delta:
        message = "the provider sent arguments of a tool call that it has not begun"
        raise GatewayError("upstream", message, reason="bad_answer")
    return None


_MEMBER = {TextReading: ("text", "citation"), ReasoningReading: ("reasoningContent",)}
"""What a piece of such a block holds: texts and reasoning may share an index, since neither has a start."""


class ContentReading:
    """The blocks that have begun and not ended. Blocks of calls may interleave; of the others one is open at a time."""

    def __init__(self, keeps: int) -> None:
        self.numbers = Numbers(keeps)
        self._blocks: dict[int, BlockReading] = {}
        self._words: dict[int, None] = {}  # those of them that are no calls

    def start(self, value: Mapping[str, Any]) -> Sequence[Event]:
        """Read ``contentBlockStart``."""
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
        """Read ``contentBlockDelta``."""
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
        """Read ``contentBlockStop``."""
        return self._finish(_index(value))

    def finish_all(self) -> list[Event]:
        """Return the events for the ends of all blocks that are open."""
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
        """Return the events for the ends of all blocks but calls."""
        return [event for index in list(self._words) for event in self._finish(index)]


def _takes(block: BlockReading, delta: Mapping[str, Any]) -> bool:
    members = _MEMBER.get(type(block))
    return members is None or not delta or any(name in delta for name in members)


def _index(value: Mapping[str, Any]) -> int:
    index = value.get("contentBlockIndex")
    return index if isinstance(index, int) else 0
