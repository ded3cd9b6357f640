"""Answers for Responses clients as a stream, event by event. Whole ones are in ``answer``.

The grammar: ``response.created``, ``response.in_progress``, then for every item ``response.output_item.added`` …
``response.output_item.done``, then one terminal event with the whole response. Every event is numbered from 0, items in
the order in which they open (OpenAI's API reference, streaming events).
"""

from typing import Any, Protocol, assert_never

from providers import custom
from providers.codec import Reply
from providers.responses.ids import own_id
from providers.responses.output import (
    NO_ARGUMENTS,
    Head,
    Object,
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
from streams import sse
from streams.events import (
    Begin,
    BlockEnd,
    Cited,
    End,
    Event,
    Failed,
    Native,
    Refusal,
    Sealed,
    Text,
    Thought,
    ToolBegin,
    ToolInput,
    Usage,
)


class _Out:
    """The events that are going out: numbers them, and keeps the finished items by their index."""

    def __init__(self) -> None:
        self._next = 0
        self._indices = 0
        self.done: dict[int, Any] = {}

    def number(self) -> int:
        self._next += 1
        return self._next - 1

    def event(self, name: str, members: Object) -> bytes:
        return sse.event(name, {"type": name, "sequence_number": self.number(), **members})

    def index(self) -> int:
        """The index of the next item."""
        self._indices += 1
        return self._indices - 1

    def is_last(self, index: int) -> bool:
        return index == self._indices - 1

    def added(self, index: int, item: Any) -> bytes:
        return self.event("response.output_item.added", {"output_index": index, "item": item})

    def finished(self, index: int, item: Any) -> bytes:
        self.done[index] = item
        return self.event("response.output_item.done", {"output_index": index, "item": item})

    def output(self) -> list[Any]:
        return [self.done[index] for index in sorted(self.done)]


class _Deltas:
    """The deltas of one text. Everything around the number and the text is encoded once: this is the hot path."""

    __slots__ = ("_head", "_out", "_tail", "pieces")

    def __init__(self, out: _Out, name: str, where: Object, tail: bytes = b"}") -> None:
        members = sse.dump({"type": name, **where})[:-1]
        self._head = b'event: %b\ndata: %b,"sequence_number":' % (name.encode("ascii"), members)
        self._tail = tail + b"\n\n"
        self._out = out
        self.pieces: list[str] = []

    def write(self, text: str, tail: bytes | None = None) -> bytes:
        """``tail``: the last members of this delta, where they are not the usual ones."""
        self.pieces.append(text)
        return b'%b%d,"delta":%b%b' % (self._head, self._out.number(), sse.dump(text), tail or self._tail)

    def text(self) -> str:
        return "".join(self.pieces)


class _Open(Protocol):
    """A block that is open."""

    def write(self, text: str) -> bytes: ...

    def close(self) -> bytes: ...


class _Message:
    """A message item: holds the text and refusal blocks that follow each other, each as one part."""

    def __init__(self, out: _Out) -> None:
        self.id = own_id("msg_")
        self.index = out.index()
        self.parts: list[Object] = []
        self.part_open = False
        self._out = out

    def open(self) -> bytes:
        return self._out.added(self.index, message_item(self.id, status="in_progress"))

    def close(self, status: str) -> bytes:
        return self._out.finished(self.index, message_item(self.id, self.parts, status))


class _Part:
    """A content part: a text with its citations, or a refusal."""

    def __init__(self, out: _Out, message: _Message, refusal: bool) -> None:
        self.message = message
        self._out = out
        self._where = {"item_id": message.id, "output_index": message.index, "content_index": len(message.parts)}
        self._refusal = refusal
        self._cited: list[Cited] = []
        self._logprobs: list[Object] = []
        name = "response.refusal.delta" if refusal else "response.output_text.delta"
        self._deltas = _Deltas(out, name, self._where, b"}" if refusal else b',"logprobs":[]}')

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

    def cite(self, cited: Cited) -> None:
        self._cited.append(cited)

    def close(self) -> bytes:
        text = self._deltas.text()
        data = b""
        if self._refusal:
            part = refusal_part(text)
            data += self._out.event("response.refusal.done", {**self._where, "refusal": text})
        else:
            part = text_part(text, annotations(self._cited, len(text)), self._logprobs)
            for i, note in enumerate(part["annotations"]):
                where = {**self._where, "annotation_index": i, "annotation": note}
                data += self._out.event("response.output_text.annotation.added", where)
            done = {**self._where, "text": text, "logprobs": self._logprobs}
            data += self._out.event("response.output_text.done", done)
        self.message.parts.append(part)
        self.message.part_open = False
        return data + self._out.event("response.content_part.done", {**self._where, "part": part})


class _Reasoning:
    """A reasoning item with at most one summary part."""

    def __init__(self, out: _Out, reply: Reply) -> None:
        self._out = out
        self._reply = reply
        self._index = out.index()
        self._id = own_id("rs_")
        self._where = {"item_id": self._id, "output_index": self._index, "summary_index": 0}
        self._deltas: _Deltas | None = None
        self._item: Object | None = None
        self._sealed: str | None = None

    def open(self, native: Object | None) -> bytes:
        self._item = native
        return self._out.added(self._index, reasoning_item(self._id) if native is None else native)

    def write(self, text: str) -> bytes:
        data = b""
        if self._deltas is None:
            part = {**self._where, "part": summary_part()}
            data = self._out.event("response.reasoning_summary_part.added", part)
            self._deltas = _Deltas(self._out, "response.reasoning_summary_text.delta", self._where)
        return data + self._deltas.write(text)

    def seal(self, sealed: Sealed) -> None:
        """What the provider wants back. An item of this API whose text has already gone out under an id of ours is
        sealed whole as well: under that id the provider would not know it."""
        self._sealed = sealed_text(self._reply, sealed)

    def close(self) -> bytes:
        if self._item is not None:
            return self._out.finished(self._index, self._item)
        data, text = b"", ""
        if self._deltas is not None:
            text = self._deltas.text()
            data += self._out.event("response.reasoning_summary_text.done", {**self._where, "text": text})
            part = {**self._where, "part": summary_part(text)}
            data += self._out.event("response.reasoning_summary_part.done", part)
        return data + self._out.finished(self._index, reasoning_item(self._id, text, self._sealed))


class _Call:
    """A tool call. ``wrapped``: the client's tool takes free text and the provider calls it with JSON around it, which
    comes off only when it is whole (BerriAI/litellm#31571)."""

    def __init__(self, out: _Out, begin: ToolBegin, tool: Declared, wrapped: bool) -> None:
        custom = tool.kind == "custom"
        self._out = out
        self._index = out.index()
        self._call_id = begin.id
        self._tool = tool
        self._wrapped = wrapped
        self._id = own_id("ctc_" if custom else "fc_")
        self._where = {"item_id": self._id, "output_index": self._index}
        self._name = "response.custom_tool_call_input" if custom else "response.function_call_arguments"
        self._deltas = _Deltas(out, f"{self._name}.delta", self._where)
        self._held: list[str] = []

    def open(self) -> bytes:
        return self._out.added(self._index, call_item(self._id, self._call_id, self._tool, status="in_progress"))

    def write(self, text: str) -> bytes:
        if self._wrapped:
            self._held.append(text)
            return b""
        return self._deltas.write(text)

    def close(self) -> bytes:
        data = b""
        if self._wrapped and (text := custom.unwrapped("".join(self._held))):
            data += self._deltas.write(text)
        if self._tool.kind == "function" and not self._deltas.pieces:
            data += self._deltas.write(NO_ARGUMENTS)
        text = self._deltas.text()
        if self._tool.kind == "custom":
            data += self._out.event(f"{self._name}.done", {**self._where, "input": text})
        else:
            data += self._out.event(f"{self._name}.done", {**self._where, "name": self._tool.name, "arguments": text})
        return data + self._out.finished(self._index, call_item(self._id, self._call_id, self._tool, text))


class ResponsesWriter:
    """A ``Writer`` (see ``providers/codec.py``) of one Responses stream. It keeps the answer's text, because the last
    event repeats it whole."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._head = Head.of(reply)
        self._tools = declared_tools(reply.call)
        self._out = _Out()
        self._open: dict[int, _Open] = {}
        self._message: _Message | None = None
        self._usage: Usage | None = None
        self._begun = False
        self._ended = False

    def ping(self) -> bytes:
        return sse.COMMENT_PING

    def send(self, event: Event) -> bytes:
        if self._ended:
            return b""
        return self._told(event) if self._begun else self._begin() + self._told(event)

    def _told(self, event: Event) -> bytes:
        match event:
            case Text() | Refusal():
                return self._speak(event)
            case ToolInput(block=block, text=text):
                return self._open[block].write(text) if block in self._open else b""
            case Thought(block=block, text=text):
                return self._think(block, text)
            case ToolBegin():
                return self._call(event)
            case Sealed():
                return self._seal(event)
            case Cited():
                return self._cite(event)
            case Native():
                return self._native(event)
            case BlockEnd(block=block):
                return self._close(block)
            case End():
                return self._end(event)
            case Failed():
                return self._fail(event)
            case Begin() | Usage():
                self._usage = event if isinstance(event, Usage) else self._usage
                return b""
            case _:
                assert_never(event)

    def _begin(self) -> bytes:
        self._begun = True
        response = {"response": self._head.response("in_progress")}
        return self._out.event("response.created", response) + self._out.event("response.in_progress", response)

    def _speak(self, event: Text | Refusal) -> bytes:
        block = event.block
        data = b"" if block in self._open else self._open_part(block, isinstance(event, Refusal))
        part = self._open[block]
        if isinstance(event, Text) and event.logprobs and isinstance(part, _Part):
            return data + part.write_scored(event.text, event.logprobs)
        return data + part.write(event.text)

    def _open_part(self, block: int, refusal: bool = False) -> bytes:
        data = b""
        if self._message is not None and not self._out.is_last(self._message.index):
            data += self._close_message()
        if self._message is None:
            self._message = _Message(self._out)
            data += self._message.open()
        part = self._open[block] = _Part(self._out, self._message, refusal)
        return data + part.open()

    def _cite(self, event: Cited) -> bytes:
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
        item = self._open[block] = _Reasoning(self._out, self._reply)
        return data + item.open(native)

    def _seal(self, event: Sealed) -> bytes:
        if event.block not in self._open:
            native = native_reasoning(event)
            data = self._open_reasoning(event.block, native)
            if native is not None:
                return data
        else:
            data = b""
        item = self._open[event.block]
        if isinstance(item, _Reasoning):
            item.seal(event)
        return data

    def _call(self, event: ToolBegin) -> bytes:
        tool, wrapped = called_tool(event, self._tools)
        data = self._leave_message()
        call = self._open[event.block] = _Call(self._out, event, tool, wrapped)
        return data + call.open()

    def _native(self, event: Native) -> bytes:
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
        if isinstance(item, _Part) and not self._out.is_last(item.message.index):
            data += self._close_message()
        return data

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

    def _end(self, event: End) -> bytes:
        self._ended = True
        data = b"".join(item.close() for item in self._open.values())
        status, _ = outcome(event)
        data += self._close_message(status)
        response = self._head.ended(event, self._out.output(), self._usage)
        return data + self._out.event(f"response.{status}", {"response": response})

    def _fail(self, event: Failed) -> bytes:
        self._ended = True
        response = self._head.failed(event, self._out.output(), self._usage)
        return self._out.event("response.failed", {"response": response})
