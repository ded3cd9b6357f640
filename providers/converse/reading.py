"""Readers of the content blocks in a provider's answer: a class for each kind, and ``ContentReading``, which finds
blocks by index.

A block gets its number with its first event, so an empty block has none.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from providers.neutral.bounds import PLACE, AnswerBudgets
from providers.neutral.codec import new_id
from providers.neutral.ends import NO_CALL
from providers.neutral.values import arguments_text, as_object, as_string
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
from streams.surrogates import any_json, decode_or

SERVER_TOOL = "server_tool_use"
"""The ``type`` of a call that the provider has run itself."""


class BlockState(AnswerBudgets):
    """The state shared by all blocks of an answer: numbers, call ids, and limits on buffered content."""

    __slots__ = ("call_ids", "delayed_end", "used")

    def __init__(self, content_limit: int) -> None:
        super().__init__(content_limit)
        self.used = 0
        self.call_ids: set[str] = set()
        self.delayed_end: int | None = None  # a text whose end waits until no citation can follow

    def next_block(self) -> int:
        """Return the number of a new block."""
        self.used += 1
        return self.used - 1

    def pop_delayed_end(self) -> list[Event]:
        """Return the delayed end of the previous text, if any."""
        delayed_end, self.delayed_end = self.delayed_end, None
        return [] if delayed_end is None else [BlockEnd(delayed_end)]


class BlockReading(Protocol):
    """A reader of one content block."""

    def read_delta(self, delta: Mapping[str, Any]) -> Sequence[Event]:
        """Return the events for a ``contentBlockDelta``."""

    def finish(self) -> list[Event]:
        """Return the events of the block's end."""


class TextReading:
    """A reader of a text with its citations."""

    def __init__(self, shared: BlockState) -> None:
        self._shared = shared
        self._number: int | None = None
        self._waiting: list[Any] = []  # citations that arrived before any text

    def read_delta(self, delta: Mapping[str, Any]) -> Sequence[Event]:
        text, citation = as_string(delta.get("text")), delta.get("citation")
        events: list[Event] = []
        if text:
            events = self._add_text(text)
        if isinstance(citation, dict):
            events += self._read_citation(citation)
        return events

    def finish(self) -> list[Event]:
        if self._number is not None:
            self._shared.delayed_end = self._number
            return []
        block = self._shared.delayed_end
        return [] if block is None else self._waiting_citations(block)

    def _add_text(self, text: str) -> list[Event]:
        if self._number is not None:
            return [TextDelta(self._number, text)]
        events = self._shared.pop_delayed_end()
        self._number = self._shared.next_block()
        return [*events, TextDelta(self._number, text), *self._waiting_citations(self._number)]

    def _read_citation(self, citation: dict[str, Any]) -> list[Event]:
        """Return the events of a citation, or store it until there is text.

        It precedes its text, or for pages found by Nova, follows it in a block without text.
        """
        if self._number is not None:
            return [Citation(self._number, "converse", _with_link(citation))]
        if self._shared.holds_content:
            self._shared.charge_event("citations")
            self._waiting.append(_with_link(citation))
        return []

    def _waiting_citations(self, block: int) -> list[Event]:
        cited, self._waiting = self._waiting, []
        return [Citation(block, "converse", one) for one in cited]


def _with_link(citation: dict[str, Any]) -> dict[str, Any]:
    """Return the citation of a web page with ``url`` and ``title`` at the top level, as in other APIs."""
    location = citation.get("location")
    page = location.get("web") if isinstance(location, dict) else None
    if not isinstance(page, dict) or not (url := as_string(page.get("url"))):
        return citation
    return {"title": as_string(page.get("domain")) or url, **citation, "url": url}


