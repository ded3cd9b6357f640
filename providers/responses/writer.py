"""Writer of streams for Responses clients; ``answer`` writes whole answers.

Grammar: ``response.created``, ``response.in_progress``, for every item ``response.output_item.added`` …
``response.output_item.done``, and one terminal event with the whole response. Events are numbered from 0, items in the
order in which they open (OpenAI's API reference, streaming events).
"""

from typing import Any, Literal, Protocol, TypeAlias, assert_never, runtime_checkable

from providers.neutral.codec import ANSWERING, ENDED, WAITING, AnswerStage, Reply, Writer
from providers.responses.output import (
    Object,
    ResponseTemplate,
    announced_image,
    final_status,
    find_called_tool,
    image_items,
    native_reasoning,
)
from providers.responses.tools import declared_tools
from providers.responses.writing import EventSequence, OpenCall, OpenMessage, OpenPart, OpenReasoning, in_order
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
    """A ``Writer`` whose answer can be stored."""

    @property
    def response(self) -> Object | None:
        """The response object of the terminal event, ``None`` before.

        It is ready for ``msgspec.json.encode`` (members that repeat the request are already encoded) and must not be
        changed.
        """

    @property
    def partial_response(self) -> Object | None:
        """The answer so far if it failed, as ``interrupted_response`` returns it, else ``None``.

        The terminal event only has whole items.
        """

    def interrupted_response(self, status: Interruption, error: ErrorInfo | None = None) -> Object:
        """Return the response object as if the stream ended here; ``error`` is for status ``failed``.

        It contains the finished items, and open ones so far with status ``incomplete``, except calls with incomplete
        input, which no client could answer. Changes nothing; after the end it returns ``response``.
        """


class OpenBlock(Protocol):
    """An open block."""

    def write(self, text: str) -> bytes: ...

    def close(self) -> bytes: ...

    def item_so_far(self) -> tuple[int, Any] | None:
        """Return the index and the item as if it ended here, or ``None`` if the item must be omitted."""


