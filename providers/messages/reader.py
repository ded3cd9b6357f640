"""A Messages provider's stream, read.

Grammar: ``message_start (block)* message_delta message_stop``, with ``ping`` anywhere and ``block = content_block_start
content_block_delta* content_block_stop``. Source: the stream types of the anthropic package.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from providers.errors.failures import array_failure, read_event_failure
from providers.messages.answer import block_events, input_text, read_end, reasoning_events, text_of, tool_begin
from providers.messages.usage import Counts
from providers.neutral.stages import ANSWERING, ENDED, WAITING, AnswerStage
from streams.events import AnswerStart, BlockEnd, Citation, ErrorInfo, Event, ReasoningDelta, TextDelta, ToolCallDelta
from streams.surrogates import NOT_JSON, any_json, reading


class _Delta(msgspec.Struct):
    """The deltas that nearly every event is, decoded without building what is not needed."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None


class _BlockDelta(msgspec.Struct):
    type: str = ""
    index: int = 0
    delta: _Delta | None = None


_delta = reading(msgspec.json.Decoder(_BlockDelta).decode)

_KIND_OF_DELTA = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "thinking"}


class _Reading:
    """A block of the upstream between its start and its stop. ``number`` is ours once an event has opened it."""

    __slots__ = ("citations", "item", "kind", "number", "pieces", "signature")

    def __init__(self, item: Mapping[str, Any]) -> None:
        self.kind = text_of(item.get("type"))
        self.item = dict(item)
        self.number: int | None = None
        self.pieces: list[str] = []  # the thinking so far, or the JSON of the input
        self.citations: list[Any] = []  # those that came before any text
        self.signature = text_of(item.get("signature"))


