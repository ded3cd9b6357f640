"""Open items of a Responses stream (messages with their parts, reasoning, tool calls), and the numbering of its events.

Each class writes all events of its item, and returns the item so far if the answer ends early.
"""

from collections.abc import Mapping
from typing import Any

from providers.neutral import tool_names
from providers.neutral.seal import Issuer
from providers.neutral.values import load
from providers.responses.output import (
    NO_ARGUMENTS,
    Object,
    annotations,
    call_item,
    end_events,
    message_item,
    reasoning_item,
    refusal_part,
    sealed_text,
    summary_part,
    text_part,
    token_logprobs,
)
from providers.responses.tools import DeclaredTool, own_id
from streams import sse
from streams.events import Citation, ReasoningState, ToolCallStart


class EventSequence:
    """A writer of numbered events, which stores finished items by index."""

    def __init__(self) -> None:
        self._next = 0
        self._indices = 0
        self.finished_items: dict[int, Any] = {}

    def new_number(self) -> int:
        self._next += 1
        return self._next - 1

    def event(self, name: str, members: Object) -> bytes:
        return sse.event(name, {"type": name, "sequence_number": self.new_number(), **members})

    def new_index(self) -> int:
        self._indices += 1
        return self._indices - 1

    def is_last(self, index: int) -> bool:
        return index == self._indices - 1

    def item_added(self, index: int, item: Any) -> bytes:
        return self.event("response.output_item.added", {"output_index": index, "item": item})

    def item_done(self, index: int, item: Any) -> bytes:
        self.finished_items[index] = item
        return self.event("response.output_item.done", {"output_index": index, "item": item})

    def search_event(self, stage: str, index: int, item: Any) -> bytes:
        """Return the event of a web search that is ``in_progress``, ``searching`` or ``completed``."""
        members = {"output_index": index, "item_id": item.get("id")}
        return self.event(f"response.web_search_call.{stage}", members)

    def output(self) -> list[Any]:
        return in_order(self.finished_items)

    def start_events(self, response: Object) -> bytes:
        """Return the first events, which precede all items."""
        members = {"response": response}
        return self.event("response.created", members) + self.event("response.in_progress", members)

    def end_event(self, response: Object) -> bytes:
        """Return the terminal event for the response's status, after the ``error`` of a failure."""
        return end_events(self.new_number(), response)


def in_order(items: Mapping[int, Any]) -> list[Any]:
    """Return the items in the order of their indices, which may have gaps."""
    return [items[index] for index in sorted(items)]


class Deltas:
    """A writer of the deltas of one text. Everything but number and text is encoded once, because this is
    the hot path."""

    __slots__ = ("_head", "_out", "_tail", "pieces")

    def __init__(self, out: EventSequence, name: str, where: Object, tail: bytes = b"}") -> None:
        members = sse.dump({"type": name, **where})[:-1]
        self._head = b'event: %b\ndata: %b,"sequence_number":' % (name.encode("ascii"), members)
        self._tail = tail + b"\n\n"
        self._out = out
        self.pieces: list[str] = []

    def write(self, text: str, tail: bytes | None = None) -> bytes:
        """Return the delta for ``text``; ``tail`` replaces its usual last members."""
        self.pieces.append(text)
        return b'%b%d,"delta":%b%b' % (self._head, self._out.new_number(), sse.dump(text), tail or self._tail)

    def text(self) -> str:
        return "".join(self.pieces)


class OpenCall:
    """An open tool call.

    ``wrapped`` means that the client's tool takes free text but the provider wraps it in JSON, which can only be
    unwrapped when complete (BerriAI/litellm#31571).
    """

    def __init__(self, out: EventSequence, begin: ToolCallStart, tool: DeclaredTool, wrapped: bool) -> None:
        custom = tool.kind == "custom"
        self._out = out
        self.index = out.new_index()
        self._call_id = begin.id
        self._tool = tool
        self._wrapped = wrapped
        self._id = own_id(tool.id_prefix)
        self._where = {"item_id": self._id, "output_index": self.index}
        self._name = "response.custom_tool_call_input" if custom else "response.function_call_arguments"
        self._deltas = Deltas(out, f"{self._name}.delta", self._where)
        self._held: list[str] = []

    def open(self) -> bytes:
        return self._out.item_added(self.index, call_item(self._id, self._call_id, self._tool, status="in_progress"))

    def write(self, text: str) -> bytes:
        if self._wrapped or self._tool.is_search:  # the arguments of a search are an object, without deltas
            self._held.append(text)
            return b""
        return self._deltas.write(text)

    def close(self) -> bytes:
        data = b""
        if self._tool.is_search:
            return data
        if self._wrapped and (text := tool_names.unwrap_text("".join(self._held))):
            data += self._deltas.write(text)
        if self._tool.kind == "function" and not self._deltas.text().strip():
            data += self._deltas.write(NO_ARGUMENTS)
        text = self._deltas.text()
        if self._tool.kind == "custom":
            return data + self._out.event(f"{self._name}.done", {**self._where, "input": text})
        members = {**self._where, "name": self._tool.name, "arguments": text}
        return data + self._out.event(f"{self._name}.done", members)

    def item(self, status: str) -> Any:
        text = "".join(self._held) if self._tool.is_search else self._deltas.text()
        return call_item(self._id, self._call_id, self._tool, text, status)

    def item_so_far(self) -> tuple[int, Any] | None:
        """Return the call only if its input is complete JSON; the end of free text is unknown."""
        text = "".join(self._held) if self._wrapped or self._tool.is_search else self._deltas.text()
        if not isinstance(load(text.encode()), dict) or (self._tool.kind == "custom" and not self._wrapped):
            return None
        text = tool_names.unwrap_text(text) if self._wrapped else text
        return self.index, call_item(self._id, self._call_id, self._tool, text, "incomplete")


