"""Writers of answers for a Converse client: streams (``ConverseWriter``) and whole answers (``write_answer``).

Grammar of a stream: ``messageStart (block)* messageStop metadata``, each a frame, with ``block = contentBlockStart?
contentBlockDelta* contentBlockStop``, one block at a time, numbered from 0; texts and reasoning have no start. A
failure is an exception frame, which ends the stream. Source: ``ConverseStreamOutput`` and ``ConverseResponse`` of
Amazon's service model, and recorded streams.

A citation belongs to a whole block, because the API has no positions in the generated text. Source: ``Citation`` and
``WebLocation`` of Amazon's service model.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from providers.converse.errors import error_event
from providers.converse.media import image_deltas, made_image_blocks
from providers.converse.wording import signature, textless_content, tool_use_id, write_end, write_metadata
from providers.neutral.arguments import call_input
from providers.neutral.block_writer import BlockWriter
from providers.neutral.codec import Reply, complete_usage
from providers.neutral.seal import Issuer
from providers.neutral.texts import link_of
from providers.neutral.values import as_string
from streams import event_stream
from streams.events import AnswerEnd, Citation, ErrorInfo, Event, NativeItem, ReasoningState, TextDelta, ToolCallStart
from streams.fold import Answer, Block, NativeBlock, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock

# The user ends at the last `@`, as in browsers. Otherwise `https://a.org@@b.org` would appear as a page of a.org.
_HOST: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:[^/?#\\]*@)?(\[[^\]/?#@\\]+\]|[^/?#:@\\\[\]]+)(?::[^/?#@\\]*)?(?=[/?#\\]|$)", re.IGNORECASE
)


def write_citation(citation: Citation) -> dict[str, Any] | None:
    """Return a citation in the API's form, or ``None`` for one without a URL, such as a passage of a document."""
    if citation.api == "converse":
        item = citation.item
        return {name: value for name, value in item.items() if name != "url"} if isinstance(item, dict) else None
    link = link_of(citation)
    if not (url := as_string(link.get("url"))):
        return None
    title, cited, host = as_string(link.get("title")), as_string(link.get("cited_text")), _HOST.match(url)
    page = {"url": url} if host is None else {"url": url, "domain": host[1]}
    return {
        **({"title": title} if title else {}),
        "location": {"web": page},
        **({"sourceContent": [{"text": cited}]} if cited else {}),
    }


def write_answer(answer: Answer, reply: Reply) -> bytes:
    """Return the answer as JSON. See ``Codec.write_answer``."""
    usage = complete_usage(answer.usage, reply.input_estimate, answer.characters)
    content = [item for block in answer.blocks for item in _write_block(block, reply.issuer)]
    return msgspec.json.encode(
        {
            "output": {"message": {"role": "assistant", "content": content}},
            **write_end(answer.end, answer.calls_tools, reply.request),
            **write_metadata(usage),
        }
    )


def _write_block(block: Block, issuer: Issuer) -> list[dict[str, Any]]:
    match block:
        case TextBlock(text=text, citations=citations):
            cited = [one for citation in citations if (one := write_citation(citation)) is not None]
            if cited:
                return [{"citationsContent": {"content": [{"text": text}], "citations": cited}}]
            return [{"text": text}] if text else []
        case RefusalBlock(text=text):
            return [{"text": text}] if text else []
        case ReasoningBlock(text="", state=state):
            return [] if state is None else [{"reasoningContent": textless_content(issuer, state)}]
        case ReasoningBlock(text=text, state=state):
            signed = signature(issuer, state)
            content = {"text": text} if signed is None else {"text": text, "signature": signed}
            return [{"reasoningContent": {"reasoningText": content}}]
        case ToolCallBlock(id=id, name=name, input=text, kind=kind):
            call = {"toolUseId": tool_use_id(id), "name": name, "input": call_input(text, kind)}
            return [{"toolUse": call}]
        case NativeBlock(api=api, item=item):
            return [item] if api == "converse" and isinstance(item, dict) else made_image_blocks(api, item)


def _encode_frame(name: str, value: Mapping[str, Any]) -> bytes:
    return event_stream.event_frame(name, msgspec.json.encode(value))


