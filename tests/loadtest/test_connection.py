"""The HTTP/1.1 parser and the connections of the load tester, with data in pieces."""

from itertools import pairwise

import h11
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.wire.connecting import WireError
from loadtest.wire.connection import HEAD, INTERIM, ResponseParser
from tests.support.cases import case
from tests.support.each_row import each_row
from tests.support.examples import examples
from tests.support.timed_wire import TakenAnswer, connection_and_peer

EARLY = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
IN_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n3; a=b\r\n he\r\n0\r\n\r\n"


def parse_pieces(*pieces: bytes) -> tuple[ResponseParser, TakenAnswer]:
    """Parse a response that arrives in these pieces, one per second."""
    answer = TakenAnswer()
    parser = ResponseParser(answer)
    for at, piece in enumerate(pieces, 1):
        try:
            parser.feed(piece, float(at))
        except WireError as error:
            answer.take_end(float(at), error)
            break
        if parser.is_complete:
            answer.take_end(float(at))
            break
    return parser, answer


def cut_at(wire: bytes, *places: int) -> list[bytes]:
    ends = [0, *sorted(place % len(wire) for place in places), len(wire)]
    return [wire[start:end] for start, end in pairwise(ends) if start < end]


@pytest.mark.parametrize(("wire", "content"), [(SIZED, b"hello"), (IN_CHUNKS, b"hi he"), (EARLY + SIZED, b"hello")])
@settings(max_examples=examples(40))
@given(places=st.lists(st.integers(0, 200), max_size=6))
def test_a_response_is_parsed_the_same_however_it_is_split(wire, content, places):
    parser, answer = parse_pieces(*cut_at(wire, *places))
    assert answer.status == 200
    assert answer.content == content
    assert answer.fault is None
    assert answer.ended is not None
    assert parser.is_persistent


def test_the_first_byte_is_the_first_of_the_final_head():
    for pieces, first in [
        ((SIZED[:3], SIZED[3:]), 1.0),
        ((EARLY, SIZED), 2.0),  # a 103 does not count as a byte of the response
        ((EARLY + SIZED[:1], SIZED[1:]), 1.0),
        ((EARLY[:9], EARLY[9:], EARLY, SIZED[:1], SIZED[1:]), 4.0),
    ]:
        with case((pieces, first)):
            _, answer = parse_pieces(*pieces)
            assert answer.first == first


def test_all_data_of_one_read_has_the_time_of_that_read():
    head, body = IN_CHUNKS.split(b"\r\n\r\n", 1)
    pieces = [head + b"\r\n\r\n2\r\n", b"hi\r\n", body[7:]]
    _, answer = parse_pieces(*pieces)
    assert answer.pieces == [(b"hi", 2.0), (b" he", 3.0)]
    assert answer.ended == 3.0


@each_row(
    ("wire", "fault", "detail"),
    [
        (b"220 mail\r\n\r\n", "not http", "it sent b'220 mail'"),
        (b"SSH-2.0-OpenSSH_9\r\n", "not http", "it sent b'SSH-2.0-OpenSSH_9'"),  # no blank line will follow
        (b"<html>", "not http", "it sent b'<html>'"),
        (EARLY * (INTERIM + 1), "not http", "more than 100 interim responses"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * HEAD, "not http", "Receive buffer too long"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\n", "not http", "bad Content-Length"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", "not http", ""),
        (IN_CHUNKS.replace(b"hi", b"hi!"), "not http", "malformed chunk footer"),
        (IN_CHUNKS.replace(b"2\r\n", b"g\r\n"), "not http", "illegal chunk header"),
        (IN_CHUNKS.replace(b"2\r\n", b"fffffffffff\r\n"), "closed", "in the middle of its answer"),
        (b"", "closed", "before its answer"),
        (EARLY, "closed", "in the head of its answer"),
        (SIZED[:20], "closed", "in the head of its answer"),
        (SIZED[:-1], "closed", "in the middle of its answer"),
        (IN_CHUNKS[:-2], "closed", "in the middle of its answer"),
        (IN_CHUNKS[:-5], "closed", "in the middle of its answer"),
        (SIZED.replace(b"Content-Length", b"Content-Encoding: br\r\nContent-Length"), "encoding", "'br'"),
        (SIZED.replace(b"Content-Length", b"Content-Encoding: gzip\r\nContent-Length"), "encoding", "'gzip'"),
    ],
)
def test_an_incomplete_answer_is_reported_however_it_is_split(wire, fault, detail):
    for size in (1, 7, len(wire) or 1):
        if size == 1 and len(wire) > 1000:
            continue
        _, answer = parse_pieces(*(wire[at : at + size] for at in range(0, len(wire), size)), b"")
        assert answer.fault is not None, size
        assert answer.fault.fault == fault, size
        assert detail in answer.fault.detail, size