class OpenMessage:
    """An open message with the consecutive text and refusal blocks of one phase, each as one part."""

    def __init__(self, out: EventSequence, phase: str | None) -> None:
        self.id = own_id("msg_")
        self.phase = phase
        self.index = out.new_index()
        self.parts: list[Object] = []
        self.open_parts = 0  # the number of open parts
        self._out = out

    def open(self) -> bytes:
        return self._out.item_added(self.index, message_item(self.id, status="in_progress", phase=self.phase))

    def close(self, status: str) -> bytes:
        return self._out.item_done(self.index, message_item(self.id, self.parts, status, self.phase))

    def item_so_far(self, *parts: Object) -> tuple[int, Any]:
        """Return the message so far as ``OpenBlock.item_so_far`` does; ``parts`` follow the finished ones."""
        return self.index, message_item(self.id, [*self.parts, *parts], "incomplete", self.phase)


class OpenPart:
    """An open content part: a text with its citations, or a refusal."""

    def __init__(self, out: EventSequence, message: OpenMessage, refusal: bool) -> None:
        self.message = message
        message.open_parts += 1
        self._out = out
        self._where = {"item_id": message.id, "output_index": message.index, "content_index": len(message.parts)}
        self._refusal = refusal
        self._citations: list[Citation] = []
        self._logprobs: list[Object] = []
        name = "response.refusal.delta" if refusal else "response.output_text.delta"
        self._deltas = Deltas(out, name, self._where, b"}" if refusal else b',"logprobs":[]}')

    def open(self) -> bytes:
        part = refusal_part() if self._refusal else text_part()
        return self._out.event("response.content_part.added", {**self._where, "part": part})

    def write(self, text: str) -> bytes:
        return self._deltas.write(text)

    def write_with_logprobs(self, text: str, logprobs: Any) -> bytes:
        """Return the event for a piece of text with log probabilities."""
        tokens = token_logprobs(logprobs)
        self._logprobs += tokens
        return self._deltas.write(text, b',"logprobs":%b}\n\n' % sse.dump(tokens))

    def cite(self, citation: Citation) -> None:
        self._citations.append(citation)

    def close(self) -> bytes:
        part = self._part_object()
        data: list[bytes] = []
        if self._refusal:
            data.append(self._out.event("response.refusal.done", {**self._where, "refusal": part["refusal"]}))
        else:
            for i, note in enumerate(part["annotations"]):
                where = {**self._where, "annotation_index": i, "annotation": note}
                data.append(self._out.event("response.output_text.annotation.added", where))
            done = {**self._where, "text": part["text"], "logprobs": self._logprobs}
            data.append(self._out.event("response.output_text.done", done))
        self.message.parts.append(part)
        self.message.open_parts -= 1
        return b"".join([*data, self._out.event("response.content_part.done", {**self._where, "part": part})])

    def item_so_far(self) -> tuple[int, Any]:
        return self.message.item_so_far(self._part_object())

    def _part_object(self) -> Object:
        text = self._deltas.text()
        return (
            refusal_part(text)
            if self._refusal
            else text_part(text, annotations(self._citations, len(text)), self._logprobs)
        )


class OpenReasoning:
    """An open reasoning item with at most one summary part."""

    def __init__(self, out: EventSequence, issuer: Issuer) -> None:
        self._out = out
        self._issuer = issuer
        self.index = out.new_index()
        self._id = own_id("rs_")
        self._where = {"item_id": self._id, "output_index": self.index, "summary_index": 0}
        self._deltas: Deltas | None = None
        self._item: Object | None = None
        self._sealed: str | None = None

    def open(self, native: Object | None) -> bytes:
        self._item = native
        return self._out.item_added(
            self.index, reasoning_item(self._id, status="in_progress") if native is None else native
        )

    def write(self, text: str) -> bytes:
        data = b""
        if self._deltas is None:
            part = {**self._where, "part": summary_part()}
            data = self._out.event("response.reasoning_summary_part.added", part)
            self._deltas = Deltas(self._out, "response.reasoning_summary_text.delta", self._where)
        return data + self._deltas.write(text)

    def seal(self, sealed: ReasoningState) -> None:
        """Seal the state that the provider requires back.

        This includes items of this API whose text was already sent under the gateway's id, because the provider does
        not know that id.
        """
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

    def item_so_far(self) -> tuple[int, Any]:
        return self.index, self.item("incomplete")
