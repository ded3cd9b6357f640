"""Answers for Responses clients as a stream, event by event. Whole ones are in ``answer``.

The grammar: ``response.created``, ``response.in_progress``, then for every item ``response.output_item.added`` …
``response.output_item.done``, then one terminal event with the whole response. Every event is numbered from 0, items in
the order in which they open (OpenAI's API reference, streaming events).
"""

from typing import Any, Literal, Protocol, TypeAlias, assert_never, runtime_checkable

from providers.neutral import custom_tools
from providers.neutral.codec import Reply, Writer
from providers.neutral.seal import Issuer
from providers.responses.ids import own_id
from providers.responses.numbering import Deltas, EventSequence, in_order
from providers.responses.output import (
    NO_ARGUMENTS,
    Object,
    ResponseTemplate,
    annotations,
    call_item,
    called_tool,
    message_item,
    native_reasoning,
    outcome,
    reasoning_item,
    refusal_part,
    sealed_text,
    summary_part,
    text_part,
    token_logprobs,
)
from providers.responses.tools import Declared, declared_tools
from providers.responses.values import load
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

Interruption: TypeAlias = Literal["cancelled", "failed", "incomplete"]


@runtime_checkable
class TurnWriter(Writer, Protocol):
    """A ``Writer`` whose answer can be kept."""

    @property
    def response(self) -> Object | None:
        """The response object as the terminal event has told it, ``None`` until then. It is ready for
        ``msgspec.json.encode`` (members that repeat the request are encoded already) and not to be changed."""
        ...

    @property
    def left(self) -> Object | None:
        """What there was of the answer when it failed, as ``interrupted`` tells it: the terminal event tells whole
        items alone. ``None`` for one that has not failed."""
        ...

    def interrupted(self, status: Interruption, error: ErrorInfo | None = None) -> Object:
        """The response object if the stream ends here. It holds the items that are finished, and those that are open
        as far as they came, with status ``incomplete``; a call whose input is not whole, which nobody could answer, is
        left out. ``error`` is for ``failed``. Changes nothing; once the answer has ended this is ``response``."""
        ...


class _Open(Protocol):
    """A block that is open."""

    def write(self, text: str) -> bytes: ...

    def close(self) -> bytes: ...

    def cut(self) -> tuple[int, Any] | None:
        """The index and the item, if it ends here; ``None`` if nothing is left of it."""
        ...


class _Message:
    """A message item: holds the text and refusal blocks of one phase that follow each other, each as one part."""

    def __init__(self, out: EventSequence, phase: str | None) -> None:
        self.id = own_id("msg_")
        self.phase = phase
        self.index = out.index()
        self.parts: list[Object] = []
        self.part_open = False
        self._out = out

    def open(self) -> bytes:
        return self._out.added(self.index, message_item(self.id, status="in_progress", phase=self.phase))

    def close(self, status: str) -> bytes:
        return self._out.finished(self.index, message_item(self.id, self.parts, status, self.phase))

    def cut(self, *parts: Object) -> tuple[int, Any]:
        """As ``_Open.cut``; ``parts`` come after those that are finished."""
        return self.index, message_item(self.id, [*self.parts, *parts], "incomplete", self.phase)


