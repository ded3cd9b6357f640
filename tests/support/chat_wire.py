"""Helpers for tests of the Chat codec: build and parse requests and streams, and generate valid events."""

import json
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

import attrs
import pytest

from providers.chat import CHAT
from providers.neutral.codec import Recipient, Reply
from providers.neutral.quirks import Quirks
from providers.neutral.request import (
    Message,
    Request,
    TextPart,
)
from providers.neutral.seal import Issuer, seal
from streams import sse
from streams.events import (
    Event,
    ToolCallStart,
)
from streams.fold import Answer, ReasoningBlock, RefusalBlock, TextBlock, ToolCallBlock
from tests.support.repository import SHARED

OWN, OTHER = Issuer("deepseek", "aaa"), Issuer("anthropic", "bbb")
USER = Message("user", (TextPart("hi", "messages[0].content"),), "messages[0]")
ISSUER = Issuer("anthropic", "abc123")
CORPUS = SHARED / "corpus" / "openai_chat"
RECORDED = sorted(CORPUS.glob("*.response.sse"))
ANSWERS = sorted(CORPUS.glob("*.response.json"))
needs_corpus = pytest.mark.skipif(not RECORDED, reason="the recorded provider traffic is not beside this checkout")
DONE = b"data: [DONE]\n\n"


def chat_request(*messages: dict, **fields) -> Request:
    return CHAT.read_request(
        {"model": "m", "messages": list(messages) or [{"role": "user", "content": "hi"}], **fields}
    )


def encode_request(request: Request, **quirks) -> tuple[dict, tuple[str, ...]]:
    """Return the body that is sent, and the dropped members."""
    out = CHAT.write_request(request, Recipient("gpt", OWN, Quirks(**quirks)))
    return json.loads(out.body), out.dropped


def messages(*turns: Message, api="messages", **quirks) -> list[dict]:
    return encode_request(Request(api, "m", turns), **quirks)[0]["messages"]


def user(*parts) -> Message:
    return Message("user", parts)


def assistant(*parts) -> Message:
    return Message("assistant", parts)


def sealed_item(issuer: Issuer, api: str, item) -> dict:
    return {"type": "reasoning.encrypted", "data": seal(issuer, api, item)}


def reply(**fields) -> Reply:
    call = Request("chat", "my-model", (), stream=True, **{"include_usage": True} | fields)
    return Reply(call, ISSUER, 1_700_000_000, input_estimate=7)


def chunk(delta: dict | None = None, finish: str | None = None, **more) -> bytes:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return sse.data({"id": "c1", "created": 5, "model": "m", "choices": [choice], **more})


def calls(*fragments: dict, finish: str | None = None) -> bytes:
    return chunk({"tool_calls": list(fragments)}, finish)


def fragment(name: str | None = None, arguments: str | None = None, **more) -> dict:
    function = {"name": name, "arguments": arguments}
    return {**more, "function": {key: value for key, value in function.items() if value is not None}}


def whole(message: dict, finish: str | None = "stop", **more) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return json.dumps({"id": "c1", "created": 5, "model": "m", "choices": [choice], **more}).encode()


def pieces(stream: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = [0, *cuts, len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


def read(reads: Iterable[bytes]) -> list[Event]:
    """Return the events of a stream that arrived in ``reads``."""
    splitter, reader = sse.Splitter(), CHAT.reader()
    raws = [raw for data in reads for raw in splitter.feed(data)]
    events = [
        event for raw in (*raws, splitter.close()) if (one := sse.parse(raw)) for event in reader.read_event(*one)
    ]
    events.extend(reader.close())
    assert reader.close() == ()
    assert reader.read_event("", b'{"choices":[{"delta":{"content":"late"}}]}') == ()
    return events


def write(events: Iterable[Event], **fields) -> bytes:
    writer = CHAT.writer(reply(**fields))
    return b"".join(writer.send(event) for event in events)


def chunks(stream: bytes) -> list[dict]:
    found = [sse.parse(raw) for raw in sse.Splitter().feed(stream)]
    return [json.loads(one[1]) for one in found if one and one[1] != b"[DONE]"]


def deltas(stream: bytes) -> list[dict]:
    return [one["choices"][0]["delta"] for one in chunks(stream) if one.get("choices")]


def same_ids(events: Iterable[Event]) -> list[Event]:
    """Replace generated ids by the number of their block."""
    return [
        attrs.evolve(event, id=str(event.block))
        if isinstance(event, ToolCallStart) and re.fullmatch("call_[0-9a-f]{24}", event.id)
        else event
        for event in events
    ]


def content(answer: Answer) -> tuple:
    """Return the content that a translation from Chat to Chat must keep, however it is cut."""
    text = "".join(block.text for block in answer.blocks if isinstance(block, TextBlock))
    thought = "".join(block.text for block in answer.blocks if isinstance(block, ReasoningBlock))
    refusal = "".join(block.text for block in answer.blocks if isinstance(block, RefusalBlock))
    usage = attrs.evolve(answer.usage, reasoning=answer.usage.reasoning or 0) if answer.usage else None
    calls = [block if block.input.strip() or block.kind == "custom" else attrs.evolve(block, input="{}")
             for block in answer.blocks if isinstance(block, ToolCallBlock)]  # fmt: skip
    return text, thought, refusal, calls, usage
