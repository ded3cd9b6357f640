"""Writer of an Interactions client's stream.

Grammar: ``interaction.created interaction.status_update (step)* interaction.completed done``, with ``step = step.start
step.delta* step.stop``, one step at a time, numbered from 0. Each event but the last has an ``event_id``, its position
in the stream. A failure is an ``error`` event, which ends the stream. Source: ``InteractionSSEEvent`` of the
google-genai package, and the page "Streaming interactions".
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.interactions.answer import (
    IN_PROGRESS,
    check_calls,
    common_members,
    native_steps,
    text_content,
    write_answer,
    write_signature,
    write_status,
)
from providers.interactions.citations import write_annotations
from providers.interactions.errors import error_event
from providers.interactions.usage import write_tier, write_usage
from providers.neutral.arguments import is_json_object
from providers.neutral.block_order import BlockEvent
from providers.neutral.block_writer import BlockWriter
from providers.neutral.codec import Reply
from providers.neutral.seal import MAX_SEALED
from providers.neutral.texts import CitedText
from streams import sse
from streams.events import (
    AnswerEnd,
    Citation,
    ErrorInfo,
    Event,
    NativeItem,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)

__all__ = ["WRITER", "InteractionsWriter", "write_answer"]

DONE = b"event: done\ndata: [DONE]\n\n"
_TEXT = (
    b'event: step.delta\ndata: {"event_type":"step.delta","index":%d,"delta":{"type":"text","text":%b},'
    b'"event_id":"%d"}\n\n'
)
_ARGUMENTS = (
    b'event: step.delta\ndata: {"event_type":"step.delta","index":%d,"delta":{"type":"arguments_delta","arguments":%b},'
    b'"event_id":"%d"}\n\n'
)


class InteractionsWriter(BlockWriter):
    """A ``Writer`` of one Interactions stream."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self._common = common_members(reply)
        self._shows_thoughts = reply.shows_thoughts
        self._number = 0  # events so far
        self._index = -1  # of the open or last step
        self._is_open = False  # whether a step is open
        self._call: ToolCallStart | None = None  # the open call of a function
        self._arguments: list[str] = []  # its pieces
        self._bad_call: str | None = None  # the name of the first call with arguments that are not valid
        self._citations: list[Citation] = []  # of the open text
        self._text = CitedText()
        self._thoughts: list[str] = []  # hidden pieces of the open thought
        self._thought_length = 0

    def send(self, event: Event) -> bytes:
        """Return the events for ``event``. Raises ``GatewayError`` at the end of an answer with arguments that are not
        valid."""
        if type(event) is TextDelta and self._is_open and event.block == self.order.open:
            self.characters += len(event.text)
            return self._write_piece(event.text)
        return self.send_any(event)

    # The interaction

    def _event(self, name: str, members: Mapping[str, Any]) -> bytes:
        self._number += 1
        return sse.event(name, {"event_type": name, **members, "event_id": str(self._number)})

    def begin_answer(self) -> bytes:
        created = self._event("interaction.created", {"interaction": {**self._common, "status": IN_PROGRESS}})
        update = {"interaction_id": self._common["id"], "status": IN_PROGRESS}
        return created + self._event("interaction.status_update", update)

    def end_answer(self, end: AnswerEnd) -> bytes:
        check_calls(end, self._bad_call)
        interaction = {
            **self._common,
            "status": write_status(end, self.calls_tools),
            "usage": write_usage(self.usage, self.input_estimate, self.characters),
            **write_tier(self.usage),
        }
        return self._event("interaction.completed", {"interaction": interaction}) + DONE

    def fail(self, error: ErrorInfo) -> bytes:
        self._number += 1
        return error_event(error, self._number)

    # Steps

    def start_call(self, call: ToolCallStart) -> bytes:
        self._call = call if call.kind == "function" else None
        return self._start_step({"type": "function_call", "id": call.id, "name": call.name, "arguments": {}})

    def cite(self, citation: Citation) -> bytes:
        self._citations.append(citation)
        return b""

    def write_native(self, native: NativeItem) -> bytes:
        hidden = native.kind == "thought" and not self._shows_thoughts
        steps = [] if hidden else native_steps(native.api, native.item)
        return b"".join(self._start_step(step) + self._stop_step() for step in steps)

    def _start_step(self, step: Any) -> bytes:
        self._index += 1
        self._is_open = True
        return self._event("step.start", {"index": self._index, "step": step})

    def _stop_step(self) -> bytes:
        self._is_open = False
        return self._event("step.stop", {"index": self._index})

    def _delta(self, **members: Any) -> bytes:
        return self._event("step.delta", {"index": self._index, "delta": members})

    def write_text(self, text: str) -> bytes:
        start = b"" if self._is_open else self._start_step({"type": "model_output"})
        return start + self._write_piece(text)

    def _write_piece(self, text: str) -> bytes:
        self._text.add(text)
        self._number += 1
        return _TEXT % (self._index, sse.dump(text), self._number)

    def write_thought(self, text: str) -> bytes:
        if self._shows_thoughts:
            start = b"" if self._is_open else self._start_step({"type": "thought"})
            return start + self._delta(type="thought_summary", content=text_content(text, []))
        self._thought_length += len(text)
        if self._thought_length <= MAX_SEALED:
            self._thoughts.append(text)
        return b""

    def write_state(self, state: ReasoningState) -> bytes:
        """Return the event with the signature of the open thought; without an open one, start a thought for it."""
        hidden = "".join(self._thoughts) if self._thought_length <= MAX_SEALED else ""
        signature = write_signature(self.issuer, state, hidden)
        if not signature:
            return b""
        start = b"" if self._is_open else self._start_step({"type": "thought"})
        return start + self._delta(type="thought_signature", signature=signature)

    def write_event(self, event: BlockEvent) -> bytes:
        if self._call is not None and isinstance(event, ToolCallDelta):
            self._arguments.append(event.text)
        return super().write_event(event)

    def write_arguments(self, text: str) -> bytes:
        self._number += 1
        return _ARGUMENTS % (self._index, sse.dump(text), self._number)

    def end_block(self) -> bytes:
        out = b""
        if self._call is not None and self._bad_call is None and not is_json_object("".join(self._arguments)):
            self._bad_call = self._call.name
        if self.input is not None and not self.input.is_empty:
            out = self._delta(type="arguments_delta", arguments=self.input.whole_json())
        if self._citations and (annotations := write_annotations(self._citations, self._text)):
            out += self._delta(type="text_annotation_delta", annotations=annotations)
        self.input, self._call, self._arguments = None, None, []
        self._citations, self._thoughts, self._thought_length = [], [], 0
        self._text.clear()
        return out + self._stop_step() if self._is_open else out


WRITER: Final = InteractionsWriter
