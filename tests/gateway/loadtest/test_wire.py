"""The HTTP of the load tester, fed in pieces."""

from itertools import pairwise

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from gateway.loadtest.wire import Broken, Chunked, Connection, Head


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.lists(st.integers(0, 10**6), max_size=12))
def test_chunks_are_put_together_wherever_they_are_cut(chunks, cuts):
    wire = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(one), one) for one in chunks) + b"0\r\nx-trailer: 1\r\n\r\n"
    framing = Chunked()
    found = b"".join(framing.feed(piece) for piece in in_pieces(wire, cuts))
    assert found == b"".join(chunks)
    assert framing.ended


@pytest.mark.parametrize("wire", [b"\r\n", b"-1\r\n", b"g\r\n", b"3\r\nabcd\r\n", b"3\r\nabc\n\n", b"f" * 16 + b"\r\n"])
def test_bad_chunks_are_refused(wire):
    with pytest.raises(Broken, match="not http"):
        Chunked().feed(wire)


EARLY = b"HTTP/1.1 103 Early Hints\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
IN_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_answers_are_read_one_after_the_other_whatever_the_pieces(size):
    near, far = trio.testing.memory_stream_pair()
    connection = Connection(near)

    async def write(wire):
        for start in range(0, len(wire), size):
            await far.send_all(wire[start : start + size])
            await trio.testing.wait_all_tasks_blocked()

    for wire, content in ((EARLY + SIZED, b"hello"), (IN_CHUNKS, b"hi")):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, wire)
            assert await answered(connection) == content
        assert connection.reusable
    await connection.aclose()


async def test_a_connection_with_a_request_under_way_is_not_to_be_used_again():
    near, far = trio.testing.memory_stream_pair()
    connection = Connection(near)
    await far.send_all(SIZED)
    await answered(connection)
    await connection.send(b"another request")
    assert not connection.reusable


async def answered(connection: Connection) -> bytes:
    assert (await connection.head()).status == 200
    parts = []
    while (piece := await connection.body()) is not None:
        parts.append(piece)
    return b"".join(parts)


async def test_without_a_length_the_close_is_the_end_and_the_connection_is_not_used_again():
    near, far = trio.testing.memory_stream_pair()
    await far.send_all(b"HTTP/1.0 200 OK\r\n\r\nall of it")
    await far.aclose()
    connection = Connection(near)
    assert await answered(connection) == b"all of it"
    assert not connection.reusable


def test_a_head_that_is_no_http_is_named():
    with pytest.raises(Broken, match="it answered b'220 mail'"):
        Head.of(b"220 mail")
