"""Writer of a Messages client's stream.

Grammar: ``message_start (block)* message_delta message_stop``, with ``ping`` anywhere after ``message_start`` and
``block = content_block_start content_block_delta* content_block_stop``, one block at a time, numbered from 0. A failure
is an ``error`` event, which ends the stream. Source: the stream types of the anthropic package.
"""

from collections.abc import Mapping
from typing import Any, Final, assert_never

import msgspec

from providers.errors.failures import messages_error
from providers.messages import WIRE
from providers.messages.answer import (
    call_block,
    empty_message,
    left_out_notes,
    signature,
    text_block,
    textless_block,
    write_end,
)
from providers.messages.usage import usage_delta
from providers.neutral.arguments import StreamedInput
from providers.neutral.block_order import BlockEvent, BlockOrder
from providers.neutral.codec import ANSWERING, ENDED, WAITING, AnswerStage, Reply, complete_usage
from providers.neutral.made_images import signs_image
from streams import sse
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

_PIECES = (ReasoningDelta, ToolCallDelta)  # the most frequent events besides texts
_END_OF_DELTA = b"}}\n\n"


def _delta_prefix(index: int, kind: str, member: str) -> bytes:
    """Return the bytes of a delta that precede its string, so that each piece only encodes a string."""
    text = 'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%s","%s":'
    return (text % (index, kind, member)).encode()


class _BlockInProgress:
    """The open block of the client's stream."""

    __slots__ = ("index", "kind", "prefix")

    def __init__(self, index: int, kind: str, prefix: bytes = b"") -> None:
        self.index = index
        self.kind = kind
        self.prefix = prefix

    def delta(self, **members: Any) -> bytes:
        value = {"type": "content_block_delta", "index": self.index, "delta": members}
        return sse.event("content_block_delta", value)

    def stop(self) -> bytes:
        return sse.event("content_block_stop", {"type": "content_block_stop", "index": self.index})