class _Part:
    """A content part: a text with its citations, or a refusal."""

    def __init__(self, out: EventSequence, message: _Message, refusal: bool) -> None:
        self.message = message
        self._out = out
        self._where = {"item_id": message.id, "output_index": message.index, "content_index": len(message.parts)}
        self._refusal = refusal
        self._cited: list[Citation] = []
        self._logprobs: list[Object] = []
        name = "response.refusal.delta" if refusal else "response.output_text.delta"
        self._deltas = Deltas(out, name, self._where, b"}" if refusal else b',"logprobs":[]}')

    def open(self) -> bytes:
        self.message.part_open = True
        part = refusal_part() if self._refusal else text_part()
        return self._out.event("response.content_part.added", {**self._where, "part": part})

    def write(self, text: str) -> bytes:
        return self._deltas.write(text)

    def write_scored(self, text: str, logprobs: Any) -> bytes:
        """A piece of text with its tokens' log probabilities."""
        tokens = token_logprobs(logprobs)
        self._logprobs += tokens
        return self._deltas.write(text, b',"logprobs":%b}\n\n' % sse.dump(tokens))

    def cite(self, cited: Citation) -> None:
        self._cited.append(cited)

    def close(self) -> bytes:
        part = self._part()
        data = b""
        if self._refusal:
            data += self._out.event("response.refusal.done", {**self._where, "refusal": part["refusal"]})
        else:
            for i, note in enumerate(part["annotations"]):
                where = {**self._where, "annotation_index": i, "annotation": note}
                data += self._out.event("response.output_text.annotation.added", where)
            done = {**self._where, "text": part["text"], "logprobs": self._logprobs}
            data += self._out.event("response.output_text.done", done)
        self.message.parts.append(part)
        self.message.part_open = False
        return data + self._out.event("response.content_part.done", {**self._where, "part": part})

    def cut(self) -> tuple[int, Any]:
        return self.message.cut(self._part())

    def _part(self) -> Object:
        text = self._deltas.text()
        return (
            refusal_part(text)
            if self._refusal
            else text_part(text, annotations(self._cited, len(text)), self._logprobs)
        )


class _Reasoning:
    """A reasoning item with at most one summary part."""

    def __init__(self, out: EventSequence, issuer: Issuer) -> None:
        self._out = out
        self._issuer = issuer
        self.index = out.index()
        self._id = own_id("rs_")
        self._where = {"item_id": self._id, "output_index": self.index, "summary_index": 0}
        self._deltas: Deltas | None = None
        self._item: Object | None = None
        self._sealed: str | None = None

    def open(self, native: Object | None) -> bytes:
        self._item = native
        return self._out.added(self.index, reasoning_item(self._id, status="in_progress") if native is None else native)

    def write(self, text: str) -> bytes:
        data = b""
        if self._deltas is None:
            part = {**self._where, "part": summary_part()}
            data = self._out.event("response.reasoning_summary_part.added", part)
            self._deltas = Deltas(self._out, "response.reasoning_summary_text.delta", self._where)
        return data + self._deltas.write(text)

    def seal(self, sealed: ReasoningState) -> None:
        """What the provider wants back. An item of this API whose text has already gone out under an id of ours is
        sealed whole as well: under that id the provider would not know it."""
        self._sealed = sealed_text(self._issuer, sealed)

    def close(self) -> bytes:
        if self._deltas is None:
            return b""
        text = self._deltas.text()
        data = self._out.event("response.reasoning_summary_text.done", {**self._where, "text": text})
        part = {**self._where, "part": summary_part(text)}
        return data + self._out.event("response.reasoning_summary_part.done", part)

    def item(self, status: str) -> Any:
        if self._item is not None:
            return self._item
        text = "" if self._deltas is None else self._deltas.text()
        return reasoning_item(self._id, text, self._sealed, status)

    def cut(self) -> tuple[int, Any]:
        return self.index, self.item("incomplete")


