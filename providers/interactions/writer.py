"""Writer of an Interactions client's stream.

Grammar: ``interaction.created interaction.status_update (step)* interaction.completed done``, with ``step = step.start
step.delta* step.stop``, one step at a time, numbered from 0. Each event but the last has an ``event_id``, its position
in the stream. A failure is an ``error`` event, which ends the stream. Source: ``InteractionSSEEvent`` of the
google-genai package, and the page "Streaming interactions".
"""

from collections.abc import Mapping
from typing import Any, Final, assert_never

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
from providers.neutral.arguments import StreamedInput, is_json_object
from providers.neutral.block_order import BlockEvent, BlockOrder
from providers.neutral.codec import ANSWERING, ENDED, WAITING, AnswerStage, Reply
from providers.neutral.seal import MAX_SEALED
from providers.neutral.texts import CitedText
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


class InteractionsWriter:
    """A ``Writer`` of one Interactions stream. Events of a later step wait until the open one has ended."""

    def __init__(self, reply: Reply) -> None:
        self._issuer, self._estimate = reply.issuer, reply.input_estimate
        self._common = common_members(reply)
        self._shows_thoughts = reply.shows_thoughts
        self._stage: AnswerStage = WAITING
        self._number = 0  # events so far
        self._index = -1  # of the open or last step
        self._is_open = False  # whether a step is open
        self._order = BlockOrder()
        self._input: StreamedInput | None = None  # the arguments of the open call
        self._call: ToolCallStart | None = None  # the open call of a function
        self._arguments: list[str] = []  # its pieces
        self._bad_call: str | None = None  # the name of the first call with arguments that are not valid
        self._citations: list[Citation] = []  # of the open text
        self._text = CitedText()
        self._thoughts: list[str] = []  # hidden pieces of the open thought
        self._thought_length = 0
        self._characters = 0
        self._calls_tools = False
        self._usage: Usage | None = None

    def send(self, event: Event) -> bytes:
        """Return the events for ``event``. Raises ``GatewayError`` at the end of an answer with arguments that are not
        valid."""
        if self._stage is ENDED:
            return b""
        if type(event) is TextDelta and self._is_open and event.block == self._order.open:
            return self._write_text(event.text)  # by far the most frequent event
        match event:
            case AnswerStart():
                return b""
            case Usage():
                self._usage = event
                return b""
            case AnswerEnd():
                return self._write_end(event)
            case ErrorInfo():
                self._stage = ENDED
                self._number += 1
                return error_event(event, self._number)
            case _:
                return self._start() + b"".join(map(self._write, self._order.add(event)))

    # The interaction

    def _event(self, name: str, members: Mapping[str, Any]) -> bytes:
        self._number += 1
        return sse.event(name, {"event_type": name, **members, "event_id": str(self._number)})

    def _start(self) -> bytes:
        if self._stage is not WAITING:
            return b""
        self._stage = ANSWERING
        created = self._event("interaction.created", {"interaction": {**self._common, "status": IN_PROGRESS}})
        update = {"interaction_id": self._common["id"], "status": IN_PROGRESS}
        return created + self._event("interaction.status_update", update)

    def _write_end(self, end: AnswerEnd) -> bytes:
        out = [self._start(), *map(self._write, self._order.release_all())]
        check_calls(end, self._bad_call)
        self._stage = ENDED
        interaction = {
            **self._common,
            "status": write_status(end, self._calls_tools),
            "usage": write_usage(self._usage, self._estimate, self._characters),
            **write_tier(self._usage),
        }
        return b"".join([*out, self._event("interaction.completed", {"interaction": interaction}), DONE])

    # Steps

    def _write(self, event: BlockEvent) -> bytes:
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text):
                start = b"" if self._is_open else self._start_step({"type": "model_output"})
                return start + self._write_text(text)
            case ReasoningDelta(text=text):
                return self._write_thought(text)
            case ReasoningState():
                return self._write_state(event)
            case ToolCallStart():
                self._calls_tools = True
                self._input = StreamedInput(event.kind)
                self._call = event if event.kind == "function" else None
                return self._start_step(
                    {"type": "function_call", "id": event.id, "name": event.name, "arguments": {}}
                )  # fmt: skip
            case ToolCallDelta(text=text):
                return self._write_arguments(text)
            case Citation():
                self._citations.append(event)
                return b""
            case NativeItem(api=api, kind=kind, item=item):
                steps = [] if kind == "thought" and not self._shows_thoughts else native_steps(api, item)
                return b"".join(self._start_step(step) + self._stop_step() for step in steps)
            case BlockEnd():
                return self._end_block()
            case _:
                assert_never(event)

    def _start_step(self, step: Any) -> bytes:
        self._index += 1
        self._is_open = True
        return self._event("step.start", {"index": self._index, "step": step})

    def _stop_step(self) -> bytes:
        self._is_open = False
        return self._event("step.stop", {"index": self._index})

    def _delta(self, **members: Any) -> bytes:
        return self._event("step.delta", {"index": self._index, "delta": members})

    def _write_text(self, text: str) -> bytes:
        self._characters += len(text)
        self._text.add(text)
        self._number += 1
        return _TEXT % (self._index, sse.dump(text), self._number)

    def _write_thought(self, text: str) -> bytes:
        self._characters += len(text)
        if self._shows_thoughts:
            start = b"" if self._is_open else self._start_step({"type": "thought"})
            return start + self._delta(type="thought_summary", content=text_content(text, []))
        self._thought_length += len(text)
        if self._thought_length <= MAX_SEALED:
            self._thoughts.append(text)
        return b""

    def _write_state(self, state: ReasoningState) -> bytes:
        """Return the event with the signature of the open thought; without an open one, start a thought for it."""
        hidden = "".join(self._thoughts) if self._thought_length <= MAX_SEALED else ""
        signature = write_signature(self._issuer, state, hidden)
        if not signature:
            return b""
        start = b"" if self._is_open else self._start_step({"type": "thought"})
        return start + self._delta(type="thought_signature", signature=signature)

    def _write_arguments(self, text: str) -> bytes:
        if self._call is not None:
            self._arguments.append(text)
        if self._input is not None:
            text = self._input.add(text)
            self._input = None if self._input.passes else self._input
        if not text:
            return b""
        self._characters += len(text)
        self._number += 1
        return _ARGUMENTS % (self._index, sse.dump(text), self._number)

    def _end_block(self) -> bytes:
        out = b""
        if self._call is not None and self._bad_call is None and not is_json_object("".join(self._arguments)):
            self._bad_call = self._call.name
        if self._input is not None and not self._input.is_empty:
            out = self._delta(type="arguments_delta", arguments=self._input.whole_json())
        if self._citations and (annotations := write_annotations(self._citations, self._text)):
            out += self._delta(type="text_annotation_delta", annotations=annotations)
        self._input, self._call, self._arguments = None, None, []
        self._citations, self._thoughts, self._thought_length = [], [], 0
        self._text.clear()
        return out + self._stop_step() if self._is_open else out


WRITER: Final = InteractionsWriter