def test_a_connection_is_reused_when_the_answer_was_read_to_its_end():
    for wire, reusable in [
        (SIZED, True),
        (SIZED + b"x", False),  # the extra byte belongs to no response
        (IN_CHUNKS + b"HTTP/1.1 200 OK\r\n", False),
        (SIZED.replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (SIZED.replace(b"Content-Length", b"Connection: x, Close\r\nContent-Length"), False),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (SIZED[:-1], False),
    ]:
        with case((wire, reusable)):
            parser, _ = parse_pieces(wire)
            assert (parser.is_complete and parser.is_persistent) is reusable


def test_without_a_length_the_close_is_the_end():
    parser, answer = parse_pieces(b"HTTP/1.0 200 OK\r\n\r\nall ", b"of it", b"")
    assert answer.content == b"all of it"
    assert answer.fault is None
    assert answer.ended == 3.0
    assert not parser.is_persistent


@settings(max_examples=examples(60))
@given(body=st.lists(st.binary(min_size=1, max_size=40), max_size=5), places=st.lists(st.integers(0, 400), max_size=5))
def test_a_chunked_body_is_read_as_h11_reads_it(body, places):
    wire = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    wire += b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in body) + b"0\r\n\r\n"
    _, answer = parse_pieces(*cut_at(wire, *places))
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(wire)
    read = b""
    while not isinstance(event := reader.next_event(), h11.EndOfMessage):
        read += bytes(event.data) if isinstance(event, h11.Data) else b""
    assert answer.content == read


async def test_a_connection_takes_one_request_after_the_other():
    connection, far = connection_and_peer()
    for wire, content in ((EARLY + SIZED, b"hello"), (IN_CHUNKS, b"hi he")):
        answer = TakenAnswer()
        await connection.ask(b"x", answer)
        assert not connection.is_reusable
        assert await far.receive_some()
        await far.send_all(wire)
        await answer.over.wait()
        assert answer.content == content
        assert connection.is_reusable
    connection.close()
    await far.aclose()


async def test_an_idle_connection_that_the_server_closes_is_not_used_again():
    connection, far = connection_and_peer()
    answer = TakenAnswer()
    await connection.ask(b"x", answer)
    await far.send_all(SIZED)
    await answer.over.wait()
    await far.aclose()
    with trio.fail_after(30):
        while connection.is_reusable:  # noqa: ASYNC110  # polled, with a deadline
            await trio.lowlevel.checkpoint()


async def test_a_response_before_the_end_of_the_request_counts():
    """A server that rejects a large request responds while it still receives, then closes the connection."""
    connection, far = connection_and_peer()
    answer = TakenAnswer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.ask, bytes(10**7), answer)
        assert await far.receive_some()
        await far.send_all(SIZED.replace(b"200 OK", b"413 Too Large"))
        await answer.over.wait()
        await far.aclose()
    assert answer.status == 413
    connection.close()


def test_errors_describe_the_fault():
    assert str(WireError("closed", "why")) == "closed: why"