class _Call:
    """A tool call. ``wrapped``: the client's tool takes free text and the provider calls it with JSON around it, which
    comes off only when it is whole (BerriAI/litellm#31571)."""

    def __init__(self, out: EventSequence, begin: ToolCallStart, tool: Declared, wrapped: bool) -> None:
        custom = tool.kind == "custom"
        self._out = out
        self.index = out.index()
        self._call_id = begin.id
        self._tool = tool
        self._wrapped = wrapped
        self._id = own_id("ctc_" if custom else "fc_")
        self._where = {"item_id": self._id, "output_index": self.index}
        self._name = "response.custom_tool_call_input" if custom else "response.function_call_arguments"
        self._deltas = Deltas(out, f"{self._name}.delta", self._where)
        self._held: list[str] = []

    def open(self) -> bytes:
        return self._out.added(self.index, call_item(self._id, self._call_id, self._tool, status="in_progress"))

    def write(self, text: str) -> bytes:
        if self._wrapped:
            self._held.append(text)
            return b""
        return self._deltas.write(text)

    def close(self) -> bytes:
        data = b""
        if self._wrapped and (text := custom_tools.unwrapped("".join(self._held))):
            data += self._deltas.write(text)
        if self._tool.kind == "function" and not self._deltas.text().strip():
            data += self._deltas.write(NO_ARGUMENTS)
        text = self._deltas.text()
        if self._tool.kind == "custom":
            return data + self._out.event(f"{self._name}.done", {**self._where, "input": text})
        members = {**self._where, "name": self._tool.name, "arguments": text}
        return data + self._out.event(f"{self._name}.done", members)

    def item(self, status: str) -> Any:
        return call_item(self._id, self._call_id, self._tool, self._deltas.text(), status)

    def cut(self) -> tuple[int, Any] | None:
        """Only JSON shows that it is whole; free text never does."""
        text = "".join(self._held) if self._wrapped else self._deltas.text()
        if not isinstance(load(text.encode()), dict) or (self._tool.kind == "custom" and not self._wrapped):
            return None
        text = custom_tools.unwrapped(text) if self._wrapped else text
        return self.index, call_item(self._id, self._call_id, self._tool, text, "incomplete")