class ReasoningReading:
    """A reader of reasoning: its text, and if signed, the whole block as the state that the provider requires back.

    A block with a signature but no text is kept too, because thinking with tools otherwise fails on the next turn
    (spring-projects/spring-ai#6413, NousResearch/hermes-agent#36260).
    """

    def __init__(self, shared: BlockState) -> None:
        self._shared = shared
        self._number: int | None = None
        self._texts: list[str] = []
        self._signature: list[str] = []
        self._redacted: list[str] = []

    def read_delta(self, delta: Mapping[str, Any]) -> Sequence[Event]:
        value = delta.get("reasoningContent")
        if not isinstance(value, dict):
            return ()
        self._shared.keep_piece(self._signature, as_string(value.get("signature")))
        self._shared.keep_piece(self._redacted, as_string(value.get("redactedContent")))
        if not (text := as_string(value.get("text"))):
            return ()
        self._shared.keep_piece(self._texts, text)
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
        events = self._shared.pop_delayed_end()
        self._number = self._shared.next_block()
        return events

    def _item(self) -> Any:
        if self._signature:
            return {"reasoningText": {"text": "".join(self._texts), "signature": "".join(self._signature)}}
        return {"redactedContent": _join_base64(self._redacted)} if self._redacted else None


def _join_base64(pieces: list[str]) -> str:
    """Return base64 pieces joined into one."""
    if all(len(piece) % 4 == 0 and not piece.endswith("=") for piece in pieces[:-1]):
        return "".join(pieces)
    try:
        return base64.b64encode(b"".join(map(base64.b64decode, pieces))).decode()
    except ValueError:
        return "".join(pieces)


class CallReading:
    """A reader of a call of the client's tool. Arguments are passed on unchecked."""

    def __init__(self, shared: BlockState, start: Mapping[str, Any]) -> None:
        self._shared = shared
        self._number = shared.next_block()
        id = as_string(start.get("toolUseId"))
        if not id or id in shared.call_ids:
            id = new_id("tooluse_")
        shared.call_ids.add(id)
        shared.places.spend(PLACE + len(id), "tool calls")
        self.begin: list[Event] = [ToolCallStart(self._number, id, as_string(start.get("name")))]

    def read_delta(self, delta: Mapping[str, Any]) -> Sequence[Event]:
        value = delta.get("toolUse")
        text = arguments_text(value.get("input")) if isinstance(value, dict) else ""
        return [ToolCallDelta(self._number, text)] if text else ()

    def finish(self) -> list[Event]:
        return [BlockEnd(self._number)]


class NativeReading:
    """A reader of a block of Converse only: provider-run calls, their results, images. It is returned whole."""

    def __init__(self, shared: BlockState, kind: str, start: Mapping[str, Any]) -> None:
        self._shared = shared
        self._kind = kind
        self._item = dict(start) if shared.holds_content else {}
        self._input: list[str] = []
        self._pieces: list[str] = []  # of an image's bytes
        if shared.holds_content:
            shared.charge_event("content blocks")

    def read_delta(self, delta: Mapping[str, Any]) -> Sequence[Event]:
        value = delta.get(self._kind)
        if not self._shared.holds_content:
            return ()
        if isinstance(value, list):  # content of a result
            self._shared.charge_event("results of the provider's own tools")
            if not isinstance(self._item.get("content"), list):
                self._item["content"] = []
            self._item["content"].extend(value)
        elif isinstance(value, dict) and isinstance(piece := value.get("input"), str):
            self._shared.keep_piece(self._input, piece)
        elif isinstance(value, dict):
            self._shared.charge_event("content blocks")
            if isinstance(piece := as_object(value.get("source")).get("bytes"), str):
                self._pieces.append(piece)
            self._item |= value
        return ()

    def finish(self) -> list[Event]:
        if self._input:
            text = "".join(self._input)
            self._item["input"] = decode_or(lambda text: any_json(text.encode()), text, text)
        if len(self._pieces) > 1:
            self._item["source"] = {"bytes": _join_base64(self._pieces)}
        events = self._shared.pop_delayed_end()
        return [*events, NativeItem(self._shared.next_block(), "converse", self._kind, {self._kind: self._item})]


