"""Writers of Chat Completions answers: streams (``ChatWriter``) and whole bodies (``write_answer``).

OpenAI's SDK assembles from the stream what the whole body contains. Citations and reasoning state are sent once, at the
end of a stream: OpenAI's Python client fails on a second list without numbered elements, and merges numbered elements
by position (``openai/lib/streaming/_deltas.py``).
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, assert_never

import msgspec

from providers.chat import WIRE
from providers.chat.parts import USUAL_FIELD
from providers.chat.settings import SERVICE_TIERS
from providers.chat.tools import ToolWriter
from providers.errors.failures import openai_error
from providers.neutral.codec import ANSWERING, ENDED, WAITING, AnswerStage, Reply, complete_usage, new_id
from providers.neutral.ends import WRITTEN
from providers.neutral.made_images import image_address, made_images
from providers.neutral.moderation import moderation_for_chat
from providers.neutral.seal import Issuer, seal
from providers.neutral.token_usage import tier_for_client
from streams import sse
from streams.events import (
    AnswerEnd,
    AnswerStart,
    Api,
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
from streams.fold import Answer, NativeBlock, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock
from streams.surrogates import any_json, decode_or

_NO_CHOICE = re.compile(rb'"choices"\s*:\s*\[\s*\]')


def is_usage_alone(data: bytes) -> bool:
    """Return whether a chunk is the one that ``stream_options.include_usage`` adds: usage without choices.

    Other chunks without choices, such as Azure's content filter results, are not.
    """
    if _NO_CHOICE.search(data) is None or b'"usage"' not in data:
        return False
    chunk = decode_or(any_json, data, None)
    return isinstance(chunk, dict) and chunk.get("choices") == [] and isinstance(chunk.get("usage"), dict)


def write_usage(usage: Usage) -> dict[str, Any]:
    """Return ``usage`` with every detail as an integer, because typed clients reject ``null``
    (openai/openai-agents-python#760)."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write},
        "completion_tokens_details": {"reasoning_tokens": min(usage.reasoning or 0, usage.output)},
    }


class ReasoningDetails:
    """``reasoning_details``: the provider's own if it speaks Chat, else one seal for all items."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._native: list[Any] = []
        self._foreign: dict[Api, list[Any]] = {}
        # Member names, each once for all blocks; the usual one needs no seal, as the text itself goes back in it.
        self._fields: set[Any] = {USUAL_FIELD}

    def add(self, state: ReasoningState) -> None:
        details = state.item.get("reasoning_details") if state.api == "chat" else None
        if isinstance(details, list):
            self._native.extend(details)
        elif state.api != "chat":
            self._foreign.setdefault(state.api, []).append(state.item)
        elif (field := state.item.get("field")) not in self._fields:
            self._fields.add(field)
            self._foreign.setdefault(state.api, []).append(state.item)

    def details(self) -> list[Any]:
        sealed = [
            {"type": "reasoning.encrypted", "data": seal(self._issuer, api, items)}
            for api, items in self._foreign.items()
        ]
        return _number_details(self._native + sealed)


def _number_details(details: list[Any]) -> list[Any]:
    """Return ``details`` with their positions as ``index`` if any of them has one, so that clients merge no two."""
    if not any(isinstance(detail, dict) and "index" in detail for detail in details):
        return details
    return [{**detail, "index": i} if isinstance(detail, dict) else detail for i, detail in enumerate(details)]


class Citations:
    """``annotations``: citations with a URL, and positions in the whole content.

    They wait for the end of their block, because only then the length of its text is known.
    """

    def __init__(self) -> None:
        self._waiting: list[Citation] = []
        self._start = 0  # position of the open text in the content
        self.annotations: list[Any] = []

    def add(self, cited: Citation) -> None:
        self._waiting.append(cited)

    def close(self, end: int) -> None:
        """Record the end of a block other than a tool call; the content now has ``end`` characters."""
        for cited in self._waiting:
            if (annotation := _chat_annotation(cited, self._start, end - self._start)) is not None:
                self.annotations.append(annotation)
        self._waiting.clear()
        self._start = end


def answer_annotations(texts: Iterable[TextBlock]) -> list[Any]:
    citations, end = Citations(), 0
    for block in texts:
        for cited in block.citations:
            citations.add(cited)
        end += len(block.text)
        citations.close(end)
    return citations.annotations


def _chat_annotation(cited: Citation, start: int, length: int) -> Any:
    """Return a citation in Chat's form, or None without a URL (such as a passage of a document)."""
    link = cited.item.get("url_citation") if cited.api == "chat" else cited.item
    if not isinstance(link, dict) or not isinstance(link.get("url"), str):
        return None
    position = {"url": link["url"], **_citation_position(link, start, length)}
    if cited.api == "chat":  # its positions already refer to the whole content
        position |= {name: value for name, value in link.items() if value is not None}
    return {"type": "url_citation", "url_citation": position}


