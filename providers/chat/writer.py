"""Answers of Chat Completions, written: the stream (``ChatWriter``) and the whole body (``write_answer``)."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, assert_never

import msgspec

from providers.chat.usage import write_usage
from providers.codec import Reply, new_id, settled_reason
from providers.failures import openai_error
from providers.seal import Issuer, seal
from streams import sse
from streams.events import (
    Api,
    Begin,
    BlockEnd,
    Cited,
    End,
    Event,
    Failed,
    Native,
    Reason,
    Refusal,
    Sealed,
    Text,
    Thought,
    ToolBegin,
    ToolInput,
    Usage,
)
from streams.fold import Answer, RefusalBlock, TextBlock, ThoughtBlock, ToolBlock

FINISH: Mapping[Reason, str] = {
    "stop": "stop",
    "stop_sequence": "stop",
    "pause": "stop",
    "length": "length",
    "context_exceeded": "length",
    "tool_calls": "tool_calls",
    "refusal": "content_filter",
}

_CHARACTERS_PER_TOKEN = 4  # for estimates only
_DONE = b"data: [DONE]\n\n"


class Seals:
    """What the provider wants back of its reasoning, as ``reasoning_details``: as it is where the provider spoke Chat,
    else sealed, one item for all of it."""

    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer
        self._foreign: dict[Api, list[Any]] = {}

    def add(self, sealed: Sealed) -> list[Any]:
        """Take ``sealed`` in; the native details among it, which go out as they are."""
        if sealed.api != "chat":
            self._foreign.setdefault(sealed.api, []).append(sealed.item)
            return []
        details = sealed.item.get("reasoning_details")
        return list(details) if isinstance(details, list) else []

    def details(self) -> list[dict[str, str]]:
        return [
            {"type": "reasoning.encrypted", "data": seal(self._issuer, api, items)}
            for api, items in self._foreign.items()
        ]


class ChatWriter:
    """A client's Chat stream. See ``providers.codec.Writer``.

    Everything of a chunk but its delta is the same all along, so it is encoded once."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        head = {
            "id": new_id("chatcmpl-"),
            "object": "chat.completion.chunk",
            "created": reply.created,
            "model": reply.call.model,
        }
        self._head = b"data: " + sse.dump(head)[:-1] + b',"choices":['
        self._before = self._head + b'{"index":0,"delta":'
        self._after = b',"logprobs":null,"finish_reason":null}]}\n\n'
        self._text = self._before + b'{"content":'
        self._opened = False
        self._over = False
        self._tools: dict[int, tuple[int, ToolBegin]] = {}  # by block: the index of the call, and the call
        self._seals = Seals(reply.issuer)
        self._usage: Usage | None = None
        self._characters = 0

    def send(self, event: Event) -> bytes:
        if self._over:
            return b""
        if type(event) is Text and self._opened:  # by far the most frequent
            self._characters += len(event.text)
            return b"%b%b}%b" % (self._text, sse.dump(event.text), self._after)
        if isinstance(event, Failed):
            self._over = True
            return sse.data({"error": openai_error(event)})
        return self._role() + self._send(event)

    def ping(self) -> bytes:
        return sse.COMMENT_PING

    def _role(self) -> bytes:
        """The first chunk: clients that see no role send the turn back without one and are refused."""
        if self._opened:
            return b""
        self._opened = True
        return self._chunk({"role": "assistant", "content": ""})

    def _send(self, event: Event) -> bytes:
        match event:
            case Text(text=text) | Thought(text=text) | Refusal(text=text):
                self._characters += len(text)
                return self._chunk({_MEMBER[type(event)]: text})
            case ToolBegin(block=block):
                self._tools[block] = (len(self._tools), event)
                return self._fragment(block, {"id": event.id, "type": event.kind}, {"name": event.name}, "")
            case ToolInput(block=block, text=text):
                self._characters += len(text)
                return self._fragment(block, {}, {}, text) if text else b""
            case Sealed():
                details = self._seals.add(event)
                return self._chunk({"reasoning_details": details}) if details else b""
            case Cited(api=api, item=item):
                return self._chunk({"annotations": [item]}) if api == "chat" else b""
            case Usage():
                self._usage = event
                return b""
            case End():
                self._over = True
                return b"".join(self._ending(event))
            case Begin() | BlockEnd() | Native():
                return b""
            case Failed():
                return b""  # written by send
            case _:
                assert_never(event)

    def _chunk(self, delta: Mapping[str, Any]) -> bytes:
        return b"%b%b%b" % (self._before, sse.dump(delta), self._after)

    def _fragment(self, block: int, opening: Mapping[str, Any], name: Mapping[str, Any], text: str) -> bytes:
        """A piece of a call; ``opening`` and ``name`` are in its first one only, for clients put strings together."""
        index, begin = self._tools[block]
        inner = {**name, _INPUT[begin.kind]: text}
        return self._chunk({"tool_calls": [{"index": index, **opening, begin.kind: inner}]})

    def _ending(self, end: End) -> Iterator[bytes]:
        if details := self._seals.details():
            yield self._chunk({"reasoning_details": details})
        reason = FINISH[settled_reason(end.reason, bool(self._tools))]
        yield self._before + b'{},"logprobs":null,"finish_reason":' + sse.dump(reason) + b"}]}\n\n"
        if self._reply.call.include_usage:
            usage = self._usage or estimate(self._reply, self._characters)
            yield self._head + b'],"usage":' + sse.dump(write_usage(usage)) + b"}\n\n"
        yield _DONE


