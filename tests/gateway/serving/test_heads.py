"""The head of an HTTP/1.1 answer and the framing of its body (RFC 9112, sections 6 and 9.6), read back with h11."""

from wsgiref.handlers import format_date_time

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.serving.heads import UNKNOWN, RequestLine, ResponseWriter, date_line
from tests.support.each_row import each_row

JSON = (b"content-type", b"application/json")
GET = RequestLine(b"GET", b"1.1", closes=False)


def length(size: int) -> tuple[bytes, bytes]:
    return b"content-length", b"%d" % size


def read(answer: ResponseWriter, *pieces: bytes, method: str = "GET") -> tuple[h11.Response, bytes, object]:
    """Return the response with a body of ``pieces`` as a client reads it: its head, its body, and whether another may
    follow (h11's state of the server)."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
    client.send(h11.EndOfMessage())
    client.receive_data(b"".join([answer.head, *map(answer.frame, pieces), answer.end()]))
    if answer.closes:
        client.receive_data(b"")
    head, body = client.next_event(), b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return head, body, client.their_state


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_a_body_of_unknown_length_goes_in_chunks(pieces):
    head, body, state = read(ResponseWriter(GET, 200, [JSON]), *pieces)
    assert (head.status_code, body, state) == (200, b"".join(pieces), h11.DONE)
    assert dict(head.headers)[b"transfer-encoding"] == b"chunked"


@given(st.lists(st.binary(max_size=40), max_size=5))
def test_a_body_of_known_length_goes_unchanged(pieces):
    size = sum(map(len, pieces))
    head, body, state = read(ResponseWriter(GET, 404, [JSON, length(size)]), *pieces)
    assert (head.status_code, body, state) == (404, b"".join(pieces), h11.DONE)
    assert b"transfer-encoding" not in dict(head.headers)


@pytest.mark.parametrize("asked", [RequestLine(b"GET", b"1.0", closes=True), UNKNOWN])
def test_an_http_1_0_client_gets_the_body_until_the_connection_closes(asked):
    head, body, _ = read(ResponseWriter(asked, 200, [JSON]), b"a", b"b")
    assert body == b"ab"
    assert dict(head.headers)[b"connection"] == b"close"


@pytest.mark.parametrize("headers", [[JSON], [JSON, length(5)]])
def test_a_head_request_gets_the_framing_and_no_body(headers):
    answer = ResponseWriter(RequestLine(b"HEAD", b"1.1", closes=False), 200, headers)
    head, body, state = read(answer, b"hello", method="HEAD")
    assert (body, state) == (b"", h11.DONE)
    assert {b"content-length", b"transfer-encoding"} & set(dict(head.headers))


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_have_none(status):
    head, body, state = read(ResponseWriter(GET, status, []), b"hello")
    assert (body, state) == (b"", h11.DONE)
    assert not {b"content-length", b"transfer-encoding"} & set(dict(head.headers))


@each_row(
    ("version", "connection", "closes"),
    [
        (b"1.1", None, False), (b"1.1", b"close", True), (b"1.1", b"Keep-Alive, CLOSE", True),
        (b"1.1", b"keep-alive", False), (b"1.0", None, True), (b"1.0", b"keep-alive", True), (b"1.1", b"closed", False),
    ],
)  # fmt: skip
def test_the_connection_ends_where_the_client_wants_it_or_knows_no_better(version, connection, closes):
    asked = RequestLine.of(b"GET", version, [] if connection is None else [(b"connection", connection)])
    head, _, _ = read(ResponseWriter(asked, 200, [length(1)]), b"x")
    assert (dict(head.headers).get(b"connection") == b"close") == closes


def test_the_app_may_end_the_connection_once():
    head, _, _ = read(ResponseWriter(GET, 413, [length(1), (b"connection", b"close"), (b"connection", b"close")]), b"x")
    assert [value for name, value in head.headers if name == b"connection"] == [b"close"]


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\rb", b"\r\n\r\nbody", b"a\r\n"])
def test_a_header_cannot_break_out_of_its_line(value):
    with pytest.raises(ValueError, match="line break"):
        ResponseWriter(GET, 200, [(b"x-one", value)])


def test_no_byte_exceeds_the_declared_length():
    assert b"".join(map(ResponseWriter(GET, 200, [length(3)]).frame, (b"ab", b"cd", b"ef"))) == b"abc"


def test_an_answer_shorter_than_declared_ends_the_connection():
    answer = ResponseWriter(GET, 200, [length(3)])
    answer.frame(b"ab")
    assert not answer.closes
    answer.end()
    assert answer.closes


def test_every_answer_has_the_date_once():
    head, _, _ = read(ResponseWriter(GET, 200, [length(0)]))
    assert [name for name, _ in head.headers].count(b"date") == 1


@given(st.integers(0, 2**33))
def test_the_date_is_that_of_pythons_own_server(second):
    assert date_line(second) == b"date: %b\r\n" % format_date_time(second).encode()
