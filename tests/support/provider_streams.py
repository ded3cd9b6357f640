"""Streams and whole answers of providers, read by their codec."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from providers.neutral.codec import Codec
from providers.neutral.request import Request
from streams.events import (
    AnswerEnd,
    AnswerStart,
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
    Usage,
)


def read_pieces(codec: Codec, pieces: Iterable[bytes], content_limit: int = 2**20) -> list[Event]:
    """Return the events of a stream that arrives in ``pieces``."""
    framing, reader = codec.wire.framing, codec.reader(content_limit)
    splitter = framing.splitter(2**26)
    raws = [raw for piece in pieces for raw in splitter.feed(piece)]
    parsed = [framing.parse(raw) for raw in (*raws, splitter.close()) if raw]
    events = [event for pair in parsed if pair is not None for event in reader.read_event(*pair)]
    events.extend(reader.close())
    assert not reader.close()
    return events


def read_stream(codec: Codec, body: bytes, step: int | None = None) -> list[Event]:
    """Return the events of the stream ``body``, read in pieces of ``step`` bytes."""
    size = step or max(1, len(body))
    return read_pieces(codec, [body[at : at + size] for at in range(0, len(body), size)])


def read_either(codec: Codec, body: bytes) -> list[Event]:
    """Return the events of a body, a whole answer in JSON or a stream."""
    return list(codec.read_answer(body)) if body.lstrip()[:1] == b"{" else read_stream(codec, body)


_KINDS: Mapping[type[Event], str] = {
    TextDelta: "text", Citation: "text", RefusalDelta: "refusal", ReasoningDelta: "reasoning",
    ReasoningState: "reasoning", ToolCallStart: "call", ToolCallDelta: "call", NativeItem: "item",
}  # fmt: skip


def check_order(events: Sequence[Event]) -> None:
    """Fail if ``events`` break a promise of ``streams/events.py`` about their order."""
    *body, last = events
    assert isinstance(last, AnswerEnd | ErrorInfo)
    if len(events) == 2 and isinstance(last, ErrorInfo):  # the usage of an answer that failed before it began
        assert isinstance(events[0], AnswerStart | Usage)
    else:
        assert isinstance(events[0], AnswerStart | ErrorInfo)
    opened: dict[int, bool] = {}  # block: is it a tool call
    live: set[int] = set()
    kinds: dict[int, str] = {}
    for event in body[1:]:
        assert not isinstance(event, AnswerStart | AnswerEnd | ErrorInfo)
        block = getattr(event, "block", None)
        if block is None:
            continue
        if isinstance(event, BlockEnd):
            live.remove(block)
        elif isinstance(event, NativeItem):
            assert block == len(opened)
            opened[block] = False
        elif block in opened:
            assert block in live
            assert not isinstance(event, ToolCallStart)
        else:
            assert block == len(opened), "blocks are numbered as they open and never open twice"
            assert isinstance(event, TextDelta | RefusalDelta | ReasoningDelta | ReasoningState | ToolCallStart)
            opened[block] = isinstance(event, ToolCallStart)
            live.add(block)
        if isinstance(event, TextDelta | RefusalDelta | ReasoningDelta | ToolCallDelta):
            assert event.text
        if (kind := _KINDS.get(type(event))) is not None:
            assert kinds.setdefault(block, kind) == kind, "a block has events of one kind"
        assert sum(not opened[one] for one in live) <= 1, "only calls are open beside another block"
    assert not live or isinstance(last, ErrorInfo)


def without_places(value: Any) -> Any:
    """Return a neutral request, or a part of one, without the paths, source JSON and drops that differ between
    spellings."""
    if isinstance(value, tuple | list):
        return [without_places(one) for one in value]
    if isinstance(value, dict):
        return {name: without_places(one) for name, one in value.items()}
    if not attrs.has(type(value)):
        return value
    left_out = ("at", "dropped", "source") if isinstance(value, Request) else ("at",)
    names = [field.name for field in attrs.fields(type(value)) if field.name not in left_out]
    return type(value).__name__, {name: without_places(getattr(value, name)) for name in names}
