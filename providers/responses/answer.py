"""Writers of whole answers and of compactions, which are one item with a summary, for Responses clients."""

from collections.abc import Mapping
from typing import Any

import msgspec

from providers.neutral import tool_names
from providers.neutral.codec import ANSWERING, ENDED, WAITING, AnswerStage, Reply
from providers.responses.compaction import compaction_item, is_compaction
from providers.responses.output import (
    NO_ARGUMENTS,
    Object,
    ResponseTemplate,
    annotations,
    call_item,
    final_status,
    find_called_tool,
    image_items,
    message_item,
    native_reasoning,
    reasoning_item,
    refusal_part,
    sealed_text,
    text_part,
    token_logprobs,
    usage_object,
)
from providers.responses.tools import DeclaredTool, declared_tools, own_id
from providers.responses.writer import Interruption, ResponsesWriter, TurnWriter
from providers.responses.writing import EventSequence
from streams.errors import GatewayError
from streams.events import AnswerEnd, ErrorInfo, Event, NativeItem, TextDelta, Usage
from streams.fold import Answer, Block, NativeBlock, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock

NO_SUMMARY = ErrorInfo(
    "upstream", "the model returned no summary of the conversation: try again, or continue without one"
)


def compaction_response(id: str, created: int, item: Object, usage: Usage | None) -> Object:
    """Return the response to ``POST /v1/responses/compact``."""
    return {
        "id": id,
        "object": "response.compaction",
        "created_at": created,
        "output": [item],
        "usage": usage_object(usage or Usage()),
    }


def find_compaction(answer: Answer) -> Object:
    """Return the compaction item of an answer to ``compaction_request``, preferably the provider's own.

    Raises a 502 ``GatewayError`` without a complete summary, because half a summary looks like a whole one.
    """
    if own := [block.item for block in answer.blocks if isinstance(block, NativeBlock) and _is_item(block)]:
        return own[-1]  # type: ignore[no-any-return]
    text = "".join(block.text for block in answer.blocks if isinstance(block, TextBlock)).strip()
    if not text or answer.end.reason not in ("stop", "stop_sequence"):
        raise GatewayError.of(NO_SUMMARY)
    return compaction_item(text)


def _is_item(one: NativeItem | NativeBlock) -> bool:
    return one.api == "responses" and one.kind == "compaction"


class CompactionWriter:
    """A ``TurnWriter`` of a stream with a compaction.

    The item is sent only when complete; until then, an event reports that the model is writing.
    """

    def __init__(self, reply: Reply) -> None:
        self._head = ResponseTemplate.of(reply)
        self._out = EventSequence()
        self._id = own_id("cmp_")
        self._texts: list[str] = []
        self._native: Any = None
        self._usage: Usage | None = None
        self._stage: AnswerStage = WAITING
        self.response: Object | None = None
        self.partial_response: Object | None = None

    def send(self, event: Event) -> bytes:
        if self._stage is ENDED:
            return b""
        data = b""
        if self._stage is WAITING:
            self._stage = ANSWERING
            data = self._out.start_events(self._head.response("in_progress"))
        match event:
            case TextDelta(text=text):
                data += b"" if self._texts else self._open_item()
                self._texts.append(text)
            case NativeItem() if _is_item(event):
                self._native = event.item
            case Usage():
                self._usage = event
            case AnswerEnd():
                return data + self._write_end(event)
            case ErrorInfo():
                self.partial_response = self.interrupted_response("failed", event)
                return data + self._write_failure(event)
        return data

    def interrupted_response(self, status: Interruption, error: ErrorInfo | None = None) -> Object:
        if self.response is not None:
            return self.response
        return self._head.interrupted_response(status, error, self._out.output(), self._usage)

    def _open_item(self) -> bytes:
        index = self._out.new_index()
        empty = {"id": self._id, "type": "compaction", "encrypted_content": ""}
        where = {"item_id": self._id, "output_index": index}
        return self._out.item_added(index, empty) + self._out.event("response.compaction.compacting", where)

    def _write_end(self, event: AnswerEnd) -> bytes:
        text = "".join(self._texts).strip()
        if self._native is not None and not self._texts:
            index = self._out.new_index()
            data = self._out.item_added(index, self._native) + self._out.item_done(index, self._native)
        elif text and event.reason in ("stop", "stop_sequence"):
            data = self._out.item_done(0, compaction_item(text, self._id))
        else:
            return self._write_failure(NO_SUMMARY)
        self._stage = ENDED
        self.response = self._head.finished_response(AnswerEnd("stop"), self._out.output(), self._usage)
        return data + self._out.end_event(self.response)

    def _write_failure(self, error: ErrorInfo) -> bytes:
        self._stage = ENDED
        self.response = self._head.failed_response(error, self._out.output(), self._usage)
        return self._out.end_event(self.response)


