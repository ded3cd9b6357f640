"""The end of an answer's body, however the network splits its bytes."""

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.sockets import READ
from gateway.upstream.framing import LONG_READ, MAX_LINE, BodyFraming, Chunked, ChunkTooLarge, Sized, UntilClosed
from gateway.upstream.http11 import PIECE, WireRequest
from tests.support.each_row import each_row

PIECES = st.lists(st.binary(min_size=1, max_size=300), max_size=8)


def encode_chunked(pieces: list[bytes], extension: bytes = b"", trailers: bytes = b"") -> bytes:
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces)
    return body + b"0" + extension + b"\r\n" + trailers + b"\r\n"


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True) if start < end]


def feed(framing: BodyFraming, reads: list[bytes]) -> bytes:
    return b"".join(map(framing.feed, reads))


@given(PIECES, st.lists(st.integers(0), max_size=40), st.sampled_from([b"", b";a=b", b"  "]))
def test_chunks_are_split_the_same_at_any_network_boundary(pieces, places, extension):
    framing = Chunked()
    assert feed(framing, cut(encode_chunked(pieces, extension, b"x-a: 1\r\nx-b: 2\r\n"), places)) == b"".join(pieces)
    assert (framing.over, framing.extra) == (True, False)


@given(PIECES, st.lists(st.integers(0), max_size=10), st.data())
def test_a_body_that_is_cut_is_never_over(pieces, places, data):
    whole = encode_chunked(pieces)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    framing = Chunked()
    assert b"".join(pieces).startswith(feed(framing, cut(part, places)))
    framing.close()
    assert not framing.over


@given(st.binary(max_size=400), st.lists(st.integers(0), max_size=10))
def test_any_input_is_read_or_refused(data, places):
    framing = Chunked()
    try:
        body = feed(framing, cut(data, places))
    except ValueError:
        return
    assert len(body) <= len(data)


NO_CHUNKS = [
    b"5\r\nhelloX\r\n", b"5\r\nhello\rX", b"-5\r\n", b"+5\r\n", b"0x5\r\n", b"5_0\r\n", b"\r\n", b" 5\r\n",
    b"5 5\r\n", b"1" * 17 + b"\r\n", b"5\n\r\n", b"1" * (MAX_LINE + 1), b"0\r\n" + b"x" * MAX_LINE,
]  # fmt: skip
BEGUN = [b"f" * 17, b"xyz", b"5 5", b"0x", b"\r"]
CONTROLS = [
    b"2;a" + control + more + b"\r\nab\r\n0\r\n\r\n"
    for control in (b"\r", b"\x00", b"\x0b", b"\n", b"\x7f")
    for more in (b"", b"x" * 40)
]


@each_row(
    ("data", "words"),
    [
        *((data, "chunk") for data in NO_CHUNKS),
        *((data, "length of a chunk is not a number") for data in BEGUN),  # before its line ends
        *((data, "is not a number|too long|cannot") for data in CONTROLS),  # in an extension
    ],
)
def test_an_invalid_chunk_is_refused(data, words):
    with pytest.raises(ValueError, match=words):
        Chunked().feed(data)


@each_row("declared", [b"3e9\r\n", b"3e9", b"fffffffff", b"ffffffffffffffff\r\n", b"3e9;a=b\r\nx"])
def test_a_chunk_with_a_size_above_the_limit_is_refused_before_its_bytes_arrive(declared):
    with pytest.raises(ChunkTooLarge):
        Chunked(1000).feed(declared)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_body_may_be_longer_than_any_of_its_chunks(size):
    wire = encode_chunked([bytes(1000)] * 5)
    framing = Chunked(1000)
    assert feed(framing, [wire[at : at + size] for at in range(0, len(wire), size)]) == bytes(5000)
    assert framing.over


def test_chunks_with_long_extensions_are_read_and_not_remembered():
    framing = Chunked()
    tracemalloc.start()
    try:
        for i in range(500):
            assert framing.feed(b"2;%b%d\r\nab\r\n" % (b"x" * 10_000, i)) == b"ab"
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()
    with pytest.raises(ValueError, match="too long"):
        framing.feed(b"2;%b\r\nab\r\n" % (b"x" * MAX_LINE))


@pytest.mark.parametrize(("framing", "data"), [(Chunked(), encode_chunked([b"ab"])), (Sized(2), b"ab")])
def test_data_after_the_body_is_not_part_of_it(framing, data):
    assert framing.feed(data + b"HTTP/1.1 200 OK\r\n") == b"ab"
    assert (framing.over, framing.extra) == (True, True)


@given(st.binary(max_size=300), st.lists(st.integers(0), max_size=10))
def test_a_body_with_a_length_is_over_with_its_last_byte(body, places):
    framing = Sized(len(body))
    assert framing.over is (not body)
    assert feed(framing, cut(body, places)) == body
    assert (framing.over, framing.extra) == (True, False)


def test_no_read_of_a_body_allocates_more_than_its_length():
    framing = Sized(2 * LONG_READ)
    steps = [framing.step]
    for size in (LONG_READ, READ, LONG_READ - READ - 1, 1):
        framing.feed(bytes(size))
        steps.append(framing.step)
    assert steps == [LONG_READ, LONG_READ, LONG_READ - READ, READ, READ]


def test_a_body_without_length_is_over_with_its_connection():
    framing = UntilClosed()
    assert framing.feed(b"ab") == b"ab"
    assert not framing.over
    framing.close()
    assert framing.over


# The bytes of requests to a provider


@each_row("size", [0, 9, PIECE, PIECE + 1, 5 * PIECE])
def test_a_large_body_is_written_in_pieces_that_are_not_copied(size):
    """One call of OpenSSL takes its whole input."""
    body = bytes(range(256)) * (size // 256 + 1)
    request = WireRequest(b"POST", b"/v1", ((b"host", b"h"),), body[:size], 1)
    pieces = request.wire()
    assert b"".join(pieces) == b"POST /v1 HTTP/1.1\r\nhost: h\r\n\r\n" + body[:size]
    assert all(len(piece) <= PIECE + 100 for piece in pieces)
    assert len(pieces) == 1 or all(isinstance(piece, memoryview) for piece in pieces[1:])
