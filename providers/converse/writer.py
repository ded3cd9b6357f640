"""Answers for a Converse client: the stream (``ConverseWriter``) and the whole answer (``write_answer``).

Grammar of the stream: ``messageStart (block)* messageStop metadata``, each a frame, with ``block = contentBlockStart?
contentBlockDelta* contentBlockStop``, one block at a time, numbered from 0; texts and reasoning have no start. A
failure is the frame of an exception and the end. Source: ``ConverseStreamOutput`` and ``ConverseResponse`` of Amazon's
service model, and recorded streams.
"""

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

import msgspec

from providers.converse import PING
from providers.converse.errors import error_event
from providers.converse.wording import NOT_MEASURED, signature, tool_use_id, wordless, write_end, write_usage
from providers.neutral.arguments import StreamedInput, call_input
from providers.neutral.block_order import BlockEvent, BlockOrder
from providers.neutral.codec import ANSWERING, ENDED, WAITING, AnswerStage, Reply
from providers.neutral.seal import Issuer
from streams import event_stream
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
from streams.fold import Answer, Block, NativeBlock, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock


def write_answer(answer: Answer, reply: Reply) -> bytes:
    """See ``Codec.write_answer``."""
    usage = answer.usage or Usage(input=reply.input_estimate)
    message = {"role": "assistant", "content": _write_content(answer.blocks, reply.issuer)}
    return msgspec.json.encode(
        {
            "output": {"message": message},
            **write_end(answer.end, answer.calls_tools, reply.request),
            "usage": write_usage(usage),
            "metrics": NOT_MEASURED,
        }
    )


def _write_content(blocks: Sequence[Block], issuer: Issuer) -> list[dict[str, Any]]:
    return [item for block in blocks for item in _write_block(block, issuer)]


def _write_block(block: Block, issuer: Issuer) -> list[dict[str, Any]]:
    match block:
        case TextBlock(text=text, citations=citations):
            own = [citation.item for citation in citations if citation.api == "converse"]
            if own:
                return [{"citationsContent": {"content": [{"text": text}], "citations": own}}]
            return [{"text": text}] if text else []
        case RefusalBlock(text=text):
            return [{"text": text}] if text else []
        case ReasoningBlock(text="", state=state):
            return [] if state is None else [{"reasoningContent": wordless(issuer, state)}]
        case ReasoningBlock(text=text, state=state):
            signed = signature(issuer, state)
            told = {"text": text} if signed is None else {"text": text, "signature": signed}
            return [{"reasoningContent": {"reasoningText": told}}]
        case ToolCallBlock(id=id, name=name, input=text, kind=kind):
            call = {"toolUseId": tool_use_id(id), "name": name, "input": call_input(text, kind)}
            return [{"toolUse": call}]
        case NativeBlock(api=api, item=item):
            return [item] if api == "converse" and isinstance(item, dict) else []


def _frame(name: str, value: Mapping[str, Any]) -> bytes:
    return event_stream.event(name, msgspec.json.encode(value))


