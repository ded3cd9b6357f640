"""Frames of Amazon's event streams: the same verified frames from bytes in any pieces.

Sources: "Event stream encoding" of the Smithy specification; botocore.eventstream, if installed.
"""

import itertools
import json
import struct
import uuid
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import event_stream
from streams.event_stream import ERROR, EVENT_STREAM, EXCEPTION, ChecksumError, FrameSplitter
from streams.framing import EventTooComplex, EventTooLarge, FramingError
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.growth import Work, assert_steps_grow_linearly
from tests.support.recordings import ABSENT, CORPUS

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
SHORT = st.integers(-(2**15), 2**15 - 1)
VALUES = st.one_of(
    st.booleans().map(lambda value: (b"\x00" if value else b"\x01", value)),
    st.integers(-128, 127).map(lambda value: (struct.pack(">Bb", 2, value), value)),
    SHORT.map(lambda value: (struct.pack(">Bh", 3, value), value)),
    st.integers(-(2**31), 2**31 - 1).map(lambda value: (struct.pack(">Bi", 4, value), value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: (struct.pack(">Bq", 5, value), value)),
    st.binary(max_size=40).map(lambda value: (struct.pack(">BH", 6, len(value)) + value, value)),
    TEXTS.map(lambda value: (struct.pack(">BH", 7, len(value.encode())) + value.encode(), value)),
    st.integers(0, 2**62).map(lambda value: (struct.pack(">Bq", 8, value), value)),
    st.uuids().map(lambda value: (b"\x09" + value.bytes, value)),
)
"""Values of headers of every type, with their bytes."""


def build_frame(headers: bytes, payload: bytes) -> bytes:
    """Build a frame as in the specification."""
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    content = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return content + struct.pack(">I", zlib.crc32(content))


def header(name: str, value: bytes) -> bytes:
    return struct.pack("B", len(name.encode())) + name.encode() + value


FRAMES = st.builds(
    lambda said, payload: build_frame(b"".join(header(name, value) for name, (value, _) in said.items()), payload),
    st.dictionaries(st.sampled_from((":event-type", "a", "é")), VALUES, max_size=2),
    st.binary(max_size=60),
)
SAMPLE = (
    event_stream.event_frame("messageStart", b'{"role":"assistant"}'),
    event_stream.event_frame("contentBlockDelta", '{"delta":{"text":"é€😀"},"contentBlockIndex":0}'.encode()),
    build_frame(b"", b""),
    event_stream.exception_frame("throttlingException", b'{"message":"Too many requests"}'),
)


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def split(pieces: Sequence[bytes], limit: int = 2**24) -> list[bytes]:
    splitter = FrameSplitter(limit)
    frames = [frame for piece in pieces for frame in splitter.feed(piece)]
    assert splitter.close() == b""
    return frames


# Splitting


@given(st.lists(FRAMES, max_size=3), st.lists(st.integers(0, 300), max_size=6))
def test_frames_in_any_pieces_are_the_same_frames(frames, places):
    assert split(cut(b"".join(frames), places)) == frames


def test_a_frame_is_returned_by_the_read_that_completes_it():
    splitter = FrameSplitter()
    first, second = SAMPLE[:2]
    assert splitter.feed(first[:-1]) == []
    assert splitter.feed(first[-1:] + second[:5]) == [first]
    assert splitter.feed(b"") == []
    assert splitter.close() == second[:5]
    assert splitter.close() == b""


def test_half_a_frame_is_never_completed():
    splitter = FrameSplitter()
    splitter.feed(SAMPLE[0][:-1])
    assert EVENT_STREAM.complete(splitter.close()) == b""


@given(FRAMES, st.data())
def test_one_wrong_bit_anywhere_is_detected(frame, data):
    """The reader verifies the prelude's checksum before it uses a length, and the frame's before the payload."""
    place = data.draw(st.integers(0, len(frame) - 1))
    wrong = bytearray(frame)
    wrong[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(ChecksumError):
        FrameSplitter().feed(bytes(wrong))


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=4))
def test_arbitrary_bytes_raise_only_framing_errors(data, places):
    splitter = FrameSplitter(100)
    try:
        frames = [frame for piece in cut(data, places) for frame in splitter.feed(piece)]
    except FramingError:
        return
    assert b"".join([*frames, splitter.close()]) == data


