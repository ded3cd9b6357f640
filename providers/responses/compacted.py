"""Answers to requests for a compaction: exactly one item, which holds the summary."""

from collections.abc import Iterable
from typing import Any

from providers.neutral.codec import Reply
from providers.neutral.stages import ANSWERING, ENDED, WAITING, AnswerStage
from providers.responses.compaction import compaction_item
from providers.responses.ids import own_id
from providers.responses.numbering import EventSequence
from providers.responses.output import Object, ResponseTemplate, usage_object
from providers.responses.writer import Interruption
from streams import sse
from streams.errors import GatewayError
from streams.events import AnswerEnd, ErrorInfo, Event, NativeItem, TextDelta, Usage
from streams.fold import Answer, Block, NativeBlock, TextBlock

NOT_GIVEN = ErrorInfo("upstream", "the model gave no summary of the conversation: ask again, or go on without")


def compacted(id: str, created: int, item: Object, usage: Usage | None) -> Object:
    """The answer to ``POST /v1/responses/compact``."""
    return {
        "id": id,
        "object": "response.compaction",
        "created_at": created,
        "output": [item],
        "usage": usage_object(usage or Usage()),
    }


def compaction_of(answer: Answer) -> Object:
    """The compaction item of an answer to ``compaction_request``: the provider's own where it sent one. Raises a 502
    ``GatewayError`` if there is none, or only the beginning of one: half a summary looks like a whole one."""
    if (native := _native(answer.blocks)) is not None:
        return native
    text = "".join(block.text for block in answer.blocks if isinstance(block, TextBlock)).strip()
    if not text or answer.end.reason not in ("stop", "stop_sequence"):
        raise GatewayError.of(NOT_GIVEN)
    return compaction_item(text)


def compacted_answer(answer: Answer, reply: Reply) -> Object:
    """The response object of such an answer. Raises as ``compaction_of`` does."""
    return ResponseTemplate.of(reply).ended(AnswerEnd("stop"), [compaction_of(answer)], answer.usage)


def _native(blocks: Iterable[Block]) -> Object | None:
    found = [block.item for block in blocks if isinstance(block, NativeBlock) and _is_item(block)]
    return found[-1] if found else None


def _is_item(one: NativeItem | NativeBlock) -> bool:
    return one.api == "responses" and one.kind == "compaction"


class CompactionWriter:
    """The ``TurnWriter`` of a stream that is a compaction. What the model writes goes out as the item only when
    it is whole; until then an event says that something is being written."""

    def __init__(self, reply: Reply) -> None:
        self._head = ResponseTemplate.of(reply)
        self._out = EventSequence()
        self._id = own_id("cmp_")
        self._texts: list[str] = []
        self._native: Any = None
        self._usage: Usage | None = None
        self._stage: AnswerStage = WAITING
        self.response: Object | None = None
        self.left: Object | None = None

    def ping(self) -> bytes:
        return sse.COMMENT_PING

    def send(self, event: Event) -> bytes:
        if self._stage is ENDED:
            return b""
        data = self._begin() if self._stage is WAITING else b""
        match event:
            case TextDelta(text=text):
                return data + self._write(text)
            case NativeItem() if _is_item(event):
                self._native = event.item
            case Usage():
                self._usage = event
            case AnswerEnd():
                return data + self._end(event)
            case ErrorInfo():
                self.left = self.interrupted("failed", event)
                return data + self._fail(event)
        return data

    def _begin(self) -> bytes:
        self._stage = ANSWERING
        return self._out.begin(self._head.response("in_progress"))

    def interrupted(self, status: Interruption, error: ErrorInfo | None = None) -> Object:
        if self.response is not None:
            return self.response
        return self._head.interrupted(status, error, self._out.output(), self._usage)

    def _write(self, text: str) -> bytes:
        data = b"" if self._texts else self._open()
        self._texts.append(text)
        return data

    def _open(self) -> bytes:
        index = self._out.index()
        empty = {"id": self._id, "type": "compaction", "encrypted_content": ""}
        where = {"item_id": self._id, "output_index": index}
        return self._out.added(index, empty) + self._out.event("response.compaction.compacting", where)

    def _end(self, event: AnswerEnd) -> bytes:
        text = "".join(self._texts).strip()
        if self._native is not None and not self._texts:
            index = self._out.index()
            data = self._out.added(index, self._native) + self._out.finished(index, self._native)
        elif text and event.reason in ("stop", "stop_sequence"):
            data = self._out.finished(0, compaction_item(text, self._id))
        else:
            return self._fail(NOT_GIVEN)
        self._stage = ENDED
        self.response = self._head.ended(AnswerEnd("stop"), self._out.output(), self._usage)
        return data + self._out.end(self.response)

    def _fail(self, failed: ErrorInfo) -> bytes:
        self._stage = ENDED
        self.response = self._head.failed(failed, self._out.output(), self._usage)
        return self._out.end(self.response)
