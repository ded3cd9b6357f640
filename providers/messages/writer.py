"""Writer of a Messages client's stream.

Grammar: ``message_start (block)* message_delta message_stop``, with ``ping`` anywhere after ``message_start`` and
``block = content_block_start content_block_delta* content_block_stop``, one block at a time, numbered from 0. A failure
is an ``error`` event, which ends the stream. Source: the stream types of the anthropic package.
"""

from collections.abc import Mapping
from typing import Any, Final

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
from providers.neutral.block_writer import BlockWriter
from providers.neutral.codec import Reply, complete_usage
from providers.neutral.made_images import signs_image
from streams import sse
from streams.events import AnswerEnd, Citation, ErrorInfo, Event, NativeItem, ReasoningState, TextDelta, ToolCallStart

_END_OF_DELTA = b"}}\n\n"
_THINKING: Final = {"type": "thinking", "thinking": "", "signature": ""}  # the start of a block


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


class MessagesWriter(BlockWriter):
    """A ``Writer`` of the Messages API."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self._id, self._model = reply.id, reply.request.model
        self._stop = reply.request.parameters.get("stop")
        self._index = 0
        self._open: _BlockInProgress | None = None
        self._reasoning: ReasoningState | None = None
        self._waiting: list[ReasoningState] = []  # reasoning without text that waits for the next block
        self._has_content = False  # a block other than reasoning has started
        self._notes = left_out_notes(reply)

    def send(self, event: Event) -> bytes:
        if type(event) is TextDelta and self._open is not None and event.block == self.order.open:
            self.characters += len(event.text)
            return self._open.prefix + sse.dump(event.text) + _END_OF_DELTA
        return self.send_any(event)

    def begin_answer(self) -> bytes:
        usage = complete_usage(self.usage, self.input_estimate, self.characters)
        message = empty_message(self.opening, self._id, self._model, usage)
        start = sse.event("message_start", {"type": "message_start", "message": message})
        return start + b"".join(map(self._write_note, self._notes))

    def _write_note(self, text: str) -> bytes:
        """Return a block of the gateway's own text, in a delta: Claude Code ignores the text of a block's start."""
        return self.write_text(text) + self.end_block()

    def end_answer(self, end: AnswerEnd) -> bytes:
        states = b"" if self._has_content else self._write_states()
        usage = complete_usage(self.usage, self.input_estimate, self.characters)
        delta = write_end(end, self.calls_tools, self._stop)
        value = {"type": "message_delta", "delta": delta, "usage": usage_delta(usage)}
        return states + sse.event("message_delta", value) + WIRE.words.bare_end

    def fail(self, error: ErrorInfo) -> bytes:
        self._open = None
        return sse.event("error", {"type": "error", "error": messages_error(error)})

    # Blocks

    def write_text(self, text: str) -> bytes:
        return self._write_delta(text, "text_delta", "text", text_block())

    def write_thought(self, text: str) -> bytes:
        return self._write_delta(text, "thinking_delta", "thinking", _THINKING)

    def start_call(self, call: ToolCallStart) -> bytes:
        return self._start_block(call_block(call.id, call.name, {}), ("input_json_delta", "partial_json"))

    def cite(self, citation: Citation) -> bytes:
        if citation.api == "messages" and self._open is not None and self._open.kind == "text":
            return self._open.delta(type="citations_delta", citation=citation.item)
        return b""

    def write_native(self, native: NativeItem) -> bytes:
        if native.api != "messages":
            return b""
        states, self._has_content = self._write_states(), True
        return states + self._whole_block(native.item)

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
        return b"".join(self._whole_block(textless_block(self.issuer, state)) for state in waiting)

    def _write_delta(self, text: str, kind: str, member: str, item: Mapping[str, Any]) -> bytes:
        start = b"" if self._open is not None else self._start_block(item, (kind, member))
        assert self._open is not None
        return start + self._open.prefix + sse.dump(text) + _END_OF_DELTA

    def write_arguments(self, text: str) -> bytes:
        if self._open is None:
            return b""
        return self._open.prefix + sse.dump(text) + _END_OF_DELTA

    def write_state(self, state: ReasoningState) -> bytes:
        if signs_image(state):
            return b""
        if self._open is not None:  # the signature is the last delta of the block
            self._reasoning = state
            return b""
        if state.api != "messages":
            self._waiting.append(state)
            return b""
        item = textless_block(self.issuer, state)
        if item.get("type") == "thinking" and isinstance(item.get("signature"), str):
            self._reasoning = state
            return self._start_block(_THINKING, ("thinking_delta", "thinking"))
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

    def end_block(self) -> bytes:
        open, self._open = self._open, None
        if open is None:
            return b""
        last = b""
        if open.kind == "thinking":
            last = open.delta(type="signature_delta", signature=signature(self.issuer, self._reasoning))
            self._reasoning = None
        elif self.input is not None and not self.input.is_empty:
            last = open.delta(type="input_json_delta", partial_json=self.input.whole_json())
        self.input = None
        return last + open.stop()


WRITER: Final = MessagesWriter