def test_contradictory_lengths_are_rejected():
    for size, headers in ((15, 0), (16, 1), (0, 0), (100, 85)):
        lengths = struct.pack(">II", size, headers)
        with pytest.raises(FramingError, match="contradict"):
            FrameSplitter().feed(lengths + struct.pack(">I", zlib.crc32(lengths)))


def test_a_frame_above_the_limit_is_rejected_after_its_first_bytes():
    frame = build_frame(b"", b"x" * 84)
    assert split([frame], limit=100) == [frame]
    with pytest.raises(EventTooLarge):
        FrameSplitter(99).feed(frame[:12])


def test_the_limit_applies_to_one_frame_not_to_the_stream():
    assert len(split([SAMPLE[0] * 100], limit=len(SAMPLE[0]))) == 100


def test_a_frame_that_expands_too_much_is_rejected():
    with pytest.raises(EventTooComplex):
        FrameSplitter().feed(event_stream.event_frame("metadata", b"[" + b"[]," * 210_000 + b"1]"))


@each_row("size", [3, 50, 4096])
def test_splitting_takes_linear_time(size):
    def small_frames(n: int) -> Work:
        data = SAMPLE[1] * n
        return lambda: split([data[at : at + size] for at in range(0, len(data), size)])

    def one_frame(n: int) -> Work:
        data = build_frame(b"", b"x" * (size * n))
        return lambda: split([data[at : at + size] for at in range(0, len(data), size)])

    assert_steps_grow_linearly(small_frames)
    assert_steps_grow_linearly(one_frame)


# Reading


@given(st.dictionaries(NAMES, VALUES, max_size=6), st.binary(max_size=60))
def test_headers_of_every_type_are_read(said, payload):
    raw = build_frame(b"".join(header(name, value) for name, (value, _) in said.items()), payload)
    assert event_stream.read_headers(raw) == {name: value for name, (_, value) in said.items()}
    assert event_stream.read_payload(raw) == payload


def test_the_name_of_an_event_is_its_type():
    assert event_stream.parse(SAMPLE[0]) == ("messageStart", b'{"role":"assistant"}')
    assert event_stream.parse(build_frame(b"", b"{}")) == ("", b"{}")


def test_failures_within_a_stream_have_their_own_name():
    """Other gateways skipped failures as unknown events, and reported half an answer as a whole one
    (aaif-goose/goose#9579, crmne/ruby_llm#871)."""
    for headers, payload, name, said in [
        (
            {":message-type": "exception", ":exception-type": "throttlingException"},
            b'{"message":"slow down","originalStatusCode":429}',
            EXCEPTION,
            {"type": "throttlingException", "message": "slow down", "originalStatusCode": 429},
        ),
        (
            {":message-type": "exception", ":exception-type": "x", ":event-type": "messageStop"},
            b"no JSON",
            EXCEPTION,
            {"type": "x", "message": "no JSON"},
        ),
        (
            {":message-type": "exception"},
            b'{"type":"a","kind":"b"}',
            EXCEPTION,
            {"type": "", "message": "", "kind": "b"},
        ),
        (
            {":message-type": "error", ":error-code": "InternalFailure", ":error-message": "An internal error"},
            b"",
            ERROR,
            {"type": "InternalFailure", "message": "An internal error"},
        ),
        ({":message-type": "new kind", ":event-type": "messageStop"}, b"{}", ERROR, {"type": "", "message": ""}),
    ]:  # fmt: skip
        with case((headers, payload, name, said)):
            found, data = event_stream.parse(event_stream.build_frame(headers, payload)) or ("", b"")
            assert (found, json.loads(data)) == (name, said)