class ResponsesWriter:
    """The ``TurnWriter`` of one Responses stream. It keeps the answer's text: the last event repeats it whole."""

    def __init__(self, reply: Reply) -> None:
        self._issuer = reply.issuer
        self._kept = bool(reply.id)
        self._head = ResponseTemplate.of(reply)
        self._tools = declared_tools(reply.request)
        self._out = EventSequence()
        self._open: dict[int, _Open] = {}
        self._message: _Message | None = None
        self._last: _Call | _Reasoning | None = None  # closed, but for the word on whether it is whole
        self._usage: Usage | None = None
        self._begun = False
        self.response: Object | None = None
        self.left: Object | None = None

    def ping(self) -> bytes:
        return sse.COMMENT_PING

    def send(self, event: Event) -> bytes:
        if type(event) is TextDelta and event.block in self._open and not event.logprobs:  # by far the most frequent
            return self._open[event.block].write(event.text)
        if self.response is not None:
            return b""
        if self._begun and self._last is None:
            return self._told(event)
        data = b"" if self._begun else self._begin()
        if not isinstance(
            event, ToolCallDelta | BlockEnd | Usage | AnswerEnd
        ):  # of what is open beside it, or no content
            data += self._finish_last()
        return data + self._told(event)

    def _told(self, event: Event) -> bytes:
        match event:
            case TextDelta() | RefusalDelta():
                return self._speak(event)
            case ToolCallDelta(block=block, text=text):
                return self._open[block].write(text) if block in self._open else b""
            case ReasoningDelta(block=block, text=text):
                return self._think(block, text)
            case ToolCallStart():
                return self._call(event)
            case ReasoningState():
                return self._seal(event)
            case Citation():
                return self._cite(event)
            case NativeItem():
                return self._native(event)
            case BlockEnd(block=block):
                return self._close(block)
            case AnswerEnd():
                return self._end(event)
            case ErrorInfo():
                return self._fail(event)
            case AnswerStart() | Usage():
                self._usage = event if isinstance(event, Usage) else self._usage
                return b""
            case _:
                assert_never(event)

    def _begin(self) -> bytes:
        self._begun = True
        return self._out.begin(self._head.response("in_progress"))

    def _speak(self, event: TextDelta | RefusalDelta) -> bytes:
        block = event.block
        if block in self._open:
            data = b""
        elif isinstance(event, TextDelta):
            data = self._leave_phase(event.phase) + self._open_part(block, phase=event.phase)
        else:
            data = self._open_part(block, refusal=True)
        part = self._open[block]
        if isinstance(event, TextDelta) and event.logprobs and isinstance(part, _Part):
            return data + part.write_scored(event.text, event.logprobs)
        return data + part.write(event.text)

    def _leave_phase(self, phase: str | None) -> bytes:
        """Commentary and the final answer are messages of their own. A refusal, which has no phase, is part of any."""
        return b"" if self._message is None or self._message.phase == phase else self._close_message()

    def _open_part(self, block: int, refusal: bool = False, phase: str | None = None) -> bytes:
        data = b""
        if self._message is not None and not self._out.is_last(self._message.index):
            data += self._close_message()
        if self._message is None:
            self._message = _Message(self._out, phase)
            data += self._message.open()
        part = self._open[block] = _Part(self._out, self._message, refusal)
        return data + part.open()

    def _cite(self, event: Citation) -> bytes:
        data = b"" if event.block in self._open else self._open_part(event.block)
        part = self._open[event.block]
        if isinstance(part, _Part):
            part.cite(event)
        return data

    def _think(self, block: int, text: str) -> bytes:
        data = b"" if block in self._open else self._open_reasoning(block)
        return data + self._open[block].write(text)

    def _open_reasoning(self, block: int, native: Object | None = None) -> bytes:
        data = self._leave_message()
        item = self._open[block] = _Reasoning(self._out, self._issuer)
        return data + item.open(native)

    def _seal(self, event: ReasoningState) -> bytes:
        if event.block not in self._open:
            native = native_reasoning(event, kept=self._kept)
            data = self._open_reasoning(event.block, native)
            if native is not None:
                return data
        else:
            data = b""
        item = self._open[event.block]
        if isinstance(item, _Reasoning):
            item.seal(event)
        return data

    def _call(self, event: ToolCallStart) -> bytes:
        tool, wrapped = called_tool(event, self._tools)
        data = self._leave_message()
        call = self._open[event.block] = _Call(self._out, event, tool, wrapped)
        return data + call.open()

    def _native(self, event: NativeItem) -> bytes:
        if event.api != "responses":
            return b""
        data = self._leave_message()
        index = self._out.index()
        return data + self._out.added(index, event.item) + self._out.finished(index, event.item)

    def _close(self, block: int) -> bytes:
        item = self._open.pop(block, None)
        if item is None:
            return b""
        data = item.close()
        if isinstance(item, _Part):
            return data if self._out.is_last(item.message.index) else data + self._close_message()
        if isinstance(item, _Call | _Reasoning):
            if self._out.is_last(item.index):
                self._last = item
            else:
                data += self._out.finished(item.index, item.item("completed"))
        return data

    def _finish_last(self, status: str = "completed") -> bytes:
        """Whether the last item is whole shows only in what follows it: more, or the end of an answer that was cut."""
        if self._last is None:
            return b""
        last, self._last = self._last, None
        return self._out.finished(last.index, last.item(status))

    def _leave_message(self) -> bytes:
        """Close the message before another item opens, unless its text is still being said."""
        if self._message is None or self._message.part_open:
            return b""
        return self._close_message()

    def _close_message(self, status: str = "completed") -> bytes:
        if self._message is None:
            return b""
        message, self._message = self._message, None
        return message.close(status)

    def _end(self, event: AnswerEnd) -> bytes:
        data = b"".join(self._close(block) for block in list(self._open))
        status, _ = outcome(event)
        data += self._finish_last(status) + self._close_message(status)
        self.response = self._head.ended(event, self._out.output(), self._usage)
        return data + self._out.end(self.response)

    def _fail(self, event: ErrorInfo) -> bytes:
        self.left = self.interrupted("failed", event)
        self._open.clear()
        self.response = self._head.failed(event, self._out.output(), self._usage)
        return self._out.end(self.response)

    # Broken off

    def interrupted(self, status: Interruption, error: ErrorInfo | None = None) -> Object:
        if self.response is not None:
            return self.response
        items = dict(self._out.done)
        if self._message is not None:
            items.update([self._message.cut()])
        if self._last is not None:
            items[self._last.index] = self._last.item("completed")
        items.update(cut for item in self._open.values() if (cut := item.cut()) is not None)
        return self._head.interrupted(status, error, in_order(items), self._usage)
