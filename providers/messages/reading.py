"""Readers of the content blocks in a Messages provider's stream.

Each kind of block is a ``BlockKind``: functions for its start, deltas and end. ``start_block``, ``continue_block`` and
``stop_block`` choose among them; all share an ``OpenAnswer``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import msgspec

from providers.messages.answer import block_events, reasoning_events, tool_call_start
from providers.neutral.bounds import PLACE, AnswerBudgets, check_length
from providers.neutral.values import arguments_text, as_string
from streams.events import BlockEnd, Citation, Event, ReasoningDelta, TextDelta, ToolCallDelta
from streams.surrogates import any_json, decode_or, tolerate_lone_surrogates


class Delta(msgspec.Struct):
    """The text members of a delta; msgspec skips the others."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None


class BlockDelta(msgspec.Struct):
    """A ``content_block_delta``, by far the most frequent event."""

    type: str = ""
    index: int = 0
    delta: Delta | None = None


decode = tolerate_lone_surrogates(msgspec.json.Decoder(BlockDelta).decode)


class OpenBlock:
    """A content block between its start and its stop."""

    __slots__ = ("citations", "item", "kind", "number", "pieces", "signature")

    def __init__(self, kind: "BlockKind", item: Mapping[str, Any]) -> None:
        self.kind = kind
        self.item = dict(item)
        self.number: int | None = None  # the number in our events, once one has opened the block
        self.pieces: list[str] = []  # the thinking so far, or the JSON of the input
        self.citations: list[Any] = []  # citations that arrived before any text
        self.signature: list[str] = []


class OpenAnswer(AnswerBudgets):
    """The state shared by all blocks of an answer. A block without content (an empty text) gets no number."""

    __slots__ = ("blocks", "call_ids", "lacks_call", "opened", "other_blocks")

    def __init__(self, content_limit: int) -> None:
        super().__init__(content_limit)
        self.blocks: dict[int, OpenBlock] = {}  # by the provider's index
        self.other_blocks: list[int] = []  # the index of the open block that is no tool call
        self.opened = 0  # numbers used so far
        self.lacks_call = False  # whether input of a call arrived without its start, which fails the answer at its end
        self.call_ids: set[str] = set()

    def number(self, block: OpenBlock) -> int:
        """Return the number of ``block`` in our events, assigning one if necessary."""
        if block.number is None:
            block.number = self.opened
            self.opened += 1
        return block.number


Step: TypeAlias = Callable[[OpenAnswer, OpenBlock], list[Event]]
TakePiece: TypeAlias = Callable[[OpenAnswer, OpenBlock, str], Sequence[Event]]
TakeDelta: TypeAlias = Callable[[OpenAnswer, OpenBlock, Mapping[str, Any]], Sequence[Event]]


@attrs.frozen(eq=False, repr=False)
class BlockKind:
    """The functions that read one kind of content block."""

    begin: Step
    finish: Step
    pieces: Mapping[str, tuple[str, TakePiece]]
    """By delta type: the member with a piece of text, and the function that reads the piece."""
    deltas: Mapping[str, TakeDelta] = {}
    """By delta type: the function that reads a delta with other members."""


