"""The memory that a stream holds, whatever its provider sends (CWE-770): the text that is repeated later, and almost
nothing of a stream that only passes."""

import gc
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

import msgspec
import pytest

from gateway.streaming.lane import Lane, read_whole
from gateway.streaming.translation import Translation
from providers.apis import CODECS
from providers.neutral.bounds import BLOCKS, CITATIONS, PARTS
from streams.errors import GatewayError
from streams.fold import fold
from streams.framing import EventTooComplex
from streams.structure import MAX_ELEMENTS
from tests.support.each_row import each_row
from tests.support.growing_streams import STREAMS, wire
from tests.support.lanes import byte_lane, masked_error, reply_for, whole_lane

SENT = 5 * 2**19
"""Bytes that are sent; a stream may hold fewer."""
PASSING = 2**20 + 2**18
"""Bytes that a stream may hold if it passes unchanged."""
KEPT = 2**19
"""Bytes of an answer that may be held if it is repeated later."""
READ = 16 * 1024

HOSTILE = [
    ("chat", "details of many indexes"), ("chat", "details of one index"), ("chat", "details by turns with text"),
    ("chat", "calls without index"), ("chat", "calls without names"), ("chat", "log probabilities without text"),
    ("chat", "citations before a text"), ("messages", "calls without stops"), ("messages", "a signature in pieces"),
    ("messages", "thinking"), ("messages", "arguments of many calls"), ("messages", "citations before a text"),
    ("messages", "arguments of a provider's own tool"), ("messages", "members of a compaction"),
    ("responses", "calls of one index"), ("responses", "messages announced"), ("responses", "text without its item"),
    ("responses", "parts of a message"), ("responses", "citations of a text"), ("responses", "log probabilities"),
]  # fmt: skip


@pytest.fixture(scope="module", params=HOSTILE, ids=[f"{api}: {shape}" for api, shape in HOSTILE])
def hostile(request) -> tuple[str, str]:
    """Return a row. All tests of a row run one after another, because its stream takes long to make."""
    return request.param


def stream(api: str, shape: str) -> Iterator[bytes]:
    """Return the reads of an endless stream, as long as ``SENT``, or those of a single large event."""
    data = endless(api, shape)
    return (data[at : at + READ] for at in range(0, len(data), READ))


@lru_cache(maxsize=1)  # the same for all tests of a row
def endless(api: str, shape: str) -> bytes:
    made = STREAMS[api][shape]
    size = len(wire(api, made(64))) / 64
    return wire(api, made(int(SENT / size))[:-1])


def held_bytes(lane: Lane, reads: Iterator[bytes]) -> int:
    """Return the bytes that ``lane`` holds after ``reads``, without those of code."""
    before = size_of(lane)
    for data in reads:
        lane.feed(data)
    return size_of(lane) - before


def size_of(root: object) -> int:
    known = {id(root)}
    size, found = 0, [root]
    while found:
        one = found.pop()
        size += sys.getsizeof(one)
        for other in gc.get_referents(one):
            if id(other) not in known and not isinstance(other, _CODE):
                known.add(id(other))
                found.append(other)
    return size


_CODE = (type, ModuleType, FunctionType, BuiltinFunctionType, CodeType)


@pytest.mark.slow
def test_a_stream_that_passes_is_not_held(hostile):
    lane = byte_lane(hostile[0])
    assert held_bytes(lane, stream(*hostile)) <= PASSING
    assert lane.progress.error is None or lane.progress.error.message.startswith("the provider sent too many ")


@each_row("api", CODECS)
def test_any_stream_of_usual_length_passes_unchanged(api):
    for shape, made in STREAMS[api].items():
        lane, data = byte_lane(api), wire(api, made(5))
        passed = lane.feed(data) + lane.end()
        if "call" in shape and lane.progress.error is not None:
            assert "arguments that are not a JSON object" in lane.progress.error.message
            continue
        assert (shape, passed) == (shape, data)
        assert lane.progress.end is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    "turn", [pytest.param(at, marks=[pytest.mark.soak] if at else []) for at in range(len(CODECS))]
)
def test_a_stream_that_is_translated_is_held_within_its_bound(hostile, turn):
    """The gate runs one client of each stream, by turns."""
    api, client = hostile[0], [*CODECS][(HOSTILE.index(hostile) + turn) % len(CODECS)]
    writer = CODECS[client].writer(reply_for(client))
    lane = Translation(
        CODECS[api], writer, CODECS["chat"].wire, masked_error, 2**20, max_characters=KEPT, content_limit=KEPT
    )
    assert held_bytes(lane, stream(*hostile)) <= PASSING + 2 * KEPT
    failed = lane.progress.error
    assert failed is None or "too many" in failed.message or "larger than limits.answer" in failed.message


