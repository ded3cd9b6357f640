"""Frames around requests and answers, and prewarmed turns, without sockets."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.features.responses_websocket.envelopes import (
    Envelope,
    Frames,
    body_of,
    error_frame,
    is_processed,
    read_envelope,
)
from streams import sse
from streams.errors import GatewayError
from streams.events import ErrorInfo
from tests.support.each_row import each_row
from tests.support.open_responses import misfits

EVENTS = [
    {"type": "response.created", "response": {"id": "resp_1"}},
    {"type": "response.output_text.delta", "delta": "a\u2028b ü"},
    {"type": "response.completed", "response": {"id": "resp_1"}},
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def frames_of(data: bytes, stream_id: str | None = None, *, size: int = 10**9, status: int = 500) -> list[Any]:
    frames = Frames((("x-request-id", "r"), ("content-type", "text/event-stream")), stream_id)
    told = [frame for at in range(0, len(data), size) for frame in frames.take(data[at : at + size])]
    last = frames.end(status)
    return [json.loads(frame) for frame in (*told, *([last] if last is not None else []))]


def outcome(step: Callable[[], Any]) -> Any:
    """Return the result of ``step``, or the failure that it raises."""
    try:
        return step()
    except GatewayError as error:
        return error.info


@given(st.text() | st.binary() | st.none())
def test_any_frame_is_read_or_refused(frame):
    read = outcome(lambda: read_envelope(frame))
    assert isinstance(read, Envelope) or read.status == 400
    assert not is_processed(frame) or "response.processed" in str(frame)


@given(st.dictionaries(st.text(), JSON), JSON, JSON)
def test_any_object_is_read_or_refused_with_a_message(members, generate, lane):
    frame = json.dumps({**members, "type": "response.create", "generate": generate, "stream_id": lane})
    read = outcome(lambda: json.loads(body_of(read_envelope(frame).members)))
    if isinstance(read, ErrorInfo):
        differ_in_case = {name.casefold() for name in members} - members.keys()
        assert (read.status, read.param in {"generate", "stream_id", "background", *differ_in_case}) == (400, True)
    else:
        own = {
            name: value for name, value in members.items() if name not in ("type", "generate", "stream_id", "stream")
        }
        assert read == {**own, "stream": True}


def test_values_keep_their_bytes():
    frame = '{"type":"response.create", "temperature": 1.0e0, "input": [ {"a" :1} ], "seed": 12345678901234567890123}'
    body = body_of(read_envelope(frame).members)
    for part in (b"1.0e0", b'[ {"a" :1} ]', b"12345678901234567890123"):
        assert part in body


@each_row(
    ("metadata", "headers"),
    [
        ({"ws_request_header_x_openai_internal_codex_responses_lite": "true"},
         (("x-openai-internal-codex-responses-lite", "true"),)),
        ({"x-codex-turn-metadata": '{"turn_id":"2"}', "turn_id": "2"}, (("x-codex-turn-metadata", '{"turn_id":"2"}'),)),
        ({"x-codex-turn-metadata": "a" * 5000}, (("x-codex-turn-metadata", ""),)),
        ({"x-codex-a": "two\r\nlines", "x-codex-b": "ü", "x-codex-c": 7, "x-codex-d": None},
         (("x-codex-a", ""), ("x-codex-b", ""), ("x-codex-c", ""), ("x-codex-d", ""))),
        ({"ws_request_header_authorization": "Bearer a", "authorization": "Bearer a", "cookie": "a"}, ()),
        ({"ws_request_header_": "a", "ws_request_header_x_trigate_client": "a", "": "a"}, ()),
        ("text", ()),
        (None, ()),
    ],
)  # fmt: skip
def test_the_headers_of_codex_are_in_the_metadata_of_each_frame(metadata, headers):
    """openai/codex#26542, Menci/Floway#455."""
    frame = json.dumps({"type": "response.create", "client_metadata": metadata})
    envelope = read_envelope(frame)
    assert envelope.headers == headers
    assert json.loads(bytes(envelope.members["client_metadata"])) == metadata


