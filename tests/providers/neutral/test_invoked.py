"""Frames of InvokeModel: base64 of Anthropic's events, without Bedrock's own measurements in the last one."""

import base64
import json

import msgspec

from providers.neutral.invoked import INVOKED, change_event, parse
from streams import event_stream


def chunk_frame(inner: bytes) -> bytes:
    return event_stream.event_frame("chunk", json.dumps({"bytes": base64.b64encode(inner).decode()}).encode())


def test_an_event_is_returned_byte_for_byte():
    inner = b'{"type": "content_block_delta",  "index":0, "delta": {"type":"text_delta","text":"\xc3\xbc"}}'
    assert parse(chunk_frame(inner)) == ("content_block_delta", inner)


def test_the_measurements_of_the_platform_are_removed():
    inner = {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 3}}
    assert parse(chunk_frame(json.dumps(inner).encode())) == ("message_stop", b'{"type":"message_stop"}')


def test_failures_are_errors_of_the_api():
    for kind, expected in (
        ("throttlingException", "rate_limit_error"), ("serviceUnavailableException", "overloaded_error"),
        ("modelTimeoutException", "timeout_error"), ("validationException", "invalid_request_error"),
        ("internalServerException", "api_error"), ("somethingNew", "api_error"),
    ):  # fmt: skip
        name, data = parse(event_stream.exception_frame(kind, b'{"message":"no"}')) or ("", b"")
        assert (name, json.loads(data)["error"]) == ("error", {"type": expected, "message": "no"}), kind


def test_the_writer_and_the_parser_agree():
    writer = INVOKED.writer
    assert writer is not None
    for kind in ("rate_limit_error", "overloaded_error", "timeout_error", "invalid_request_error", "api_error"):
        data = msgspec.json.encode({"type": "error", "error": {"type": kind, "message": "no"}})
        assert parse(writer().event("error", data)) == ("error", data)
    inner = b'{"type": "content_block_delta",  "index":0}'
    assert parse(writer().event("content_block_delta", inner)) == ("content_block_delta", inner)


def test_frames_with_too_many_elements_are_an_error():
    name, data = parse(chunk_frame(b'{"type": "x", "a": [' + b"1," * 300_000 + b"1]}")) or ("", b"")
    assert (name, json.loads(data)["error"]["type"]) == ("error", "api_error")


def test_a_payload_without_base64_reaches_the_reader_unchanged():
    assert parse(event_stream.event_frame("chunk", b"{}")) == ("", b"{}")
    assert parse(event_stream.event_frame("chunk", b'{"bytes": 3}')) == ("", b'{"bytes": 3}')


def test_an_event_is_changed_inside_its_frame():
    raw = change_event(chunk_frame(b'{"type":"ping"}'), lambda data: data.replace(b"ping", b"pong"))
    assert INVOKED.splitter(2**20).feed(raw) == [raw]
    assert parse(raw) == ("pong", b'{"type":"pong"}')