def _citation_position(item: Mapping[str, Any], start: int, length: int) -> dict[str, Any]:
    """Return the position of a citation in the content: Responses' own, the whole block for Messages.

    Clients require all three members.
    """
    first, last = item.get("start_index"), item.get("end_index")
    return {
        "start_index": start + (first if isinstance(first, int) else 0),
        "end_index": start + (last if isinstance(last, int) else length),
        "title": item.get("title") or "",
    }


_UNFINISHED = b',"finish_reason":null}]}\n\n'


class ChatWriter:
    """A writer of a client's Chat stream. See ``providers.neutral.codec.Writer``.

    Everything but the delta is the same in all chunks, so it is encoded once.
    """

    def __init__(self, reply: Reply) -> None:
        self._include_usage = reply.request.include_usage
        self._input_estimate = reply.input_estimate
        head = {
            "id": new_id("chatcmpl-"),
            "object": "chat.completion.chunk",
            "created": reply.created,
            "model": reply.request.model,
        }
        self._head = b"data: " + sse.dump(head)[:-1] + b',"choices":['
        self._prefix = self._head + b'{"index":0,"delta":'
        self._suffix = b',"logprobs":null' + _UNFINISHED
        self._text_prefix = self._prefix + b'{"content":'
        self._stage: AnswerStage = WAITING
        self._content_written = False  # `content` has text, or may be null because of other members
        self._tools = ToolWriter(reply.request)
        self._seals = ReasoningDetails(reply.issuer)
        self._citations = Citations()
        self._usage: Usage | None = None
        self._images = 0  # the number of images so far
        self._content_length = 0  # characters of text
        self._other_length = 0  # characters of everything else

    def send(self, event: Event) -> bytes:
        if self._stage is ENDED:
            return b""
        # By far the most frequent event:
        if type(event) is TextDelta and self._content_length and event.logprobs is None:
            self._content_length += len(event.text)
            return b"%b%b}%b" % (self._text_prefix, sse.dump(event.text), self._suffix)
        return self._send(event)

    def _send(self, event: Event) -> bytes:
        match event:
            case TextDelta(text=text):
                self._content_length += len(text)
                self._content_written = True
                return self._first_chunk("") + self._encode_chunk({"content": text}, event.logprobs)
            case ReasoningDelta(text=text):
                self._other_length += len(text)
                return self._first_chunk(None) + self._encode_chunk({"reasoning_content": text})
            case RefusalDelta(text=text):
                self._other_length += len(text)
                self._content_written = True
                return self._first_chunk(None) + self._encode_chunk({"refusal": text})
            case ToolCallStart():
                self._content_written = True
                return self._first_chunk(None) + self._write_delta(self._tools.start_call(event))
            case ToolCallDelta(block=block, text=text):
                self._other_length += len(text)
                return self._write_delta(self._tools.add_input(block, text))
            case BlockEnd(block=block):
                if not self._tools.is_call(block):
                    self._citations.close(self._content_length)
                return self._write_delta(self._tools.end_call(block))
            case AnswerEnd():
                data = b"".join(self._end_chunks(event))
                self._stage = ENDED
                return data
            case ErrorInfo():  # without `[DONE]`, or some clients would take it for complete (BerriAI/litellm#40578)
                self._stage = ENDED
                return sse.data({"error": openai_error(event)})
            case NativeItem(api=api, item=item):
                images = image_members(_image_urls(api, item), self._images)
                self._images += len(images)
                return self._first_chunk(None) + self._encode_chunk({"images": images}) if images else b""
            case _:
                self._store(event)
                return b""

    def _store(self, event: ReasoningState | Citation | Usage | AnswerStart) -> None:
        """Store an event that is written later or never."""
        match event:
            case ReasoningState():
                self._seals.add(event)
            case Citation():
                self._citations.add(event)
            case Usage():
                self._usage = event
            case AnswerStart():
                pass
            case _:
                assert_never(event)

    def _first_chunk(self, content: str | None) -> bytes:
        """Return the first chunk, with the role.

        Clients that receive no role send the turn back without one, which is rejected (Portkey-AI/gateway#1399).
        ``content`` is null if no text may follow, as in OpenAI's streams.
        """
        if self._stage is not WAITING:
            return b""
        self._stage = ANSWERING
        return self._encode_chunk({"role": "assistant", "content": content})

    def _write_delta(self, delta: Mapping[str, Any]) -> bytes:
        return self._encode_chunk(delta) if delta else b""

    def _encode_chunk(self, delta: Mapping[str, Any], logprobs: Sequence[Any] | None = None) -> bytes:
        if not logprobs:
            return self._prefix + sse.dump(delta) + self._suffix
        scores = sse.dump(_logprobs_object(logprobs))
        return b'%b%b,"logprobs":%b%b' % (self._prefix, sse.dump(delta), scores, _UNFINISHED)

    def _end_chunks(self, end: AnswerEnd) -> Iterator[bytes]:
        if not self._content_written:
            yield self._first_chunk("") or self._encode_chunk({"content": ""})
        extras = {"reasoning_details": self._seals.details(), "annotations": self._citations.annotations}
        yield self._write_delta({name: value for name, value in extras.items() if value})
        finish = sse.dump(_finish_reason(end, self._tools, self._tools.has_calls))
        tier = sse.dump(_tier_member(self._usage))[1:-1]
        tail = b"," + tier if tier else b""
        yield self._prefix + b'{},"logprobs":null,"finish_reason":' + finish + b"}]" + tail + b"}\n\n"
        if (moderation := moderation_for_chat(end.moderation)) is not None:
            yield self._head + b'],"moderation":' + sse.dump(moderation) + b"}\n\n"
        if self._include_usage:
            usage = complete_usage(self._usage, self._input_estimate, self._content_length + self._other_length)
            yield self._head + b'],"usage":' + sse.dump(write_usage(usage)) + tail + b"}\n\n"
        yield WIRE.words.bare_end


