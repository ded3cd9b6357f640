"""Short builders for Messages streams, for tests of both sides."""

import json

import msgspec
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import RawMessageStreamEvent
from pydantic import TypeAdapter

from providers.grammar import judge
from providers.messages import MESSAGES
from providers.neutral.codec import Reply
from providers.neutral.request import Request
from providers.neutral.seal import Issuer
from streams import sse
from tests.support.provider_streams import read_stream

OURS = Issuer("deepseek", "a1")
START = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": [], "stop_reason": None,
    "stop_sequence": None, "usage": {"input_tokens": 15, "cache_read_input_tokens": 3, "output_tokens": 1},
}  # fmt: skip


def reply(**fields):
    return Reply(Request("messages", "my-alias", ()), OURS, 0, **({"input_estimate": 77} | fields))


def raw(*events):
    return b"".join(sse.event(event["type"], event) for event in events)


def message_start(**members):
    return {"type": "message_start", "message": START | members}


def block_start(index, **item):
    return {"type": "content_block_start", "index": index, "content_block": item}


def delta(index, **members):
    return {"type": "content_block_delta", "index": index, "delta": members}


def block_stop(index):
    return {"type": "content_block_stop", "index": index}


def message_delta(stop_reason="end_turn", usage=None, **members):
    return {
        "type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": None} | members,
        "usage": usage or {"output_tokens": 9},
    }  # fmt: skip


STOP = {"type": "message_stop"}
PING = {"type": "ping"}
TEXT = (
    block_start(0, type="text", text=""),
    delta(0, type="text_delta", text="pi"),
    PING,
    delta(0, type="text_delta", text="ng"),
    block_stop(0),
)


def read(data, step=None):
    """Return the events of a stream, read in pieces of ``step`` bytes."""
    return read_stream(MESSAGES, data, step)


def read_events(*events):
    return read(raw(*events))


def write(events, **fields):
    writer = MESSAGES.writer(reply(**fields))
    return b"".join(map(writer.send, events))


def frames(data):
    """Return the events of a stream as (name, JSON)."""
    parsed = [sse.parse(event) for event in sse.Splitter().feed(data)]
    return [(name, json.loads(value)) for name, value in filter(None, parsed)]


def check_grammar(data):
    """Check a finished stream, and return its blocks."""
    verdict = judge("messages", data, streamed=True)
    assert (verdict.good, verdict.outcome) == (True, "complete"), verdict
    return [value["content_block"] for name, value in frames(data) if name == "content_block_start"]


EVENT = TypeAdapter(RawMessageStreamEvent)


def sdk_message(data, strict=True):
    """Return the message that the anthropic SDK assembles from a stream.

    With ``strict``, every event must have its type.
    """
    message, buffers = None, {}
    for name, value in frames(data):
        if name != "ping":
            event = EVENT.validate_python(value) if strict else value
            message = accumulate_event(event=event, current_snapshot=message, json_bufs=buffers)
    return message


FIXTURES = {
    "text": [message_start(), *TEXT, message_delta(), STOP],
    "thinking, text and a call": [
        message_start(),
        block_start(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="Hm, "),
        delta(0, type="thinking_delta", thinking="weiß\u2028nicht"),
        delta(0, type="signature_delta", signature="c2ln"),
        block_stop(0),
        block_start(1, type="text", text=""),
        delta(1, type="text_delta", text="Let me look 🙂"),
        block_stop(1),
        block_start(2, type="tool_use", id="toolu_1", name="f", input={}),
        delta(2, type="input_json_delta", partial_json=""),
        delta(2, type="input_json_delta", partial_json='{"a":'),
        delta(2, type="input_json_delta", partial_json="1.0}"),
        block_stop(2),
        message_delta("tool_use"),
        STOP,
    ],
    "redacted thinking and a server tool": [
        message_start(),
        block_start(0, type="redacted_thinking", data="b3BhcXVl"),
        block_stop(0),
        block_start(1, type="server_tool_use", id="srv_1", name="web_search", input={}),
        delta(1, type="input_json_delta", partial_json='{"query":"x"}'),
        block_stop(1),
        block_start(2, type="web_search_tool_result", tool_use_id="srv_1", content=[]),
        block_stop(2),
        block_start(3, type="text", text="", citations=[]),
        delta(3, type="citations_delta", citation={"type": "web_search_result_location", "url": "https://a.example"}),
        delta(3, type="text_delta", text="found"),
        block_stop(3),
        message_delta(),
        STOP,
    ],
}


def stream_of(message):
    """Return a stream with the content of ``message``."""
    events = [{"type": "message_start", "message": message | {"content": [], "stop_reason": None}}]
    for i, block in enumerate(message["content"]):
        match block["type"]:
            case "text":
                parts = [delta(i, type="text_delta", text=block["text"])]
                parts += [delta(i, type="citations_delta", citation=item) for item in block.get("citations") or ()]
                events += [block_start(i, type="text", text=""), *parts, block_stop(i)]
            case "thinking":
                start = block_start(i, **{**block, "thinking": "", "signature": ""})
                parts = [delta(i, type="thinking_delta", thinking=piece) for piece in block["thinking"].partition(" ")]
                events += [start, *parts, delta(i, type="signature_delta", signature=block["signature"]), block_stop(i)]
            case "tool_use":
                text = msgspec.json.encode(block["input"]).decode() if block["input"] else ""
                parts = [delta(i, type="input_json_delta", partial_json=piece) for piece in text.partition(":")]
                events += [block_start(i, **{**block, "input": {}}), *parts, block_stop(i)]
            case _:
                events += [block_start(i, **block), block_stop(i)]
    last = message_delta(message["stop_reason"], message["usage"], stop_sequence=message["stop_sequence"])
    return raw(*events, last, STOP)
