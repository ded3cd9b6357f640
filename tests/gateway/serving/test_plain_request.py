"""Requests that are read in one step: each exactly as h11 and ``request_reader`` read it, or not at all."""

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.serving.plain_request import SHORT_HEAD, PlainReader, PlainRequest, read_plain_request
from gateway.serving.request_reader import MAX_LINES, RequestReader
from tests.support.each_row import each_row

HEAD = b"POST /v1/chat/completions?a=b HTTP/1.1\r\nhost: x\r\nContent-Length: 2\r\nx-a:b\t c\r\n"
PLAIN = HEAD + b"\r\nhi"


def read_by_h11(data: bytes) -> PlainRequest | None:
    """Return the request that ``RequestReader`` reads, if the connection then waits for another one."""
    reader = RequestReader(h11.SERVER)
    reader.receive_data(data)
    request = reader.next_event()
    if not isinstance(request, h11.Request):
        return None
    body = b""
    while isinstance(event := reader.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert reader.their_state is h11.DONE
    assert reader.trailing_data == (b"", False)
    assert not reader.they_are_waiting_for_100_continue
    assert request.http_version == b"1.1"
    return PlainRequest(request.method, request.target, reader.headers, body, 0)


def members(request: PlainRequest | None, rest: bytes = b"") -> object:
    return request.method, request.target, request.headers, request.body + rest


@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        b"GET / HTTP/1.1\r\nhost:\r\n\r\n",
        b"GET /a?b HTTP/1.1\r\nHOST: [::1]:80\r\nConnection: Keep-Alive\r\nempty:  \r\n\r\n",
        b"POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 0002\r\n\r\n\r\n",
    ],
)
def test_plain_requests_are_read_as_by_h11(data):
    assert members(read_plain_request(data)) == members(read_by_h11(data))


@each_row(
    "data",
    [
        HEAD,  # incomplete
        PLAIN + b"G",  # with a part of the next request
        b"\r\n" + PLAIN,
        HEAD + b"transfer-encoding: chunked\r\n\r\nhi",
        HEAD + b"expect: 100-continue\r\n\r\nhi",
        HEAD + b"upgrade: websocket\r\n\r\nhi",
        HEAD + b"connection: close\r\n\r\nhi",
        HEAD + b"connection: keep-alive, upgrade\r\n\r\nhi",
        HEAD + b"content-length: 2\r\n\r\nhi",
        HEAD + b"host: x\r\n\r\nhi",
        HEAD + b" folded\r\n\r\nhi",
        HEAD + b"a : b\r\n\r\nhi",
        HEAD + b": b\r\n\r\nhi",
        HEAD + b"a: \xff\r\n\r\nhi",
        HEAD + b"a: \x00\r\n\r\nhi",
        HEAD + b"a: b\rc: d\r\n\r\nhi",
        HEAD + b"a: b\nc: d\r\n\r\nhi",
        HEAD + b"a: b\x0bc\r\n\r\nhi",
        HEAD + b"\n\r\nhi",
        HEAD + b"a: " + b"b" * SHORT_HEAD + b"\r\n\r\nhi",
        HEAD + b"".join(b"a%d:\r\n" % number for number in range(MAX_LINES)) + b"\r\nhi",
        PLAIN.replace(b"Length: 2", b"Length: +2"),
        PLAIN.replace(b"Length: 2", b"Length: 2, 2"),
        PLAIN.replace(b"Length: 2", b"Length: 0x2"),
        PLAIN.replace(b"Length: 2", b"Length: " + b"0" * 20 + b"2"),
        PLAIN.replace(b"Length: 2", b"Length:"),
        PLAIN.replace(b"host: x", b"host: a@b"),
        PLAIN.replace(b"host: x", b"hosts: x"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN.replace(b"HTTP/1.1", b"HTTP/2.0"),
        PLAIN.replace(b"POST ", b"CONNECT "),
        PLAIN.replace(b"POST ", b"post "),
        PLAIN.replace(b"POST ", b"POST  "),
        PLAIN.replace(b"/v1", b"/v 1"),
        PLAIN.replace(b"\r\n", b"\n"),
        b"",
    ],
)
def test_other_requests_are_left_to_h11(data):
    assert read_plain_request(data) is None


PIECES = st.sampled_from(
    (b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b",", b"\x00", b"\x0b", b"\xa0", b"0", b"2", b"close", b"chunked",
     b"host: x\r\n", b"content-length: 2\r\n", b"transfer-encoding: chunked\r\n", b"connection: close\r\n",
     b"connection: keep-alive\r\n", b"expect: 100-continue\r\n", b"upgrade: x\r\n", b"a: b \r\n", b"a:\x85b\r\n")
)  # fmt: skip


@st.composite
def changed_requests(draw: st.DrawFn) -> bytes:
    """Draw a plain request with a few replaced spans."""
    data = PLAIN
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        data = data[:start] + draw(PIECES | st.binary(max_size=2)) + data[start + draw(st.integers(0, 4)) :]
    return data


@given(changed_requests())
@example(PLAIN)
def test_no_request_is_read_differently_than_by_h11(data):
    if (request := read_plain_request(data)) is not None:
        rest = b"r" * request.missing
        assert members(request, rest) == members(read_by_h11(data + rest))


@given(st.data())
def test_a_body_in_pieces_is_read_as_by_h11(data):
    head, sent = HEAD.replace(b"Length: 2", b"Length: 7") + b"\r\n", b"content" + b"GET /"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=4)))
    first, *pieces = [sent[start:end] for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    plain, full = PlainReader(), RequestReader(h11.SERVER)
    request = plain.read(head + first)
    if request is None:
        assert len(first) > 7
        return
    full.receive_data(head + first)
    assert isinstance(full.next_event(), h11.Request)
    bodies = [request.body, read_rest(full)]
    for piece in pieces:
        for at, reader in enumerate((plain, full)):
            if piece:
                reader.receive_data(piece)
            bodies[at] += read_rest(reader)
        assert bodies[0] == bodies[1]
        assert plain.their_state is full.their_state
        assert plain.trailing_data == full.trailing_data


def read_rest(reader: PlainReader | RequestReader) -> bytes:
    """Return what has arrived of the body."""
    body = b""
    while reader.their_state is h11.SEND_BODY and isinstance(event := reader.next_event(), h11.Data):
        body += event.data
    return body