def _finish_reason(end: AnswerEnd, tools: ToolWriter, has_calls: bool) -> str:
    """Return the finish reason. With calls, ``stop`` becomes ``tool_calls`` or its older form.

    Otherwise agent loops stop silently (vercel/ai#12218, strands-agents/harness-sdk#1827).
    """
    reason = WRITTEN["chat"][end.reason]
    return tools.finish_reason if has_calls and reason == "stop" else reason


def _tier_member(usage: Usage | None) -> dict[str, str]:
    """Return the member ``service_tier``, which clients read in a stream where it ends."""
    tier = tier_for_client(usage, SERVICE_TIERS)
    return {} if tier is None else {"service_tier": tier}


def _logprobs_object(tokens: Sequence[Any]) -> dict[str, Any]:
    return {"content": list(tokens), "refusal": None}


def write_answer(answer: Answer, reply: Reply) -> bytes:
    """Return a whole answer. See ``Codec.write_answer``.

    All members that the Node SDK's types require exist, some as ``null``.
    """
    tools = ToolWriter(reply.request)
    tokens = [token for block in answer.blocks if isinstance(block, TextBlock) for token in block.logprobs]
    choice = {
        "index": 0,
        "message": _message_object(answer, reply, tools),
        "logprobs": _logprobs_object(tokens) if tokens else None,
        "finish_reason": _finish_reason(answer.end, tools, answer.calls_tools),
    }
    whole: dict[str, Any] = {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": reply.created,
        "model": reply.request.model,
        "choices": [choice],
        "usage": write_usage(complete_usage(answer.usage, reply.input_estimate, answer.characters)),
        **_tier_member(answer.usage),
    }
    if (moderation := moderation_for_chat(answer.end.moderation)) is not None:
        whole["moderation"] = moderation
    return msgspec.json.encode(whole)


def answer_images(answer: Answer) -> list[dict[str, Any]]:
    """Return the ``images`` of a message, which OpenRouter's, LiteLLM's and Vercel's clients read."""
    natives = [block for block in answer.blocks if isinstance(block, NativeBlock)]
    return image_members([url for block in natives for url in _image_urls(block.api, block.item)], 0)


def _image_urls(api: Api, item: Any) -> list[str]:
    """Return the URLs of the images in a native item of ``api``; another Chat server's own, which may be a link."""
    if api == "chat":
        return [url] if (url := image_address(item)) else []
    return [image.url for image in made_images(api, item)]


def image_members(urls: Sequence[str], begin: int) -> list[dict[str, Any]]:
    """Return images in Chat's form, numbered from ``begin`` so that clients can join the events of a stream."""
    return [{"index": number, "type": "image_url", "image_url": {"url": url}} for number, url in enumerate(urls, begin)]


def _message_object(answer: Answer, reply: Reply, tools: ToolWriter) -> dict[str, Any]:
    texts = [block for block in answer.blocks if isinstance(block, TextBlock)]
    reasoning = [block for block in answer.blocks if isinstance(block, ReasoningBlock)]
    refusal = "".join(block.text for block in answer.blocks if isinstance(block, RefusalBlock))
    content = "".join(block.text for block in texts)
    seals = ReasoningDetails(reply.issuer)
    for block in reasoning:
        if block.state is not None:
            seals.add(block.state)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if not content and (answer.calls_tools or refusal) else content,
        "refusal": refusal or None,
        "annotations": answer_annotations(texts),
    }
    more: dict[str, Any] = {
        "reasoning_content": "".join(block.text for block in reasoning),
        "reasoning_details": seals.details(),
        "images": answer_images(answer),
        **tools.message_members(block for block in answer.blocks if isinstance(block, ToolCallBlock)),
    }
    return message | {name: value for name, value in more.items() if value}


WRITER: Final = ChatWriter