def begin_call(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    begun = tool_call_start(answer.number(block), block.item, answer.call_ids)
    answer.places.spend(PLACE + len(begun.id), "tool calls")
    return [begun]


def read_input(answer: OpenAnswer, block: OpenBlock, text: str) -> Sequence[Event]:
    """Return the events for a piece of the input's JSON."""
    if not text:
        return ()
    if not block.pieces:
        block.pieces.append(text)  # records that a piece arrived
    return (ToolCallDelta(answer.number(block), text),)


def finish_call(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    """Return the events for the end of a call, including an input that the start carried whole."""
    number = answer.number(block)
    text = "" if block.pieces else arguments_text(block.item.get("input"))
    return [ToolCallDelta(number, text), BlockEnd(number)] if text else [BlockEnd(number)]


CALL = BlockKind(begin_call, finish_call, {"input_json_delta": ("partial_json", read_input)})


def begin_native(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    """Return no events, because a native block is sent whole at its end."""
    return []


def read_native_input(answer: OpenAnswer, block: OpenBlock, text: str) -> Sequence[Event]:
    """Store a piece of the input's JSON."""
    answer.keep_piece(block.pieces, text)
    return ()


def read_compaction(answer: OpenAnswer, block: OpenBlock, delta: Mapping[str, Any]) -> Sequence[Event]:
    """Store the members of a compaction."""
    if answer.holds_content:
        answer.charge_event("members of a block")
        block.item |= {name: part for name, part in delta.items() if name != "type"}
    return ()


def finish_native(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    if block.pieces:
        written, begun = "".join(block.pieces), block.item.get("input")
        block.item["input"] = decode_or(lambda text: any_json(text.encode()), written, begun)
    return block_events(answer.number(block), block.item, answer.call_ids)


NATIVE = BlockKind(begin_native, finish_native, {"input_json_delta": ("partial_json", read_native_input)})
COMPACTION = BlockKind(begin_native, finish_native, NATIVE.pieces, {"compaction_delta": read_compaction})


def begin_text(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    """Return the events for the text and citations in the block's start."""
    events = [*read_text(answer, block, as_string(block.item.get("text")))]
    citations = block.item.get("citations")
    for citation in check_length(citations, "citations") if isinstance(citations, list) else ():
        events += read_citation(answer, block, {"citation": citation})
    return events


def read_text(answer: OpenAnswer, block: OpenBlock, text: str) -> Sequence[Event]:
    """Return the events for a piece of text and the citations that waited for it."""
    if not text:
        return ()
    number = answer.number(block)
    if not block.citations:
        return (TextDelta(number, text),)
    cited = [Citation(number, "messages", item) for item in block.citations]
    block.citations.clear()
    return (TextDelta(number, text), *cited)


def read_citation(answer: OpenAnswer, block: OpenBlock, delta: Mapping[str, Any]) -> Sequence[Event]:
    """Return the events for a citation, or store it until the block has text.

    Messages sends citations before their text; our events send them after it, because the text opens the block.
    """
    if block.number is None:
        if answer.holds_content:
            answer.charge_event("citations")
            block.citations.append(delta.get("citation"))
        return ()
    return (Citation(block.number, "messages", delta.get("citation")),)


def finish_text(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    """Return the events for the end of a text, if it was not empty."""
    return [] if block.number is None else [BlockEnd(block.number)]


TEXT = BlockKind(begin_text, finish_text, {"text_delta": ("text", read_text)}, {"citations_delta": read_citation})


def begin_thinking(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    """Return the events for the thinking and signature in the block's start."""
    answer.keep_piece(block.signature, as_string(block.item.get("signature")))
    return [*read_thinking(answer, block, as_string(block.item.get("thinking")))]


def read_thinking(answer: OpenAnswer, block: OpenBlock, text: str) -> Sequence[Event]:
    if not text:
        return ()
    answer.keep_piece(block.pieces, text)
    return (ReasoningDelta(answer.number(block), text),)


def read_signature(answer: OpenAnswer, block: OpenBlock, text: str) -> Sequence[Event]:
    answer.keep_piece(block.signature, text)
    return ()


def finish_thinking(answer: OpenAnswer, block: OpenBlock) -> list[Event]:
    """Return the end of the block, preceded by the whole block as state if it is signed."""
    text, signature = "".join(block.pieces), "".join(block.signature)
    if block.number is None and not signature:
        return []
    item = block.item | {"thinking": text, "signature": signature}
    events = reasoning_events(answer.number(block), text, item)
    return events[1:] if text else events  # the text was sent piece by piece


THINKING = BlockKind(
    begin_thinking,
    finish_thinking,
    {
        "thinking_delta": ("thinking", read_thinking),
        "signature_delta": ("signature", read_signature),
    },
)


_KINDS: Mapping[str, BlockKind] = {
    "text": TEXT,
    "thinking": THINKING,
    "tool_use": CALL,
    "compaction": COMPACTION,
}
"""The kinds of blocks by type; all others are ``NATIVE``."""

_TYPE_OF_DELTA = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "thinking"}
"""The type of block that a delta belongs to, for a server that omits the block's start, or sends it into another
block (BerriAI/litellm#32105, sgl-project/sglang#24293)."""


def start_block(answer: OpenAnswer, value: Mapping[str, Any]) -> Sequence[Event]:
    item, index = value.get("content_block"), _read_index(value)
    if not isinstance(item, dict):
        return ()
    events = _finish_other_blocks(answer)
    if index in answer.blocks:
        events += _finish_block(answer, index)
    block = _open_block(answer, index, item)
    events += block.kind.begin(answer, block)
    if answer.holds_content:
        answer.charge_event("content blocks")
    else:
        block.item = {}
    return events


def continue_block(answer: OpenAnswer, value: Mapping[str, Any]) -> Sequence[Event]:
    delta, index = value.get("delta"), _read_index(value)
    if not isinstance(delta, dict):
        return ()
    type = as_string(delta.get("type"))
    block = answer.blocks.get(index)
    if block is not None and block.kind is CALL and type in _TYPE_OF_DELTA:
        index = ~index  # the call stays open
        block = answer.blocks.get(index)
    if block is not None and (block.kind not in (TEXT, THINKING) or type in (*block.kind.pieces, *block.kind.deltas)):
        return _read_delta(answer, block, type, delta)
    if delta.get("partial_json"):
        answer.lacks_call = True
    if type not in _TYPE_OF_DELTA or not delta.get(type.removesuffix("_delta")):
        return ()
    events = _finish_other_blocks(answer)
    return [*events, *_read_delta(answer, _open_block(answer, index, {"type": _TYPE_OF_DELTA[type]}), type, delta)]


def stop_block(answer: OpenAnswer, value: Mapping[str, Any]) -> Sequence[Event]:
    index = _read_index(value)
    return _finish_block(answer, index) if index in answer.blocks else ()


def read_whole_blocks(answer: OpenAnswer, content: object) -> list[Event]:
    """Return the events of blocks that ``message_start`` carries whole, as in programmatic tool calling."""
    events: list[Event] = []
    for item in check_length(content, "content blocks") if isinstance(content, list) else ():
        if isinstance(item, dict) and (block := block_events(answer.opened, item, answer.call_ids)):
            answer.opened += 1
            events.extend(block)
    return events


def finish_all(answer: OpenAnswer) -> list[Event]:
    return [event for index in list(answer.blocks) for event in _finish_block(answer, index)]


def _open_block(answer: OpenAnswer, index: int, item: Mapping[str, Any]) -> OpenBlock:
    answer.places.spend(PLACE, "content blocks")
    kind = _KINDS.get(as_string(item.get("type")), NATIVE)
    block = answer.blocks[index] = OpenBlock(kind, item)
    if kind is not CALL:
        answer.other_blocks.append(index)
    return block


def _read_delta(answer: OpenAnswer, block: OpenBlock, type: str, delta: Mapping[str, Any]) -> Sequence[Event]:
    if type in block.kind.pieces:
        member, read_piece = block.kind.pieces[type]
        return read_piece(answer, block, as_string(delta.get(member)))
    read = block.kind.deltas.get(type)
    return () if read is None else read(answer, block, delta)


def _finish_other_blocks(answer: OpenAnswer) -> list[Event]:
    """Return the events for the ends of all open blocks but tool calls; there is one unless a server omits stops."""
    return [event for index in tuple(answer.other_blocks) for event in _finish_block(answer, index)]


def _finish_block(answer: OpenAnswer, index: int) -> list[Event]:
    block = answer.blocks.pop(index)
    answer.places.release(PLACE)
    if block.kind is not CALL:
        answer.other_blocks.remove(index)
    return block.kind.finish(answer, block)


def _read_index(value: Mapping[str, Any]) -> int:
    index = value.get("index")
    return index if isinstance(index, int) else 0  # blocks without an index arrive one by one, so they can share one
