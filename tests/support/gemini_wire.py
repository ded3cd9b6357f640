"""Gemini's wire format, parsed without the code under test."""

import json
from typing import Any

from providers.gemini import GEMINI
from providers.neutral.codec import Reply
from providers.neutral.request import Parameter, Reasoning, Request
from providers.neutral.seal import Issuer
from streams.events import Event

OURS = Issuer("anthropic", "a1b2c3d4")


def gemini_reply(*, thoughts: bool = True) -> Reply:
    """Return the reply for a client with or without a request for thoughts."""
    reasoning = Reasoning("adaptive", summary=Parameter("auto")) if thoughts else None
    return Reply(Request("gemini", "my-alias", (), reasoning=reasoning), OURS, created=5, input_estimate=77)


def write_stream(events: list[Event], *, thoughts: bool = True) -> bytes:
    """Return the stream that a Gemini client gets for ``events``."""
    writer = GEMINI.writer(gemini_reply(thoughts=thoughts))
    return b"".join(map(writer.send, events))


def chunks(stream: bytes) -> list[Any]:
    """Return the decoded events of a stream."""
    events = [event for event in stream.split(b"\r\n\r\n") if event]
    return [json.loads(line[6:]) for event in events for line in event.split(b"\r\n") if line.startswith(b"data: ")]


def parts(stream: bytes) -> list[Any]:
    """Return the parts of a stream, without empty ones."""
    found = [part for chunk in chunks(stream) for part in chunk["candidates"][0]["content"]["parts"]]
    return [part for part in found if part != {"text": ""}]