class MessagesWriter:
    """A ``Writer`` of the Messages API.

    Blocks are sent strictly one after another; events of a later block wait until the open one has ended, because
    clients merge interleaved calls (QwenLM/Qwen-Agent#943).
    """

    def __init__(self, reply: Reply) -> None:
        self._id, self._model, self._issuer = reply.id, reply.request.model, reply.issuer
        self._input_estimate = reply.input_estimate
        self._characters = 0  # that the model wrote, for an estimated usage
        self._index = 0
        self._order = BlockOrder()
        self._open: _BlockInProgress | None = None
        self._reasoning: ReasoningState | None = None
        self._waiting: list[ReasoningState] = []  # reasoning without text that waits for the next block
        self._has_content = False  # a block other than reasoning has started
        self._input: StreamedInput | None = None  # the arguments of the open call
        self._usage: Usage | None = None
        self._opening = AnswerStart()  # the provider's id and model
        self._stage: AnswerStage = WAITING
        self._calls_tools = False
        self._notes = left_out_notes(reply)

    def send(self, event: Event) -> bytes:
        if isinstance(event, TextDelta) and self._open is not None and event.block == self._order.open:
            self._characters += len(event.text)
            return b"%b%b%b" % (self._open.prefix, sse.dump(event.text), _END_OF_DELTA)
        if self._stage is ENDED:
            return b""
        match event:
            case AnswerStart():
                self._opening = event  # held back, to include the provider's first usage
                return b""
            case Usage():
                self._usage = event
                return b""
            case AnswerEnd():
                return self._end_message(event)
            case ErrorInfo():
                self._stage = ENDED
                self._open = None
                return sse.event("error", {"type": "error", "error": messages_error(event)})
            case _:
                if event.block == self._order.open and type(event) in _PIECES:
                    return self._write(event)
                return self._start_message() + b"".join(map(self._write, self._order.add(event)))

    def _start_message(self) -> bytes:
        if self._stage is not WAITING:
            return b""
        self._stage = ANSWERING
        message = empty_message(self._opening, self._id, self._model, self._known_usage())
        start = sse.event("message_start", {"type": "message_start", "message": message})
        return start + b"".join(map(self._write_note, self._notes))

    def _write_note(self, text: str) -> bytes:
        """Return a block of the gateway's own text, in a delta: Claude Code ignores the text of a block's start."""
        characters = self._characters
        block = self._write_delta(text, "text_delta", "text", text_block()) + self._end_block()
        self._characters = characters
        return block

    def _end_message(self, event: AnswerEnd) -> bytes:
        out = [self._start_message(), *map(self._write, self._order.release_all())]
        if not self._has_content:
            out.append(self._write_states())
        self._stage = ENDED
        delta = write_end(event, self._calls_tools)
        value = {"type": "message_delta", "delta": delta, "usage": usage_delta(self._known_usage())}
        return b"".join([*out, sse.event("message_delta", value), WIRE.words.bare_end])

    def _known_usage(self) -> Usage:
        return complete_usage(self._usage, self._input_estimate, self._characters)

    # Blocks

    def _write(self, event: BlockEvent) -> bytes:
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text):
                return self._write_delta(text, "text_delta", "text", text_block())
            case ReasoningDelta(text=text):
                start = {"type": "thinking", "thinking": "", "signature": ""}
                return self._write_delta(text, "thinking_delta", "thinking", start)
            case ToolCallDelta(text=text):
                return self._write_arguments(text)
            case ToolCallStart(id=id, name=name, kind=kind):
                self._calls_tools = True
                self._input = StreamedInput(kind)
                return self._start_block(call_block(id, name, {}), ("input_json_delta", "partial_json"))
            case ReasoningState():
                return b"" if signs_image(event) else self._write_state(event)
            case Citation(api=api, item=item):
                if api == "messages" and self._open is not None and self._open.kind == "text":
                    return self._open.delta(type="citations_delta", citation=item)
                return b""
            case NativeItem(api="messages", item=item):
                states, self._has_content = self._write_states(), True
                return states + self._whole_block(item)
            case NativeItem():
                return b""
            case BlockEnd():
                return self._end_block()
            case _:
                assert_never(event)

    def _start_block(self, item: Mapping[str, Any], prefix: tuple[str, str]) -> bytes:
        states = self._write_states()
        self._has_content |= item["type"] != "thinking"
        self._open = _BlockInProgress(self._index, item["type"], _delta_prefix(self._index, *prefix))
        self._index += 1
        value = {"type": "content_block_start", "index": self._open.index, "content_block": item}
        return states + sse.event("content_block_start", value)

    def _write_states(self) -> bytes:
        """Return the waiting reasoning without text.

        Reasoning left after the last text is not sent: Claude Code shows nothing of an answer that ends with reasoning
        (musistudio/claude-code-router#1275).
        """
        if not self._waiting:
            return b""
        waiting, self._waiting = self._waiting, []
        return b"".join(self._whole_block(textless_block(self._issuer, state)) for state in waiting)

    def _write_delta(self, text: str, kind: str, member: str, item: Mapping[str, Any]) -> bytes:
        start = b"" if self._open is not None else self._start_block(item, (kind, member))
        assert self._open is not None
        self._characters += len(text)
        return b"%b%b%b%b" % (start, self._open.prefix, sse.dump(text), _END_OF_DELTA)

    def _write_arguments(self, text: str) -> bytes:
        self._characters += len(text)
        if self._input is not None:
            text = self._input.add(text)
            self._input = None if self._input.passes else self._input
        if self._open is None or not text:
            return b""
        return b"%b%b%b" % (self._open.prefix, sse.dump(text), _END_OF_DELTA)

    def _write_state(self, event: ReasoningState) -> bytes:
        if self._open is not None:  # the signature is the last delta of the block
            self._reasoning = event
            return b""
        if event.api != "messages":
            self._waiting.append(event)
            return b""
        item = textless_block(self._issuer, event)
        if item.get("type") == "thinking" and isinstance(item.get("signature"), str):
            self._reasoning = event
            start = {"type": "thinking", "thinking": "", "signature": ""}
            return self._start_block(start, ("thinking_delta", "thinking"))
        return self._whole_block(item)

    def _whole_block(self, item: Any) -> bytes:
        """Return a block whose start contains all of it, except the input of a call: clients read that in deltas."""
        block, input = _BlockInProgress(self._index, ""), b""
        if item.get("type") == "server_tool_use" and item.get("input"):
            input = block.delta(type="input_json_delta", partial_json=msgspec.json.encode(item["input"]).decode())
            item = {**item, "input": {}}
        value = {"type": "content_block_start", "index": self._index, "content_block": item}
        self._index += 1
        return sse.event("content_block_start", value) + input + block.stop()

    def _end_block(self) -> bytes:
        open, self._open = self._open, None
        if open is None:
            return b""
        last = b""
        if open.kind == "thinking":
            last = open.delta(type="signature_delta", signature=signature(self._issuer, self._reasoning))
            self._reasoning = None
        elif self._input is not None and not self._input.is_empty:
            last = open.delta(type="input_json_delta", partial_json=self._input.whole_json())
        self._input = None
        return last + open.stop()


WRITER: Final = MessagesWriter