class ResponsesWriter:
    """A ``TurnWriter`` of one Responses stream. It keeps the answer's text, because the last event repeats it."""

    def __init__(self, reply: Reply) -> None:
        self._issuer = reply.issuer
        self._is_stored = bool(reply.id)
        self._head = ResponseTemplate.of(reply)
        self._tools = declared_tools(reply.request)
        self._out = EventSequence()
        self._open: dict[int, OpenBlock] = {}
        self._message: OpenMessage | None = None
        self._last: OpenCall | OpenReasoning | None = None  # closed, but its final status is not known yet
        self._usage: Usage | None = None
        self._searches: dict[Any, int] = {}  # indices by id, of those that have not ended
        self._stage: AnswerStage = WAITING
        self.response: Object | None = None
        self.partial_response: Object | None = None

    def send(self, event: Event) -> bytes:
        # By far the most frequent event:
        if type(event) is TextDelta and event.block in self._open and not event.logprobs:
            return self._open[event.block].write(event.text)
        if self._stage is ENDED:
            return b""
        if self._stage is ANSWERING and self._last is None:
            return self._write(event)
        data = self._start_response() if self._stage is WAITING else b""
        # These concern other open items, or none.
        if not isinstance(event, ToolCallDelta | BlockEnd | Usage | AnswerEnd):
            data += self._finish_last()
        return data + self._write(event)

    def _write(self, event: Event) -> bytes:
        match event:
            case TextDelta() | RefusalDelta():
                return self._write_text(event)
            case ToolCallDelta(block=block, text=text):
                return self._open[block].write(text) if block in self._open else b""
            case ReasoningDelta(block=block, text=text):
                data = b"" if block in self._open else self._open_reasoning(block)
                return data + self._open[block].write(text)
            case ToolCallStart(block=block):
                tool, wrapped = find_called_tool(event, self._tools)
                data = self._close_unopened_message()
                call = self._open[block] = OpenCall(self._out, event, tool, wrapped)
                return data + call.open()
            case ReasoningState():
                return self._write_state(event)
            case Citation():
                return self._write_citation(event)
            case NativeItem():
                return self._write_native(event)
            case BlockEnd(block=block):
                return self._close_block(block)
            case AnswerEnd():
                return self._write_end(event)
            case ErrorInfo():
                return self._write_failure(event)
            case AnswerStart() | Usage():
                self._usage = event if isinstance(event, Usage) else self._usage
                return b""
            case _:
                assert_never(event)

    def _start_response(self) -> bytes:
        self._stage = ANSWERING
        return self._out.start_events(self._head.response("in_progress"))

    def _write_text(self, event: TextDelta | RefusalDelta) -> bytes:
        block = event.block
        if block in self._open:
            data = b""
        elif isinstance(event, TextDelta):
            data = self._close_other_phase(event.phase) + self._open_part(block, phase=event.phase)
        else:
            data = self._open_part(block, refusal=True)
        part = self._open[block]
        if isinstance(event, TextDelta) and event.logprobs and isinstance(part, OpenPart):
            return data + part.write_with_logprobs(event.text, event.logprobs)
        return data + part.write(event.text)

    def _close_other_phase(self, phase: str | None) -> bytes:
        """Close the message if the phase changes: commentary and the final answer are separate messages.

        A refusal has no phase and belongs to any message.
        """
        return b"" if self._message is None or self._message.phase == phase else self._close_message()

    def _open_part(self, block: int, refusal: bool = False, phase: str | None = None) -> bytes:
        data = b""
        if self._message is not None and not self._out.is_last(self._message.index):
            data += self._close_message()
        if self._message is None:
            self._message = OpenMessage(self._out, phase)
            data += self._message.open()
        part = self._open[block] = OpenPart(self._out, self._message, refusal)
        return data + part.open()

    def _write_citation(self, event: Citation) -> bytes:
        data = b"" if event.block in self._open else self._open_part(event.block)
        part = self._open[event.block]
        if isinstance(part, OpenPart):
            part.cite(event)
        return data

    def _open_reasoning(self, block: int, native: Object | None = None) -> bytes:
        data = self._close_unopened_message()
        item = self._open[block] = OpenReasoning(self._out, self._issuer)
        return data + item.open(native)

    def _write_state(self, event: ReasoningState) -> bytes:
        if event.block not in self._open:
            native = native_reasoning(event, kept=self._is_stored)
            data = self._open_reasoning(event.block, native)
            if native is not None:
                return data
        else:
            data = b""
        item = self._open[event.block]
        if isinstance(item, OpenReasoning):
            item.seal(event)
        return data

    def _write_native(self, event: NativeItem) -> bytes:
        if event.kind == "web_search_call" and event.api == "responses":
            return self._write_search(event.item)
        if event.api == "responses":
            return self._write_item(event.item, event.item)
        return b"".join(self._write_item(announced_image(item), item) for item in image_items(event.api, event.item))

    def _write_search(self, item: Object) -> bytes:
        """Announce a search that has begun, or write one that has ended: its announcement may have preceded."""
        index, data = self._searches.pop(item.get("id"), None), b""
        if index is None:
            index, data = self._out.new_index(), self._close_unopened_message()
            announced = {**item, "status": "in_progress", "action": {"type": "search"}}  # Codex shows a query twice
            data += self._out.item_added(index, announced)
            for stage in ("in_progress", "searching"):
                data += self._out.search_event(stage, index, item)
        if item.get("status") == "in_progress":
            self._searches[item.get("id")] = index
            return data
        return data + self._out.search_event("completed", index, item) + self._out.item_done(index, item)

    def _write_item(self, announced: Object, item: Object) -> bytes:
        """Write a whole item: its announcement, then the item itself."""
        data = self._close_unopened_message()
        index = self._out.new_index()
        return data + self._out.item_added(index, announced) + self._out.item_done(index, item)

    def _close_block(self, block: int) -> bytes:
        item = self._open.pop(block, None)
        if item is None:
            return b""
        data = item.close()
        if isinstance(item, OpenPart):
            return data if self._out.is_last(item.message.index) else data + self._close_message()
        if isinstance(item, OpenCall | OpenReasoning):
            if self._out.is_last(item.index):
                self._last = item
            else:
                data += self._out.item_done(item.index, item.item("completed"))
        return data

    def _finish_last(self, status: str = "completed") -> bytes:
        """Finish the last item; whether it is whole is known only from the next event."""
        if self._last is None:
            return b""
        last, self._last = self._last, None
        return self._out.item_done(last.index, last.item(status))

    def _close_unopened_message(self) -> bytes:
        """Close the message before another item opens, unless its text is still open."""
        return b"" if self._message is not None and self._message.open_parts else self._close_message()

    def _close_message(self, status: str = "completed") -> bytes:
        if self._message is None:
            return b""
        message, self._message = self._message, None
        return message.close(status)

    def _write_end(self, event: AnswerEnd) -> bytes:
        data = b"".join(self._close_block(block) for block in list(self._open))
        status, _ = final_status(event)
        data += self._finish_last(status) + self._close_message(status)
        self._stage = ENDED
        self.response = self._head.finished_response(event, self._out.output(), self._usage)
        return data + self._out.end_event(self.response)

    def _write_failure(self, event: ErrorInfo) -> bytes:
        self.partial_response = self.interrupted_response("failed", event)
        self._open.clear()
        self._stage = ENDED
        self.response = self._head.failed_response(event, self._out.output(), self._usage)
        return self._out.end_event(self.response)

    # Interruption

    def interrupted_response(self, status: Interruption, error: ErrorInfo | None = None) -> Object:
        if self.response is not None:
            return self.response
        items = dict(self._out.finished_items)
        if self._message is not None:
            items.update([self._message.item_so_far()])
        if self._last is not None:
            items[self._last.index] = self._last.item("completed")
        items.update(cut for item in self._open.values() if (cut := item.item_so_far()) is not None)
        return self._head.interrupted_response(status, error, in_order(items), self._usage)
