"""Gemini's wire format in few words, read without the code under test."""

import json
from typing import Any

from providers.gemini import GEMINI
from providers.neutral.codec import Reply
from providers.neutral.request import Reasoning, Request
from providers.neutral.seal import Issuer
from streams.events import Event

OURS = Issuer("anthropic", "a1b2c3d4")


def gemini_reply(*, thoughts: bool = True) -> Reply:
    """What a client is answered that has asked for thoughts, or has not."""
    reasoning = Reasoning("adaptive", summary="auto") if thoughts else None
    return Reply(Request("gemini", "my-alias", (), reasoning=reasoning), OURS, created=5, input_estimate=77)


def written(events: list[Event], *, thoughts: bool = True) -> bytes:
    """The stream that a Gemini client gets for ``events``."""
    writer = GEMINI.writer(gemini_reply(thoughts=thoughts))
    return b"".join(map(writer.send, events))


def chunks(stream: bytes) -> list[Any]:
    """What a stream's events say."""
    events = [event for event in stream.split(b"\r\n\r\n") if event]
    return [json.loads(line[6:]) for event in events for line in event.split(b"\r\n") if line.startswith(b"data: ")]


def parts(stream: bytes) -> list[Any]:
    """The parts of a stream, those that say nothing left out."""
    found = [part for chunk in chunks(stream) for part in chunk["candidates"][0]["content"]["parts"]]
    return [part for part in found if part != {"text": ""}]
