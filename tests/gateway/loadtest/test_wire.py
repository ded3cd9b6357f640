"""The HTTP of the load tester, fed in pieces."""

import pytest
import trio
import trio.testing

from gateway.loadtest.wire import HEAD, TimedConnection, WireError

EARLY = b"HTTP/1.1 103 Early Hints\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
IN_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_answers_are_read_one_after_the_other_whatever_the_pieces(size):
    near, far = trio.testing.memory_stream_pair()
    connection = TimedConnection(near)

    async def write(wire):
        for start in range(0, len(wire), size):
            await far.send_all(wire[start : start + size])
            await trio.testing.wait_all_tasks_blocked()

    for wire, content in ((EARLY + SIZED, b"hello"), (IN_CHUNKS, b"hi")):
        await connection.send(b"a request")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write, wire)
            assert await answered(connection) == content
        assert connection.reusable
    await connection.aclose()


async def test_a_connection_with_a_request_under_way_is_not_to_be_used_again():
    near, far = trio.testing.memory_stream_pair()
    connection = TimedConnection(near)
    await connection.send(b"a request")
    await far.send_all(SIZED)
    await answered(connection)
    await connection.send(b"another request")
    assert not connection.reusable


async def answered(connection: TimedConnection) -> bytes:
    assert (await connection.head()).status == 200
    parts = []
    while (piece := await connection.body()) is not None:
        parts.append(piece)
    return b"".join(parts)


async def test_without_a_length_the_close_is_the_end_and_the_connection_is_not_used_again():
    near, far = trio.testing.memory_stream_pair()
    connection = TimedConnection(near)
    await connection.send(b"a request")
    await far.send_all(b"HTTP/1.0 200 OK\r\n\r\nall of it")
    await far.aclose()
    assert await answered(connection) == b"all of it"
    assert not connection.reusable


@pytest.mark.parametrize(
    ("wire", "fault", "detail"),
    [
        (b"220 mail\r\n\r\n", "not http", "it answered b'220 mail'"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * HEAD, "not http", "a line of its answer has no end"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\n", "not http", "it answered b'HTTP/1.1 200 OK'"),
        (IN_CHUNKS.replace(b"hi", b"hi!"), "not http", ""),
        (IN_CHUNKS.replace(b"2\r\n", b"g\r\n"), "not http", "illegal chunk header"),
        (b"", "closed", "before its answer"),
        (SIZED[:20], "closed", "in the head of its answer"),
        (SIZED[:-1], "closed", "in the middle of its answer"),
        (IN_CHUNKS[:-2], "closed", "in the middle of its answer"),
        (SIZED.replace(b"Content-Length", b"Content-Encoding: br\r\nContent-Length"), "encoding", "'br'"),
    ],
)
async def test_what_is_no_whole_answer_is_named(wire, fault, detail):
    near, far = trio.testing.memory_stream_pair()
    connection = TimedConnection(near)
    await connection.send(b"a request")
    await far.send_all(wire)
    await far.aclose()
    with pytest.raises(WireError) as caught:
        await answered(connection)
    assert caught.value.fault == fault
    assert detail in caught.value.detail
    assert not connection.reusable