class ConverseWriter:
    """A ``Writer`` of the Converse API. Blocks go out strictly one after the other."""

    def __init__(self, reply: Reply) -> None:
        self._asked, self._issuer = reply.request, reply.issuer
        self._usage = Usage(input=reply.input_estimate)
        self._order = BlockOrder()
        self._index = 0
        self._said = False  # something of the block with that index
        self._reasoning: ReasoningState | None = None
        self._input: StreamedInput | None = None  # the arguments of the open call
        self._stage: AnswerStage = WAITING
        self._called = False

    def send(self, event: Event) -> bytes:
        if self._said and isinstance(event, TextDelta) and event.block == self._order.open:
            return self._delta({"text": event.text})
        if self._stage is ENDED:
            return b""
        match event:
            case AnswerStart():
                return b""
            case Usage():
                self._usage = event
                return b""
            case AnswerEnd():
                return self._end(event)
            case ErrorInfo():
                self._stage = ENDED
                return error_event(event)
            case _:
                written = b"".join(map(self._write, self._order.take(event)))
                return self._begin() + written if written else b""

    def ping(self) -> bytes:
        return b"" if self._stage is ENDED else PING

    def _begin(self) -> bytes:
        if self._stage is not WAITING:
            return b""
        self._stage = ANSWERING
        return _frame("messageStart", {"role": "assistant"})

    def _end(self, event: AnswerEnd) -> bytes:
        left = b"".join(map(self._write, self._order.close()))
        begun = self._begin()
        self._stage = ENDED
        stop = _frame("messageStop", write_end(event, self._called, self._asked))
        metadata = _frame("metadata", {"usage": write_usage(self._usage), "metrics": NOT_MEASURED})
        return b"".join((begun, left, stop, metadata))

    # Blocks

    def _write(self, event: BlockEvent) -> bytes:
        match event:
            case TextDelta(text=text) | RefusalDelta(text=text):
                return self._delta({"text": text})
            case ReasoningDelta(text=text):
                return self._delta({"reasoningContent": {"text": text}})
            case ReasoningState():
                return self._sealed(event)
            case ToolCallStart():
                return self._call(event)
            case ToolCallDelta(text=text):
                return self._arguments(text)
            case Citation(api=api, item=item):
                return self._delta({"citation": item}) if api == "converse" else b""
            case NativeItem(api=api, item=item):
                return self._native(item) if api == "converse" and isinstance(item, dict) else b""
            case BlockEnd():
                return self._block_end()
            case _:
                assert_never(event)

    def _delta(self, delta: Mapping[str, Any]) -> bytes:
        self._said = True
        return _frame("contentBlockDelta", {"contentBlockIndex": self._index, "delta": delta})

    def _start(self, start: Mapping[str, Any]) -> bytes:
        self._said = True
        return _frame("contentBlockStart", {"contentBlockIndex": self._index, "start": start})

    def _sealed(self, event: ReasoningState) -> bytes:
        if self._said:  # after its text; the signature is the last delta of the block
            self._reasoning = event
            return b""
        item = wordless(self._issuer, event)
        hidden = item.get("redactedContent")
        if isinstance(hidden, str):
            return self._delta({"reasoningContent": {"redactedContent": hidden}})
        self._reasoning = event
        return self._delta({"reasoningContent": {"text": ""}})  # SDKs want a text beside the signature

    def _call(self, event: ToolCallStart) -> bytes:
        self._called = True
        self._input = StreamedInput(event.kind)
        return self._start({"toolUse": {"toolUseId": tool_use_id(event.id), "name": event.name}})

    def _arguments(self, text: str) -> bytes:
        if self._input is not None:
            text = self._input.take(text)
            self._input = None if self._input.passes else self._input
        return self._delta({"toolUse": {"input": text}}) if text else b""

    def _native(self, item: Mapping[str, Any]) -> bytes:
        """Write a call of a tool that ran at Amazon, or its result."""
        begun = b""
        for kind, inner in item.items():
            if kind == "toolUse" and isinstance(inner, dict):
                begun = self._start({kind: {name: value for name, value in inner.items() if name != "input"}})
                begun += self._delta({kind: {"input": msgspec.json.encode(inner.get("input", {})).decode()}})
            elif kind == "toolResult" and isinstance(inner, dict):
                begun = self._start({kind: {name: value for name, value in inner.items() if name != "content"}})
                begun += self._delta({kind: inner.get("content", [])})
        return begun + self._stop()

    def _block_end(self) -> bytes:
        last = b""
        if self._reasoning is not None:
            if (signed := signature(self._issuer, self._reasoning)) is not None:
                last = self._delta({"reasoningContent": {"signature": signed}})
            self._reasoning = None
        elif self._input is not None:
            last = self._delta({"toolUse": {"input": self._input.rest()}})
        self._input = None
        return last + self._stop()

    def _stop(self) -> bytes:
        if not self._said:  # a citation of nothing, a state that says nothing
            return b""
        stopped = _frame("contentBlockStop", {"contentBlockIndex": self._index})
        self._index += 1
        self._said = False
        return stopped
