"""Short builders for Responses streams, for tests of both sides."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from openai._models import construct_type_unchecked
from openai._types import omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import ResponseStreamEvent

from providers.grammar import judge
from providers.neutral.codec import Reply
from providers.neutral.request import (
    Request,
)
from providers.neutral.seal import Issuer
from providers.responses import RESPONSES
from streams import sse
from streams.events import (
    AnswerStart,
    BlockEnd,
    Event,
    TextDelta,
    Usage,
)
from streams.fold import Answer, NativeBlock, ReasoningBlock, TextBlock
from tests.support.provider_streams import read_stream
from tests.support.repository import SHARED

CORPUS = SHARED / "corpus" / "openai_responses"


STREAMS = sorted(CORPUS.glob("*.response.sse"))


ANSWERS = sorted(CORPUS.glob("*.response.json"))


needs_corpus = pytest.mark.skipif(not STREAMS, reason="the corpus of recorded traffic is not here")


ISSUER = Issuer("openai", "a1b2")


def raw_events(data: bytes, step: int | None = None) -> Iterator[bytes]:
    splitter = sse.Splitter()
    size = step or len(data) or 1
    for i in range(0, len(data), size):
        yield from splitter.feed(data[i : i + size])
    yield splitter.close()


def read(data: bytes, step: int | None = None) -> list[Event]:
    if len(data) < 10_000:  # a byte at a time is no other stream
        assert list(raw_events(data, 1)) == list(raw_events(data))
    return read_stream(RESPONSES, data, step)


def stream(*events: dict[str, Any], named: bool = True) -> bytes:
    """Return a provider's stream of ``events`` with numbers."""
    return b"".join(
        sse.event(event["type"], {**event, "sequence_number": i}) if named else sse.data(event)
        for i, event in enumerate(events)
    )


def created_event(**members: Any) -> dict[str, Any]:
    response = {"id": "resp_1", "object": "response", "model": "gpt-5", "created_at": 17.0, "output": [], **members}
    return {"type": "response.created", "response": response}


def ended_event(kind: str = "completed", *output: Any, **members: Any) -> dict[str, Any]:
    response = {"id": "resp_1", "object": "response", "status": kind, "output": list(output), **members}
    return {"type": f"response.{kind}", "response": response}


def item_added(index: int, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}


def item_done(index: int, **item: Any) -> dict[str, Any]:
    return {"type": "response.output_item.done", "output_index": index, "item": item}


def text_delta(index: int, delta: Any, part: int = 0, kind: str = "output_text") -> dict[str, Any]:
    return {"type": f"response.{kind}.delta", "output_index": index, "content_index": part, "delta": delta}


def message(text: str, id: str = "msg_1") -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": id, "role": "assistant", "status": "completed", "content": [part]}


def function(arguments: str, id: str = "fc_1", call_id: str = "call_1", name: str = "f") -> dict[str, Any]:
    return {"type": "function_call", "id": id, "call_id": call_id, "name": name, "arguments": arguments}


TERMINAL = ("response.completed", "response.incomplete", "response.failed")


def as_json(raw: bytes) -> dict[str, Any]:
    parsed = sse.parse(raw)
    if parsed is None or not parsed[1].startswith(b"{"):
        return {}
    value: dict[str, Any] = json.loads(parsed[1])
    return value


def shape(answer: Answer) -> Any:
    """Return ``answer`` without the parts that providers repeat differently in the terminal event: encrypted
    content, results of hosted tools, and the order of items."""

    def as_plain_json(block: Any) -> Any:
        match block:
            case ReasoningBlock(text=text):
                return ("thought", text)
            case NativeBlock(kind=kind, item=item):
                return ("native", kind, item.get("id"))
            case TextBlock(text=text, citations=citations):
                return ("text", text, repr([cited.item for cited in citations]))
            case _:
                return block

    return answer.start, sorted(map(as_plain_json, answer.blocks), key=repr), answer.usage, answer.end


def reply(**members: Any) -> Reply:
    call = Request(**{"api": "responses", "model": "my-model", "messages": (), **members})
    return Reply(call, ISSUER, created=1_700_000_000)


def write_events(events: Iterable[Event], to: Reply | None = None) -> list[dict[str, Any]]:
    """Return the events of a well-formed stream that the writer makes of ``events``."""
    writer = RESPONSES.writer(to or reply())
    data = b"".join(map(writer.send, events))
    verdict = judge("responses", data, streamed=True, tolerant=True)
    assert verdict.good, verdict
    return values(data)


def sdk_response(events: Sequence[dict[str, Any]]) -> Any:
    """Return the response that the openai SDK assembles from the stream. It raises on a fault."""
    state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
    final = None
    for event in events:
        typed: Any = construct_type_unchecked(type_=ResponseStreamEvent, value=event)  # type: ignore[arg-type]
        for out in state.handle_event(typed):
            if out.type in TERMINAL:
                final = out.response
    return final


HELLO = [
    AnswerStart("x", "up"),
    TextDelta(0, "Hel"),
    TextDelta(0, "lo\u2028\x85"),
    BlockEnd(0),
    Usage(3, 2, 1, output=5, reasoning=4),
]


def encode_event(event: dict[str, Any]) -> bytes:
    return sse.event(event["type"], event)


def accumulate(events: Sequence[dict[str, Any]]) -> Any:
    """Return the items that the openai SDK assembles from the deltas alone, by index."""
    state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events[:-1]:
        state.handle_event(construct_type_unchecked(type_=ResponseStreamEvent, value=event))  # type: ignore[arg-type]
    return [state._output_items[index].to_dict(warnings=False) for index in sorted(state._output_items)]


def part_text(part: Mapping[str, Any]) -> tuple[str, str]:
    """Return the type and text of a part. The SDK does not assemble refusals."""
    return part["type"], part.get("text", "")


def as_plain_json(value: Any) -> Any:
    """Return an object as a client reads it."""
    return json.loads(msgspec.json.encode(value))


def values(data: bytes) -> list[dict[str, Any]]:
    """Return the events of a stream."""
    return [json.loads(sse.parse(raw)[1]) for raw in raw_events(data) if raw]  # type: ignore[index]