class ConverseWriter(BlockWriter):
    """A ``Writer`` of the Converse API."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self._request = reply.request
        self._index = 0
        self._has_content = False  # whether anything of the block with that index was sent
        self._reasoning: ReasoningState | None = None

    def send(self, event: Event) -> bytes:
        if self._has_content and type(event) is TextDelta and event.block == self.order.open:
            self.characters += len(event.text)
            return self._write_delta({"text": event.text})
        return self.send_any(event)

    def begin_answer(self) -> bytes:
        return _encode_frame("messageStart", {"role": "assistant"})

    def end_answer(self, end: AnswerEnd) -> bytes:
        stop = _encode_frame("messageStop", write_end(end, self.calls_tools, self._request))
        usage = complete_usage(self.usage, self.input_estimate, self.characters)
        return stop + _encode_frame("metadata", write_metadata(usage))

    def fail(self, error: ErrorInfo) -> bytes:
        return error_event(error)

    # Blocks

    def write_text(self, text: str) -> bytes:
        return self._write_delta({"text": text})

    def write_thought(self, text: str) -> bytes:
        return self._write_delta({"reasoningContent": {"text": text}})

    def start_call(self, call: ToolCallStart) -> bytes:
        return self._start_block({"toolUse": {"toolUseId": tool_use_id(call.id), "name": call.name}})

    def write_arguments(self, text: str) -> bytes:
        return self._write_delta({"toolUse": {"input": text}})

    def cite(self, citation: Citation) -> bytes:
        cited = write_citation(citation)
        return b"" if cited is None else self._write_delta({"citation": cited})

    def write_native(self, native: NativeItem) -> bytes:
        own = native.api == "converse" and isinstance(native.item, dict)
        return b"".join(map(self._write_item, [native.item] if own else made_image_blocks(native.api, native.item)))

    def _write_delta(self, delta: Mapping[str, Any]) -> bytes:
        self._has_content = True
        return _encode_frame("contentBlockDelta", {"contentBlockIndex": self._index, "delta": delta})

    def _start_block(self, start: Mapping[str, Any]) -> bytes:
        self._has_content = True
        return _encode_frame("contentBlockStart", {"contentBlockIndex": self._index, "start": start})

    def write_state(self, state: ReasoningState) -> bytes:
        if self._has_content:  # the signature is the last delta of the block
            self._reasoning = state
            return b""
        item = textless_content(self.issuer, state)
        redacted = item.get("redactedContent")
        if isinstance(redacted, str):
            return self._write_delta({"reasoningContent": {"redactedContent": redacted}})
        self._reasoning = state
        return self._write_delta({"reasoningContent": {"text": ""}})  # SDKs require a text with the signature

    def _write_item(self, item: Mapping[str, Any]) -> bytes:
        """Write a call of a tool that ran at Amazon, its result, or an image."""
        start = b""
        for kind, inner in item.items():
            if kind == "toolUse" and isinstance(inner, dict):
                start = self._start_block({kind: {name: value for name, value in inner.items() if name != "input"}})
                start += self._write_delta({kind: {"input": msgspec.json.encode(inner.get("input", {})).decode()}})
            elif kind == "toolResult" and isinstance(inner, dict):
                start = self._start_block({kind: {name: value for name, value in inner.items() if name != "content"}})
                start += self._write_delta({kind: inner.get("content", [])})
            elif kind == "image" and isinstance(inner, dict):
                start = self._start_block({kind: {"format": inner.get("format")}})
                start += b"".join(self._write_delta({kind: delta}) for delta in image_deltas(inner))
        return start + self._stop_block()

    def end_block(self) -> bytes:
        last = b""
        if self._reasoning is not None:
            if (signed := signature(self.issuer, self._reasoning)) is not None:
                last = self._write_delta({"reasoningContent": {"signature": signed}})
            self._reasoning = None
        elif self.input is not None:
            last = self._write_delta({"toolUse": {"input": self.input.whole_json()}})
        self.input = None
        return last + self._stop_block()

    def _stop_block(self) -> bytes:
        if not self._has_content:  # an empty citation or state
            return b""
        stop = _encode_frame("contentBlockStop", {"contentBlockIndex": self._index})
        self._index += 1
        self._has_content = False
        return stop


WRITER: Final = ConverseWriter
