"""The gateway removes an event of token counts that the client has not requested, and nothing else: wherever reads end,
the client gets the provider's other events byte for byte, with their own line ends."""

import json
from typing import Any

import pytest

from gateway.relay.answers import NullReader, PassedAnswer
from gateway.streaming.passthrough import Passthrough
from providers.apis import CODECS
from tests.support.each_row import each_row
from tests.support.lanes import clean, masked_error


def event(value: Any, end: bytes) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + end * 2


HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def stream(end: bytes) -> tuple[bytes, bytes]:
    """Return a stream with line ends of that kind, and the same stream without its counts."""
    before = (
        event({**HEAD, "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}, end)
        + event({**HEAD, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, end)
        + b": a comment" + end * 2
    )  # fmt: skip
    counts, after = event({**HEAD, "choices": [], "usage": USAGE}, end), event(b"[DONE]", end)
    return before + counts + after, before + after


def conversation(pieces: list[bytes]) -> bytes:
    lane = Passthrough(CODECS["chat"], masked_error, clean, 2**20, hides_usage=True)
    out = b"".join(map(lane.feed, pieces))
    out += lane.end()
    assert lane.progress.usage.output == 2
    return out + lane.trailing_bytes()


def endpoint(pieces: list[bytes]) -> bytes:
    passed = PassedAnswer(NullReader(), 2**20, CODECS["chat"].is_usage_alone)
    passed.head(200, (("content-type", "text/event-stream"),))
    return b"".join(map(passed.take, pieces)) + passed.close()


@pytest.mark.parametrize("end", [b"\r\n", *(pytest.param(end, marks=pytest.mark.soak) for end in (b"\n", b"\r"))])
@each_row("way", [conversation, endpoint])
def test_every_reader_accepts_a_stream_in_any_pieces(way: Any, end: bytes):
    whole, expected = stream(end)
    for size in (1, 2, 3, 5):
        assert way([whole[at : at + size] for at in range(0, len(whole), size)]) == expected, size
    for at in range(len(whole) + 1):
        assert way([whole[:at], whole[at:]]) == expected, at
    for at in range(len(whole) - 1):
        assert way([whole[:at], whole[at : at + 1], whole[at + 1 :]]) == expected, at


@pytest.mark.parametrize("way", [conversation, endpoint])
def test_a_read_may_end_before_and_after_the_counts(way: Any):
    whole, expected = stream(b"\r\n")
    begin = whole.index(b"data", whole.index(b"a comment"))
    over = whole.index(b"data: [DONE]")
    for first in range(begin - 5, begin + 2):
        for second in range(over - 5, over + 2):
            assert way([whole[:first], whole[first:second], whole[second:]]) == expected, (first, second)
