"""Streams whose client or provider uses another framing than the API's own."""

import json
from collections.abc import Sequence

import attrs

from gateway.streaming.lane import reframe_for_client
from gateway.streaming.passthrough import Passthrough
from providers.apis import CODECS
from streams.events import ErrorInfo
from streams.framing import EventSplitter
from streams.sse import SSE
from tests.support.toy_api import FRAMES, frame

LINES = attrs.evolve(FRAMES, comment=b"\n")
CODEC = CODECS["messages"]


class Commas:
    """A writer of one array of all events' data."""

    def __init__(self) -> None:
        self._begun = False

    def event(self, name: str, data: bytes) -> bytes:
        begun, self._begun = self._begun, True
        return (b"," if begun else b"[") + data

    def close(self) -> bytes:
        return b"]" if self._begun else b"[]"


ARRAY = attrs.evolve(LINES, media_type="application/json", content_type="application/json", writer=Commas)

SAID = (
    ("message_start", {"type": "message_start", "message": {"id": "m1", "model": "m", "usage": {"input_tokens": 3}}}),
    ("content_block_start", {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    ("content_block_delta", {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "ü"}}),
    ("content_block_stop", {"type": "content_block_stop", "index": 0}),
    ("message_delta", {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}),
    ("message_stop", {"type": "message_stop"}),
)  # fmt: skip
STREAM = b"".join(b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps(value).encode()) for name, value in SAID)


def passing(source: object = None) -> Passthrough:
    return Passthrough(CODEC, lambda failed: failed, lambda data: data, 2**20, source=source)  # type: ignore[arg-type]


def split(data: bytes, size: int) -> Sequence[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def events(splitter: EventSplitter, data: bytes) -> list[tuple[str, bytes] | None]:
    return [SSE.parse(raw) for raw in splitter.feed(data)]


def test_a_stream_becomes_one_array_however_it_is_split():
    for size in (1, 7, 1000):
        lane = reframe_for_client(passing(), SSE, ARRAY)
        out = b"".join([*(lane.feed(data) for data in split(STREAM, size)), lane.end()])
        assert json.loads(out) == [value for _, value in SAID], size


def test_an_array_is_closed_by_its_error_and_nothing_comes_after_it():
    lane = reframe_for_client(passing(), SSE, ARRAY)
    out = lane.feed(STREAM[: STREAM.index(b"event: message_delta")])
    out += lane.ping() + lane.end(ErrorInfo("upstream", "the connection broke"))
    value = json.loads(out)
    assert value[-1]["error"]["message"] == "the connection broke"
    assert lane.feed(STREAM) + lane.ping() + lane.end() == b""


def test_a_client_of_the_apis_own_framing_has_its_lane_unchanged():
    lane = passing()
    assert reframe_for_client(lane, SSE, SSE) is lane


def test_frames_of_a_platform_become_the_events_of_the_api():
    data = b"".join(frame(name, value) for name, value in SAID)
    for size in (1, 11, 5000):
        lane = passing(FRAMES)
        out = b"".join([*(lane.feed(part) for part in split(data, size)), lane.end()])
        found = events(SSE.splitter(2**20), out)
        assert [(name, json.loads(value)) for name, value in filter(None, found)] == list(SAID), size
        assert lane.progress.over
        assert lane.progress.error is None


def test_frames_that_break_off_end_in_an_error_of_the_api():
    lane = passing(FRAMES)
    out = lane.feed(b"".join(frame(name, value) for name, value in SAID[:3])) + lane.end()
    last = events(SSE.splitter(2**20), out)[-1]
    assert last[0] == "error"
    assert lane.progress.error is not None