def test_a_frame_with_invalid_headers_is_a_failure():
    for block in [
        header("a", b"\x0a"),  # an unknown type
        header("a", b"\x07\x00\x09x"),  # a text longer than the headers
        header("a", b"\x09short"),
        b"\x05ab",
        b"\xff",
        header("a", b"\x04\x00\x00"),
    ]:
        with case(block):
            name, data = event_stream.parse(build_frame(block, b"{}")) or ("", b"")
            assert name == ERROR
            assert "headers" in json.loads(data)["message"]


@given(st.binary(max_size=80), st.binary(max_size=20))
def test_headers_of_arbitrary_bytes_raise_no_exception(block, payload):
    raw = build_frame(block, payload)
    assert event_stream.parse(raw) is not None
    assert split([raw]) == [raw]


# Writing


@given(st.dictionaries(NAMES, TEXTS, max_size=4), st.binary(max_size=60))
def test_a_written_frame_reads_back(headers, payload):
    raw = event_stream.build_frame(headers, payload)
    assert split([raw]) == [raw]
    assert event_stream.read_headers(raw) == headers
    assert event_stream.read_payload(raw) == payload


def test_a_changed_frame_keeps_its_headers_and_has_valid_checksums():
    said = header("id", b"\x09" + uuid.UUID(int=7).bytes) + header("no", b"\x01")
    raw = EVENT_STREAM.change_payload(build_frame(said, b'{"a":1}'), lambda payload: payload.replace(b"1", b"100"))
    assert raw == build_frame(said, b'{"a":100}')


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.binary(max_size=60))
def test_frames_are_read_as_by_the_vendors_own_parser(said, payload):
    botocore = pytest.importorskip("botocore.eventstream")
    raw = build_frame(b"".join(header(name, value) for name, (value, _) in said.items()), payload)
    buffer = botocore.EventStreamBuffer()
    buffer.add_data(raw)
    (message,) = list(buffer)
    assert message.payload == event_stream.read_payload(raw)
    read = event_stream.read_headers(raw) or {}
    assert message.headers == {name: as_botocore(value) for name, value in read.items()}


def as_botocore(value: Any) -> Any:
    return value.bytes if isinstance(value, uuid.UUID) else value


# Remarks


def test_a_frame_without_remarks_has_only_the_headers_that_clients_read():
    """No check sees the others."""
    text = struct.pack(">BH", 7, 9) + b"falcon-77"
    known = event_stream.event_frame("messageStop", b'{"stopReason":"end_turn"}')
    headers = known[12 : 12 + int.from_bytes(known[4:8], "big")]
    for remark in (header("x-note", text), header(":error-message", text), header("flag", b"\x00")):
        raw = build_frame(headers + remark, b'{"stopReason":"end_turn"}')
        assert EVENT_STREAM.without_remarks(raw, *EVENT_STREAM.parse(raw)) == known
    for raw in (*SAMPLE, event_stream.exception_frame("ThrottlingException", b"{}")):
        assert EVENT_STREAM.without_remarks(raw, *EVENT_STREAM.parse(raw)) == raw


# Recorded streams


STREAMS = sorted((CORPUS / "bedrock_converse").glob("*.eventstream"))


@pytest.mark.skipif(not STREAMS, reason=ABSENT)
def test_recorded_streams_are_read_like_their_decoded_copies():
    for file in STREAMS:
        lines = Path(str(file).replace(".eventstream", ".events.jsonl")).read_text(encoding="utf-8").splitlines()
        decoded = [json.loads(line) for line in lines]
        data = file.read_bytes()
        for size in (1, 7, 61, 4096, len(data)):
            frames = split([data[at : at + size] for at in range(0, len(data), size)])
            assert b"".join(frames) == data, (file.name, size)
        assert [event_stream.read_headers(raw) for raw in frames] == [one["headers"] for one in decoded], file.name
        payloads = [json.loads(event_stream.read_payload(raw)) for raw in frames]
        assert payloads == [one["payload"] for one in decoded], file.name