def parse_start(start: Any) -> tuple[str, Mapping[str, Any]] | None:
    """Return the kind and content of a block's start, or ``None`` if it is empty."""
    found = start.items() if isinstance(start, dict) else ()
    return next(((kind, item) for kind, item in found if isinstance(item, dict)), None)


def reading_for_start(shared: BlockState, kind: str, item: Mapping[str, Any]) -> CallReading | NativeReading:
    """Return the reader of a block with this start. A call gets its number immediately."""
    own = kind == "toolUse" and item.get("type") != SERVER_TOOL
    return CallReading(shared, item) if own else NativeReading(shared, kind, item)


def reading_for_delta(shared: BlockState, delta: Mapping[str, Any]) -> BlockReading | None:
    """Return the reader of a block without a start, which texts and reasoning lack.

    Raises ``GatewayError`` for a piece of a call that has not started: it must not become part of another call.
    """
    if "reasoningContent" in delta:
        return ReasoningReading(shared)
    if "text" in delta or "citation" in delta:
        return TextReading(shared)
    if "toolUse" in delta:
        raise GatewayError.of(NO_CALL)
    return None


_MEMBER = {TextReading: ("text", "citation"), ReasoningReading: ("reasoningContent",)}
"""The members in pieces of such blocks; texts and reasoning may share an index, as neither has a start."""


class ContentReading:
    """A reader of all blocks. Calls may interleave; at most one other block is open."""

    def __init__(self, content_limit: int) -> None:
        self.shared = BlockState(content_limit)
        self._blocks: dict[int, BlockReading] = {}
        self._other_blocks: dict[int, None] = {}  # the open blocks that are no calls

    def start(self, value: Mapping[str, Any]) -> Sequence[Event]:
        """Return the events for a ``contentBlockStart``."""
        if (found := parse_start(value.get("start"))) is None:
            return ()
        index = _read_index(value)
        events = [*self._finish_block(index), *self._finish_other_blocks()]
        block = reading_for_start(self.shared, *found)
        self._store_block(index, block)
        if isinstance(block, CallReading):
            events += [*self.shared.pop_delayed_end(), *block.begin]
        return events

    def continue_block(self, value: Mapping[str, Any]) -> Sequence[Event]:
        """Return the events for a ``contentBlockDelta``."""
        delta, index = value.get("delta"), _read_index(value)
        if not isinstance(delta, dict):
            return ()
        block = self._blocks.get(index)
        if block is not None and _accepts(block, delta):
            return block.read_delta(delta)
        if (opened := reading_for_delta(self.shared, delta)) is None:
            return ()
        events = [*self._finish_block(index), *self._finish_other_blocks()]
        self._store_block(index, opened)
        return [*events, *opened.read_delta(delta)]

    def stop(self, value: Mapping[str, Any]) -> Sequence[Event]:
        """Return the events for a ``contentBlockStop``."""
        return self._finish_block(_read_index(value))

    def finish_all(self) -> list[Event]:
        events = [event for index in list(self._blocks) for event in self._finish_block(index)]
        return [*events, *self.shared.pop_delayed_end()]

    def _store_block(self, index: int, block: BlockReading) -> None:
        self.shared.places.spend(PLACE, "content blocks")
        self._blocks[index] = block
        if not isinstance(block, CallReading):
            self._other_blocks[index] = None

    def _finish_block(self, index: int) -> list[Event]:
        block = self._blocks.pop(index, None)
        if block is None:
            return []
        self._other_blocks.pop(index, None)
        self.shared.places.release(PLACE)
        return block.finish()

    def _finish_other_blocks(self) -> list[Event]:
        """Return the events for the ends of all open blocks but calls."""
        return [event for index in list(self._other_blocks) for event in self._finish_block(index)]


def _accepts(block: BlockReading, delta: Mapping[str, Any]) -> bool:
    members = _MEMBER.get(type(block))
    return members is None or not delta or any(name in delta for name in members)


def _read_index(value: Mapping[str, Any]) -> int:
    index = value.get("contentBlockIndex")
    return index if isinstance(index, int) else 0