def write_answer(answer: Answer, reply: Reply) -> bytes:
    """Return the answer as JSON. See ``Codec.write_answer``."""
    return msgspec.json.encode(whole_answer(answer, reply))


def whole_answer(answer: Answer, reply: Reply) -> Object:
    """Return the response object of a whole answer, ready for ``msgspec.json.encode``.

    Raises a 502 ``GatewayError`` if a requested summary is missing.
    """
    if is_compaction(reply.request.source):
        item = find_compaction(answer)
        return ResponseTemplate.of(reply).finished_response(AnswerEnd("stop"), [item], answer.usage)
    head = ResponseTemplate.of(reply)
    tools = declared_tools(reply.request)
    status, _ = final_status(answer.end)
    output: list[Any] = []
    parts: list[Object] = []  # the parts of the message at the end of `output`
    shown = answer.blocks if answer.ends_with_native else tuple(filter(_is_shown, answer.blocks))
    for block in answer.blocks:
        match block:
            case TextBlock() | RefusalBlock():
                phase = block.phase if isinstance(block, TextBlock) else None
                if not parts or (isinstance(block, TextBlock) and phase != output[-1].get("phase")):
                    output.append(message_item(own_id("msg_"), phase=phase))
                    parts = output[-1]["content"]
                parts.append(_part_object(block))
            case _:
                last = status if shown and block is shown[-1] else "completed"
                if items := _item_objects(block, reply, tools, last):
                    output += items
                    parts = []
    if parts:
        output[-1]["status"] = status
    return head.finished_response(answer.end, output, answer.usage)


def _is_shown(block: Block) -> bool:
    """Return whether the client gets ``block``, which it does not if only another API has such an item."""
    return not isinstance(block, NativeBlock) or block.api == "responses" or bool(image_items(block.api, block.item))


def _part_object(block: TextBlock | RefusalBlock) -> Object:
    if isinstance(block, RefusalBlock):
        return refusal_part(block.text)
    return text_part(block.text, annotations(block.citations, len(block.text)), token_logprobs(block.logprobs))


def _item_objects(block: Block, reply: Reply, tools: Mapping[str, DeclaredTool], status: str) -> list[Any]:
    match block:
        case ReasoningBlock(text=text, state=state):
            native = native_reasoning(state, kept=bool(reply.id))
            if native is not None:
                return [native]
            own = None if state is None else sealed_text(reply.issuer, state)
            return [reasoning_item(own_id("rs_"), text, own, status)]
        case ToolCallBlock():
            tool, wrapped = find_called_tool(block, tools)
            text = tool_names.unwrap_text(block.input) if wrapped else block.input
            if tool.kind == "function" and not text.strip():
                text = NO_ARGUMENTS
            return [call_item(own_id(tool.id_prefix), block.id, tool, text, status)]
        case NativeBlock(api=api, item=item):
            return [item] if api == "responses" else image_items(api, item)
        case _:
            return []


def open_writer(reply: Reply) -> TurnWriter:
    """Return the writer of a stream, which is a compaction's if the request is one."""
    return CompactionWriter(reply) if is_compaction(reply.request.source) else ResponsesWriter(reply)