_MEMBER: Mapping[type, str] = {Text: "content", Thought: "reasoning_content", Refusal: "refusal"}
_INPUT = {"function": "arguments", "custom": "input"}


def estimate(reply: Reply, characters: int) -> Usage:
    """Usage for an answer of so many characters whose provider told none: clients want integers all the same."""
    return Usage(input=reply.input_estimate, output=-(-characters // _CHARACTERS_PER_TOKEN))


def write_answer(answer: Answer, reply: Reply) -> bytes:
    """See ``providers.codec.Codec.write_answer``. All members that Node's types require are there, as ``null`` if need
    be."""
    choice = {
        "index": 0,
        "message": _message(answer, reply),
        "logprobs": None,
        "finish_reason": FINISH[settled_reason(answer.end.reason, answer.called)],
    }
    whole = {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": reply.created,
        "model": reply.call.model,
        "choices": [choice],
        "usage": write_usage(answer.usage or estimate(reply, _length(answer))),
    }
    return msgspec.json.encode(whole)


def _message(answer: Answer, reply: Reply) -> dict[str, Any]:
    texts = [block for block in answer.blocks if isinstance(block, TextBlock)]
    thoughts = [block for block in answer.blocks if isinstance(block, ThoughtBlock)]
    tools = [_tool_call(block) for block in answer.blocks if isinstance(block, ToolBlock)]
    refusal = "".join(block.text for block in answer.blocks if isinstance(block, RefusalBlock))
    content = "".join(block.text for block in texts)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if not content and (tools or refusal) else content,
        "refusal": refusal or None,
    }
    more: dict[str, Any] = {
        "reasoning_content": "".join(block.text for block in thoughts),
        "reasoning_details": _details(thoughts, reply.issuer),
        "annotations": list(_annotations(texts)),
        "tool_calls": tools,
    }
    return message | {name: value for name, value in more.items() if value}


def _details(thoughts: Iterable[ThoughtBlock], issuer: Issuer) -> list[Any]:
    seals = Seals(issuer)
    native = [item for block in thoughts if block.sealed is not None for item in seals.add(block.sealed)]
    return native + seals.details()


def _tool_call(block: ToolBlock) -> dict[str, Any]:
    return {"id": block.id, "type": block.kind, block.kind: {"name": block.name, _INPUT[block.kind]: block.input}}


def _annotations(texts: Iterable[TextBlock]) -> Iterator[Any]:
    """Citations with a URL as Chat's; places are counted in the whole content."""
    start = 0
    for block in texts:
        for cited in block.citations:
            if cited.api == "chat":
                yield cited.item
            elif isinstance(url := cited.item.get("url"), str):
                place = _place(cited.item, start, len(block.text))
                yield {"type": "url_citation", "url_citation": {"url": url, **place}}
        start += len(block.text)


def _place(item: Mapping[str, Any], start: int, length: int) -> dict[str, Any]:
    """Where in the content: Responses says it; Messages means the whole block."""
    first, last = item.get("start_index"), item.get("end_index")
    return {
        "start_index": start + (first if isinstance(first, int) else 0),
        "end_index": start + (last if isinstance(last, int) else length),
        "title": item.get("title") or "",
    }


def _length(answer: Answer) -> int:
    spoken = (TextBlock, ThoughtBlock, RefusalBlock)
    said = sum(len(block.text) for block in answer.blocks if isinstance(block, spoken))
    return said + sum(len(block.input) for block in answer.blocks if isinstance(block, ToolBlock))