def test_a_stream_of_too_many_blocks_ends_before_its_writer_has_to_list_them():
    writer = CODECS["interactions"].writer(reply_for("interactions"))
    lane = Translation(CODECS["gemini"], writer, CODECS["chat"].wire, masked_error, 2**20)
    lane.feed(wire("gemini", STREAMS["gemini"]["thoughts and text by turns"](BLOCKS)))
    assert lane.progress.error.message == "the provider sent too many blocks in one answer"


@pytest.mark.parametrize("client", ["chat", "gemini", "interactions"])
def test_a_stream_of_too_many_citations_ends_before_its_writer_has_to_list_them(client):
    """A client of Gemini or Interactions gets all of them in one event: 140,000 delayed other streams by 0.4 s."""
    lane = Translation(
        CODECS["chat"], CODECS[client].writer(reply_for(client)), CODECS[client].wire, masked_error, 2**20
    )
    read = wire("chat", STREAMS["chat"]["citations of a text"](CITATIONS + 1))
    lane.feed(read)
    assert lane.progress.error.message == "the provider sent too many citations in one answer"


@pytest.mark.parametrize("client", ["chat", "gemini", "interactions"])
def test_a_stream_with_as_many_citations_as_allowed_is_complete(client):
    lane = Translation(
        CODECS["chat"], CODECS[client].writer(reply_for(client)), CODECS[client].wire, masked_error, 2**20
    )
    lane.feed(wire("chat", STREAMS["chat"]["citations of a text"](CITATIONS)))
    lane.end()
    assert lane.progress.error is None
    assert lane.progress.end is not None


def test_an_event_that_fails_by_its_size_is_not_read_again_as_an_error():
    lane = byte_lane("chat")
    sent = lane.feed(wire("chat", STREAMS["chat"]["calls in one event"](2 * PARTS)))
    assert lane.progress.error is not None
    assert len(sent) < 1_000


@each_row("api", CODECS, every=3)
def test_an_event_that_unfolds_ends_the_stream(api):
    splitter = CODECS[api].wire.framing.splitter(16 * 2**20)
    event = wire(api, [("metadata", {"type": "response.created", "response": {"tools": [[]] * (MAX_ELEMENTS + 1)}})])
    splitter.feed(event[:READ])
    with pytest.raises(EventTooComplex, match="more than 200,000 JSON elements"):
        splitter.feed(event[READ:])
    assert splitter.close() == b""


@each_row("api", CODECS)
def test_the_rest_of_a_stream_is_measured_before_decoding(api):
    rest = b'data: {"type":"message_stop","more":[' + b"[]," * MAX_ELEMENTS + b"0]}"
    assert CODECS[api].wire.framing.complete(rest) == b""


@each_row("api", CODECS)
def test_an_answer_that_unfolds_is_a_failure(api):
    body = b'{"choices":[],"content":[],"output":[],"more":[' + b"[]," * MAX_ELEMENTS + b"0]}"
    with pytest.raises(GatewayError, match="more than 200,000 JSON elements"):
        read_whole(CODECS[api], body)
    lane = whole_lane(api, "chat", 2**26)
    lane.feed(body)
    assert b"JSON elements" in lane.end()


LONG = {
    "chat": {"choices": [{"message": {"content": [{"type": "text", "text": "a"}] * (PARTS + 1)}}]},
    "messages": {"type": "message", "content": [{"type": "text", "text": "a"}] * (PARTS + 1)},
    "responses": {"object": "response", "output": [{"type": "message", "content": []}] * (PARTS + 1)},
    "converse": {"output": {"message": {"content": [{"text": "a"}] * (PARTS + 1)}}, "stopReason": "end_turn"},
    "gemini": {"candidates": [{"content": {"parts": [{"text": "a"}] * (PARTS + 1)}, "finishReason": "STOP"}]},
    "interactions": {"status": "completed", "steps": [{"type": "model_output", "content": []}] * (PARTS + 1)},
}


@each_row("api", CODECS, every=3)
def test_an_answer_of_too_many_parts_is_a_failure(api):
    with pytest.raises(GatewayError, match=r"the provider sent too many .* in one answer") as caught:
        fold(CODECS[api].read_answer(msgspec.json.encode(LONG[api])))
    assert caught.value.info.status == 502