@given(st.integers(1, 200))
def test_the_frames_of_a_stream_do_not_depend_on_its_splits(size):
    data = b": ping\n\n" + b"".join(sse.event(event["type"], event) for event in EVENTS) + b"data: [DONE]\n\n"
    first, *rest = frames_of(data, "lane", size=size)
    assert first == {**EVENTS[0], "stream_id": "lane", "headers": {"x-request-id": "r"}}
    assert rest == [{**event, "stream_id": "lane"} for event in EVENTS[1:]]


def test_no_frame_follows_the_terminal_event():
    data = b"".join(sse.data(event) for event in [*EVENTS, EVENTS[1], {"type": "error", "message": "late"}])
    assert [frame["type"] for frame in frames_of(data)] == [event["type"] for event in EVENTS]


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "code": "c", "message": "m", "param": None, "sequence_number": 2},
        {"error": {"type": "t", "code": "c", "message": "m", "param": None}},
    ],
)
def test_an_error_of_the_stream_ends_it_with_a_status(error):
    *_, last = frames_of(sse.data(EVENTS[0]) + sse.data(error), "lane", status=502)
    assert (last["type"], last["status"], last["stream_id"]) == ("error", 502, "lane")
    assert (last["error"]["code"], last["error"]["message"]) == ("c", "m")
    assert last["error"]["type"]


def test_half_a_surrogate_pair_in_the_final_event_is_no_missing_end():
    """A model's text that was cut inside a pair ended the connection (openclaw/openclaw#110642)."""
    (last,) = frames_of(b'data: {"type":"response.completed","a":"\\ud83d"}\n\n')
    assert (last["type"], last["a"]) == ("response.completed", "\ud83d")
    error = frames_of(b'data: {"type":"error","code":"c","message":"\\ud83d"}\n\n', status=502)[-1]
    assert error["error"]["message"] == "\ufffd"


def test_invalid_utf8_in_any_event_of_a_provider_is_replaced():
    """A final event with invalid UTF-8 ended the connection with all its streams."""
    events = [b'{"type":"response.output_text.delta","delta":"a\xff"}', b'{"type":"response.completed","a":"\xff\xfe"}']
    delta, last = frames_of(b"".join(b"data: %b\n\n" % event for event in events), "lane")
    assert (delta["delta"], delta["stream_id"]) == ("a\ufffd", "lane")
    assert (last["type"], last["a"]) == ("response.completed", "\ufffd\ufffd")
    error = b'data: {"type":"error","code":"c","message":"\xff"}\n\n'
    assert frames_of(error, status=502)[-1]["error"]["message"] == "\ufffd"


def test_a_stream_without_an_end_is_an_error_of_the_gateway():
    with pytest.raises(GatewayError) as error:
        frames_of(sse.data(EVENTS[0]))
    assert error.value.info.kind == "internal"


def test_an_error_response_keeps_its_headers():
    body = b'{"error": {"message": "m", "type": "t", "code": null}}'
    told = error_frame(429, body, (("Content-Type", "application/json"), ("Retry-After", "3")), "lane")
    assert json.loads(told) == {
        "type": "error", "status": 429, "error": {"message": "m", "type": "t", "code": "t"},
        "headers": {"retry-after": "3"}, "stream_id": "lane",
    }  # fmt: skip
    assert misfits(json.loads(told), "WebSocketErrorEvent") == []


@pytest.mark.parametrize("more", ['"model":"small"', '"Model":"big"', '"type":"response.create"'])
def test_websocket_frames_with_duplicate_members_are_rejected(more):
    with pytest.raises(GatewayError) as caught:
        read_envelope(f'{{"type":"response.create","model":"big","input":"hi",{more}}}')
    assert caught.value.info.status == 400
