"""Framings of Gemini's streams: events with CR LF, and one JSON array."""

import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from providers.gemini.framing import ARRAY, CRLF_SSE, KEEP_ALIVE
from streams.framing import EventTooLarge, Framing
from tests.support.each_row import each_row

VALUES = [
    {"candidates": [{"content": {"parts": [{"text": 'a "]} \\" [{ é\u2028'}]}}]},
    {"usageMetadata": {"a": [[], {}, [1]]}},
    {},
    {"error": {"code": 503, "message": "}"}},
]


def all_of(framing: Framing, pieces: list[bytes]) -> list[object]:
    splitter = framing.splitter(10_000)
    raws = [raw for piece in pieces for raw in splitter.feed(piece)]
    raws.append(framing.complete(splitter.close()))
    return [json.loads(parsed[1]) for raw in raws if raw and (parsed := framing.parse(raw)) is not None]


def stream(framing: Framing) -> bytes:
    assert framing.writer is not None
    writer = framing.writer()
    return b"".join(writer.event("", json.dumps(value).encode()) for value in VALUES) + writer.close()


@each_row("framing", [CRLF_SSE, ARRAY])
def test_a_written_stream_is_read_however_it_is_split(framing):
    body = stream(framing)
    for size in range(1, 20):
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        assert all_of(framing, pieces) == VALUES, size


@pytest.mark.parametrize("framing", [CRLF_SSE, ARRAY])
@given(cuts=st.lists(st.integers(0, 400), max_size=6))
@example(cuts=[stream(CRLF_SSE).index(b"\r\n\r\n") + 3])
def test_pieces_put_together_are_the_input(framing, cuts):
    body = stream(framing)
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    splitter = framing.splitter(10_000)
    out = [raw for at, end in pairwise(places) for raw in splitter.feed(body[at:end])]
    assert b"".join(out) + splitter.close() == body
    assert not any(raw.endswith(b"\r") for raw in out), "a keep-alive may follow, and hide the event's end"


def test_an_array_is_one_json_value():
    assert json.loads(stream(ARRAY)) == VALUES
    assert ARRAY.writer is not None
    assert json.loads(ARRAY.writer().close()) == []
    pretty = json.dumps(VALUES, indent=2).encode()
    assert all_of(ARRAY, [pretty]) == VALUES, "as Google sends it, over many lines"


def test_an_object_without_an_array_is_one_piece():
    assert all_of(ARRAY, [b'{"error": ', b'{"a": "]"}}']) == [{"error": {"a": "]"}}]


@each_row("body", [b'[{"a": "', b'data: {"a": "'])
def test_too_large_a_piece_is_not_held(body):
    framing = ARRAY if body.startswith(b"[") else CRLF_SSE
    splitter = framing.splitter(1000)
    splitter.feed(body)
    with pytest.raises(EventTooLarge):
        splitter.feed(b"x" * 1000)


def test_an_event_without_its_end_gets_the_end_that_all_have():
    """@google/genai for JavaScript reads no event whose line ends differ."""
    for rest in (b'data: {"a":1}', b'data: {"a":1}\r\n', b'data: {"a":1}\n'):
        assert CRLF_SSE.complete(rest) == b'data: {"a":1}\r\n\r\n'
    assert CRLF_SSE.complete(b'data: {"a":') == b""
    assert CRLF_SSE.complete(b"\n") == b"\n"


def test_lines_may_end_in_any_way():
    for raw in (b'data: {"a":1}\r\n\r\n', b'data: {"a":1}\n\n', b'data:{"a":1}\r\r', b'\ndata: {"a":1}\r\n\r\n'):
        assert CRLF_SSE.parse(raw) == ("", b'{"a":1}')
    assert CRLF_SSE.parse(b'{\r\n "error": 1\r\n}\r\n\r\n') == ("", b'{\r\n "error": 1\r\n}'), "a bare error"
    assert CRLF_SSE.parse(b"\r\n\r\n") is None


def test_a_keep_alive_is_an_event_without_content():
    """google-genai for Python reads every line without `data:` as JSON, so that a comment would end the stream."""
    assert KEEP_ALIVE.startswith(b"data: {")
    assert CRLF_SSE.parse(KEEP_ALIVE) is not None
