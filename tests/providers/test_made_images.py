"""Images that a model made reach clients of the APIs that have a place for them, streamed and whole."""

import json
from typing import Any

import pytest

from providers.apis import CODECS
from providers.grammar import judge
from streams.events import AnswerEnd, AnswerStart, BlockEnd, Event, NativeItem, TextDelta, Usage
from streams.fold import fold
from tests.support.lanes import reply_for

ITEMS: dict[str, Any] = {
    "gemini": {"inlineData": {"mimeType": "image/png", "data": "aGk="}, "thoughtSignature": "c2ln"},
    "interactions": {
        "type": "model_output", "content": [{"type": "image", "mime_type": "image/png", "data": "aGk="}],
    },
    "responses": {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "aGk="},
}  # fmt: skip
PLACES: dict[str, Any] = {
    "chat": {"index": 0, "type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
    "gemini": {"inlineData": {"mimeType": "image/png", "data": "aGk="}},
    "interactions": {"type": "image", "mime_type": "image/png", "data": "aGk="},
}
PAIRS = [(client, provider) for client in PLACES for provider in ITEMS if client != provider]


def answer_of(provider: str) -> list[Event]:
    return [
        AnswerStart("a", "m"), TextDelta(0, "Look:"), BlockEnd(0), NativeItem(1, provider, "image", ITEMS[provider]),
        Usage(input=3, output=4), AnswerEnd("stop"),
    ]  # fmt: skip


def stream_for(client: str, events: list[Event]) -> bytes:
    writer = CODECS[client].writer(reply_for(client))
    return b"".join(map(writer.send, events))


def find_all(value: Any, wanted: Any) -> int:
    """Return how often ``wanted`` is in ``value``."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return int(value == wanted) + sum(find_all(one, wanted) for one in inner)


@pytest.mark.parametrize(("client", "provider"), PAIRS)
def test_a_made_image_is_in_a_whole_answer(client, provider):
    body = CODECS[client].write_answer(fold(answer_of(provider)), reply_for(client))
    assert find_all(json.loads(body), PLACES[client]) == 1


@pytest.mark.parametrize(("client", "provider"), PAIRS)
def test_a_made_image_is_in_a_stream(client, provider):
    out = stream_for(client, answer_of(provider))
    lines = [line.removeprefix(b"data: ") for line in out.splitlines() if line.startswith(b"data: {")]
    assert sum(find_all(json.loads(line), PLACES[client]) for line in lines) == 1
    verdict = judge(client, out)
    assert (verdict.outcome, verdict.broken) == ("complete", None)


@pytest.mark.parametrize("client", CODECS)
@pytest.mark.parametrize("provider", ITEMS)
def test_items_without_an_image_of_their_own_are_left_out(client, provider):
    """Files with an address alone, other media, and calls that made nothing."""
    items = {
        "gemini": {"inlineData": {"mimeType": "audio/wav", "data": "aGk="}},
        "interactions": {"type": "model_output", "content": [{"type": "image", "uri": "https://e.org/a.png"}]},
        "responses": {"type": "image_generation_call", "status": "failed", "result": None},
    }
    plain = [AnswerStart("a", "m"), TextDelta(0, "Hi"), BlockEnd(0), AnswerEnd("stop")]
    events = [*plain[:3], NativeItem(1, provider, "image", items[provider]), plain[3]]
    whole = CODECS[client].write_answer(fold(events), reply_for(client))
    for made in (PLACES["chat"], PLACES["gemini"], PLACES["interactions"]):
        assert find_all(json.loads(whole), made) == 0
    if client != provider:  # its own items pass unchanged
        assert b"aGk=" not in stream_for(client, events)