class MessagesReader:
    """See ``providers.neutral.codec.Reader``. Blocks that say nothing (an empty text) open no block of ours."""

    def __init__(self) -> None:
        self._blocks: dict[int, _Reading] = {}
        self._counts = Counts()
        self._count = 0  # blocks opened so far
        self._ids: set[str] = set()
        self._stage: AnswerStage = WAITING
        self._reason: str | None = None
        self._stop_sequence: str | None = None
        self._details: Any = None

    def take(self, event: str, data: bytes) -> Sequence[Event]:
        if self._stage is ENDED:
            return ()
        if event == "content_block_delta" and (events := self._quick(data)) is not None:
            return events
        try:
            value = any_json(data)
        except NOT_JSON:
            return () if data.strip() == b"[DONE]" else self._fail(_malformed(data))
        if not isinstance(value, dict):
            failed = array_failure(data)
            return () if failed is None else self._fail(failed)
        kind = text_of(value.get("type")) or event
        if kind == "error" or (kind not in _TAKE and value.get("error")):
            return self._fail(read_event_failure(value))
        take = _TAKE.get(kind)
        return () if take is None else self._begin(take(self, value))

    def close(self) -> Sequence[Event]:
        if self._stage is ENDED:
            return ()
        if self._reason is not None:  # all that matters was said, only the last event is missing
            return self._end()
        return self._fail(ErrorInfo("upstream", "the provider ended the stream early"))

    def _quick(self, data: bytes) -> Sequence[Event] | None:
        """A delta of text, thinking or input in a block that is open; ``None`` for everything else, which the slow way
        then sorts out."""
        try:
            value = _delta(data)
        except NOT_JSON:
            return None
        block, delta = self._blocks.get(value.index), value.delta
        if block is None or delta is None or block.number is None or value.type != "content_block_delta":
            return None
        if delta.type == "text_delta" and block.kind == "text":
            return (TextDelta(block.number, delta.text),) if delta.text else ()
        if delta.type == "input_json_delta" and block.kind == "tool_use" and delta.partial_json:
            block.pieces.append(delta.partial_json)
            return (ToolCallDelta(block.number, delta.partial_json),)
        if delta.type == "thinking_delta" and block.kind == "thinking" and delta.thinking:
            block.pieces.append(delta.thinking)
            return (ReasoningDelta(block.number, delta.thinking),)
        return None

    def _begin(self, events: list[Event]) -> list[Event]:
        """``events`` with a ``AnswerStart`` before the first of them, for servers that forget ``message_start``."""
        if events and self._stage is WAITING:
            self._stage = ANSWERING
            events.insert(0, AnswerStart())
        return events

    def _message_start(self, value: Mapping[str, Any]) -> list[Event]:
        message = value.get("message")
        if not isinstance(message, dict):
            return []
        self._counts.add(message.get("usage"))
        if self._stage is not WAITING:  # said twice (BerriAI/litellm#32357): it begins no second answer
            return []
        self._stage = ANSWERING
        events: list[Event] = [AnswerStart(text_of(message.get("id")), text_of(message.get("model")))]
        if (usage := self._counts.usage()) is not None:
            events.append(usage)
        content = message.get("content")
        for item in content if isinstance(content, list) else ():  # programmatic tool calling begins with whole blocks
            if isinstance(item, dict) and (block := block_events(self._count, item, self._ids)):
                self._count += 1
                events.extend(block)
        return events

    def _block_start(self, value: Mapping[str, Any]) -> list[Event]:
        item, index = value.get("content_block"), _index(value)
        if not isinstance(item, dict):
            return []
        events = self._close_words()
        if index in self._blocks:
            events += self._finish(index)
        block = self._blocks[index] = _Reading(item)
        if block.kind == "tool_use":
            events.append(tool_begin(self._number(block), block.item, self._ids))
        elif block.kind == "text" and (text := text_of(item.get("text"))):
            events += self._text(block, text)
        elif block.kind == "thinking" and (text := text_of(item.get("thinking"))):
            events += self._reasoning(block, text)
        if block.kind == "text" and isinstance(citations := item.get("citations"), list):
            for citation in citations:
                events += self._cite(block, citation)
        return events

    def _block_delta(self, value: Mapping[str, Any]) -> list[Event]:
        delta, index = value.get("delta"), _index(value)
        if not isinstance(delta, dict):
            return []
        kind = text_of(delta.get("type"))
        events: list[Event] = []
        block = self._blocks.get(index)
        if block is None:  # its start is missing: the delta says what it is
            if kind not in _KIND_OF_DELTA:
                return []
            events = self._close_words()
            block = self._blocks[index] = _Reading({"type": _KIND_OF_DELTA[kind]})
        match block.kind, kind:
            case "text", "text_delta":
                events += self._text(block, text_of(delta.get("text")))
            case "text", "citations_delta":
                events += self._cite(block, delta.get("citation"))
            case "thinking", "thinking_delta":
                events += self._reasoning(block, text_of(delta.get("thinking")))
            case "thinking", "signature_delta":
                block.signature += text_of(delta.get("signature"))
            case "tool_use", "input_json_delta":
                if piece := text_of(delta.get("partial_json")):
                    block.pieces.append(piece)
                    events.append(ToolCallDelta(self._number(block), piece))
            case _, "input_json_delta":
                block.pieces.append(text_of(delta.get("partial_json")))
            case "compaction", "compaction_delta":
                block.item |= {name: part for name, part in delta.items() if name != "type"}
        return events

    def _block_stop(self, value: Mapping[str, Any]) -> list[Event]:
        index = _index(value)
        return self._finish(index) if index in self._blocks else []

    def _message_delta(self, value: Mapping[str, Any]) -> list[Event]:
        self._counts.add(value.get("usage"))
        delta = value.get("delta")
        if isinstance(delta, dict):
            self._reason = text_of(delta.get("stop_reason")) or self._reason
            self._stop_sequence = text_of(delta.get("stop_sequence")) or self._stop_sequence
            self._details = delta.get("stop_details") or self._details
        return []

    def _message_stop(self, value: Mapping[str, Any]) -> list[Event]:
        return self._end()

    def _end(self) -> list[Event]:
        events = [event for index in list(self._blocks) for event in self._finish(index)]
        if (usage := self._counts.usage()) is not None:
            events.append(usage)
        events.append(read_end(self._reason, self._stop_sequence, self._details))
        events = self._begin(events)
        self._stage = ENDED
        return events

    def _fail(self, failed: ErrorInfo) -> list[Event]:
        self._stage = ENDED
        return [failed]

    # Blocks

    def _number(self, block: _Reading) -> int:
        if block.number is None:
            block.number = self._count
            self._count += 1
        return block.number

    def _text(self, block: _Reading, text: str) -> list[Event]:
        if not text:
            return []
        number = self._number(block)
        cited = [Citation(number, "messages", item) for item in block.citations]
        block.citations.clear()
        return [TextDelta(number, text), *cited]

    def _cite(self, block: _Reading, citation: Any) -> list[Event]:
        """A citation comes before the text that it is for; ours follow the text, which opens the block."""
        if block.number is None:
            block.citations.append(citation)
            return []
        return [Citation(block.number, "messages", citation)]

    def _reasoning(self, block: _Reading, text: str) -> list[Event]:
        if not text:
            return []
        block.pieces.append(text)
        return [ReasoningDelta(self._number(block), text)]

    def _close_words(self) -> list[Event]:
        """End every block but tool calls: a server that forgets its stops has only one of them open."""
        words = [index for index, block in self._blocks.items() if block.kind != "tool_use"]
        return [event for index in words for event in self._finish(index)]

    def _finish(self, index: int) -> list[Event]:
        block = self._blocks.pop(index)
        match block.kind:
            case "text":
                return [] if block.number is None else [BlockEnd(block.number)]
            case "thinking":
                return self._finish_thinking(block)
            case "tool_use":
                number = self._number(block)
                text = "" if block.pieces else input_text(block.item.get("input"))  # whole in its start, no deltas
                return [ToolCallDelta(number, text), BlockEnd(number)] if text else [BlockEnd(number)]
        if block.pieces:
            block.item["input"] = _parsed("".join(block.pieces), block.item.get("input"))
        return block_events(self._number(block), block.item, self._ids)

    def _finish_thinking(self, block: _Reading) -> list[Event]:
        if block.number is None and not block.signature:
            return []
        text = "".join(block.pieces)
        item = block.item | {"thinking": text, "signature": block.signature}
        events = reasoning_events(self._number(block), text, item)
        return events[1:] if text else events  # the text went out as it came


_TAKE: Mapping[str, Callable[[MessagesReader, Mapping[str, Any]], list[Event]]] = {
    "message_start": MessagesReader._message_start,
    "content_block_start": MessagesReader._block_start,
    "content_block_delta": MessagesReader._block_delta,
    "content_block_stop": MessagesReader._block_stop,
    "message_delta": MessagesReader._message_delta,
    "message_stop": MessagesReader._message_stop,
}


def _index(value: Mapping[str, Any]) -> int:
    index = value.get("index")
    return index if isinstance(index, int) else 0  # blocks come one by one, so one place is enough for those without


def _parsed(text: str, default: Any) -> Any:
    try:
        return any_json(text.encode())
    except NOT_JSON:
        return default


def _malformed(data: bytes) -> ErrorInfo:
    return ErrorInfo("upstream", "the provider sent an event that is not valid JSON")
