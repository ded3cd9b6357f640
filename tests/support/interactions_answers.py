"""Short forms of Interactions streams and whole answers, written for these tests."""

import json
from collections.abc import Sequence
from typing import Any

from providers.interactions import INTERACTIONS
from providers.neutral.codec import Outgoing, Recipient, Reply
from providers.neutral.quirks import Quirks
from providers.neutral.request import Parameter, Reasoning, Request
from providers.neutral.seal import Issuer
from streams import sse
from streams.events import Event

GOOGLE = Issuer("google", "a1")
COUNTS = {
    "total_input_tokens": 53, "total_output_tokens": 15, "total_thought_tokens": 65, "total_cached_tokens": 3,
    "total_tool_use_tokens": 0, "total_tokens": 133,
}  # fmt: skip


def wire_event(kind: str, **members: Any) -> bytes:
    """Return one event of a stream."""
    return sse.event(kind, {**members, "event_type": kind})


def created_event() -> bytes:
    return wire_event("interaction.created", interaction={"id": "v1_a", "status": "in_progress", "model": "g"})


def begin(index: int, kind: str = "model_output", **members: Any) -> bytes:
    return wire_event("step.start", index=index, step={"type": kind, **members})


def piece(index: int, **delta: Any) -> bytes:
    return wire_event("step.delta", index=index, delta=delta)


def stop(index: int) -> bytes:
    return wire_event("step.stop", index=index)


def completed_event(status: str = "completed", **members: Any) -> bytes:
    whole = {"id": "v1_a", "status": status, "model": "g", "usage": COUNTS, **members}
    return wire_event("interaction.completed", interaction=whole)


DONE = b"event: done\ndata: [DONE]\n\n"


def stream(*events: bytes, status: str = "completed") -> list[bytes]:
    """Return the events of a whole stream around ``events``."""
    return [created_event(), *events, completed_event(status), DONE]


def read_stream_events(events: Sequence[bytes], limit: int = 2**20) -> list[Event]:
    """Read the events of a stream, and its end."""
    reader = INTERACTIONS.reader(limit)
    parsed = [found for raw in events if (found := sse.parse(raw)) is not None]
    return [*(event for one in parsed for event in reader.read_event(*one)), *reader.close()]


def interaction(*steps: Any, status: str = "completed", **members: Any) -> bytes:
    """Return a whole answer."""
    whole = {"id": "v1_a", "object": "interaction", "status": status, "model": "g", "usage": COUNTS}
    return json.dumps({**whole, "steps": list(steps), **members}).encode()


def text_step(text: str, *notes: Any) -> dict[str, Any]:
    content = {"type": "text", "text": text, **({"annotations": list(notes)} if notes else {})}
    return {"type": "model_output", "content": [content]}


def thought_step(text: str = "hm", signature: str = "c2ln") -> dict[str, Any]:
    return {"type": "thought", "signature": signature, "summary": [{"type": "text", "text": text}]}


def call_step(id: str = "c1", name: str = "f", **arguments: Any) -> dict[str, Any]:
    return {"type": "function_call", "id": id, "name": name, "arguments": arguments}


def result_step(id: str = "c1", result: Any = "sunny", **members: Any) -> dict[str, Any]:
    return {"type": "function_result", "call_id": id, "result": result, **members}


def shown_reply(api: str = "interactions") -> Reply:
    """Return a reply to a client that requests thoughts."""
    return Reply(
        Request(api, "m", (), reasoning=Reasoning("adaptive", summary=Parameter("auto"))), GOOGLE, created=1_700_000_000
    )


def encode_request(request: Request, **quirks: Any) -> Outgoing:
    """Write ``request`` for an Interactions provider."""
    return INTERACTIONS.write_request(request, Recipient("g", GOOGLE, Quirks(**quirks)))


def written_body(request: Request, **quirks: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(encode_request(request, **quirks).body)
    return found
