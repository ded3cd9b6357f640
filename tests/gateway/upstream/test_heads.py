"""The reader of answers' heads, compared with h11: both accept the same bytes, with the same result."""

import attrs
import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.upstream.heads import MAX_FIELDS, MAX_HEAD, MAX_INTERIM, Head, HeadReader
from tests.support.each_row import each_row
from tests.support.examples import examples


def ours(*pieces: bytes) -> Head | None:
    """Return the gateway's reading of a head, or ``None`` if it is refused or incomplete."""
    reader = HeadReader()
    for i, piece in enumerate(pieces):
        try:
            head = reader.feed(piece)
        except ValueError:
            return None
        if head is not None:
            return Head(**{**attributes(head), "rest": head.rest + b"".join(pieces[i + 1 :])})
    return None


def attributes(head: Head) -> dict[str, object]:
    return {name: getattr(head, name) for name in (field.name for field in attrs.fields(Head))}


def theirs(data: bytes) -> tuple[int, list[tuple[bytes, bytes]], bool, bytes] | None:
    """Return h11's reading: status, headers, whether the connection lasts, and the rest."""
    wire = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    wire.send(h11.Request(method="POST", target="/", headers=[("host", "-"), ("content-length", "0")]))
    wire.send(h11.EndOfMessage())
    wire.receive_data(data)
    try:
        while isinstance(event := wire.next_event(), h11.InformationalResponse):
            pass
    except h11.RemoteProtocolError:
        return None
    if not isinstance(event, h11.Response):
        return None
    return event.status_code, list(event.headers), wire.our_state is h11.DONE, wire.trailing_data[0]


def one_of(*words: bytes) -> st.SearchStrategy[bytes]:
    return st.sampled_from(words)


def concat(*parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(*parts).map(b"".join)


def many(part: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.lists(part, max_size=4).map(b"".join)


FRAMING = one_of(
    b"Content-Length: 5", b"content-length:5, 5", b"content-length: 5, 6", b"content-length: +5", b"content-length: 5 ",
    b"content-length: 123456789012345678901", b"Transfer-Encoding: Chunked", b"transfer-encoding: gzip, chunked",
    b"transfer-encoding: gzip", b"Connection: Keep-Alive, CLOSE", b"connection: close", b"connection: closed",
)  # fmt: skip
NAME = one_of(b"x-a", b"X_a!", b"x a", b"", b"x\0", b":x", b"\xffx", b"x ", b"Content-Length", b"connection")
VALUE = one_of(b"", b" ", b" a", b"a ", b"\ta b\t", b"a\0", b"a\1b", b"a\x7f", b"\xff", b"a\x0bb", b"a:b", b"a\rb",
               b"5", b"a\x0cb", b"a\x85b", b"\xa0")  # fmt: skip
LINE_END = one_of(b"\r\n", b"\r\n", b"\n", b"\r\r\n", b"\r\n ", b"\n\t ", b"\r")
LINE = concat(st.one_of(FRAMING, concat(NAME, one_of(b":", b": ", b" :", b""), VALUE)), LINE_END)
STATUS = concat(
    one_of(b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.10", b"HTTP/2.0", b"http/1.1", b"HTTP/1.", b" HTTP/1.1"),
    one_of(b" ", b"  ", b""),
    one_of(b"200", b"204", b"429", b"099", b"100", b"101", b"103", b"20", b"2000", b"2x0"),
    one_of(b"", b" ", b" OK", b" Not Found", b" a\tb", b" \0", b" \xff", b"OK", b" a\x0bb", b"\t"),
    LINE_END,
)
ODD = concat(STATUS, many(LINE), one_of(b"\r\n", b"\n", b"\r\n\r\n"))
GOOD = concat(
    one_of(b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 404\r\n", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 \r\n"),
    many(concat(st.one_of(FRAMING, one_of(b"x-a: b", b"X-B:", b"x:\ta b ")), one_of(b"\r\n", b"\n", b"\r\n "))),
    one_of(b"\r\n"),
)


@settings(max_examples=examples(250))
@given(st.one_of(GOOD, ODD, st.binary(max_size=60)), st.binary(max_size=5), st.data())
def test_the_reader_accepts_the_same_heads_as_h11(head, rest, data):
    whole = head + rest
    cut = data.draw(st.integers(0, len(whole)))
    found, told = ours(whole[:cut], whole[cut:]), theirs(whole)
    assert (None if found is None else (found.status, list(found.headers), found.lasts, found.rest)) == told


@given(GOOD)
def test_a_head_parses_the_same_in_pieces_of_one_byte(head):
    assert ours(*(head[i : i + 1] for i in range(len(head)))) == ours(head)


@each_row(
    ("headers", "length", "chunked"),
    [
        (b"", None, False), (b"content-length: 5\r\n", 5, False),
        (b"content-length: 5\r\nContent-Length: 5\r\n", 5, False), (b"transfer-encoding: Chunked\r\n", None, True),
    ],
)  # fmt: skip
def test_the_framing_follows_from_the_headers(headers, length, chunked):
    head = ours(b"HTTP/1.1 200 OK\r\n" + headers + b"\r\nbody")
    assert (head.length, head.chunked, head.rest) == (length, chunked, b"body")


@pytest.mark.parametrize("line", [b"x-a: b\r\n", b"\r\n ", b" " * 100])
def test_a_head_without_end_is_refused_before_it_fills_the_memory(line):
    reader = HeadReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\nx: y" + line * (MAX_HEAD // len(line) - 10)) is None
    with pytest.raises(ValueError, match="too large"):
        reader.feed(line * 20)


def test_the_final_response_follows_interim_ones():
    head = ours(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 OK\r\n", b"\r\n")
    assert (head.status, head.headers) == (200, ())


@each_row("first", [b"\x16\x03\x01", b"\r\n", b"\n", b" HTTP/1.1"])
def test_an_invalid_status_line_is_refused_at_its_first_byte(first):
    with pytest.raises(ValueError, match=r"it does not begin with a status line|it is TLS"):
        HeadReader().feed(first)


def test_the_number_of_skipped_interim_answers_is_bounded():
    """nodejs/undici and Go's net/http (GO-2024-2963) bound them, too: each costs a pass and carries no information."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\n\r\n"
    head = HeadReader().feed(interim * MAX_INTERIM + answer)
    assert head.status == 200
    with pytest.raises(ValueError, match="too many interim responses"):
        HeadReader().feed(interim * (MAX_INTERIM + 1) + answer)


@pytest.mark.parametrize("line", [b"x: y\r\n", b"content-length: 5\r\n"])
def test_headers_are_counted_before_they_are_read(line):
    answer = b"HTTP/1.1 200 OK\r\n"
    assert HeadReader().feed(answer + line * MAX_FIELDS + b"\r\n") is not None
    with pytest.raises(ValueError, match="too many headers"):
        HeadReader().feed(answer + line * (MAX_FIELDS + 1) + b"\r\n")
