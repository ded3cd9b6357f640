"""``trigate replay``: the model and the address that a recorded request goes to."""

import pytest

from gateway.commands.replay import address_of, with_model
from providers.recordings import UnreadableRecording
from tests.support.each_row import each_row


@each_row("request_body", [b"", b"[" * 100_000, b'{"a":' * 100_000, b"\xff", b'{"model": "x"'])
def test_the_model_of_a_damaged_request_is_not_replaced(request_body):
    with pytest.raises(UnreadableRecording, match="--model"):
        with_model(request_body, "other")


@each_row("url", ["http://127.0.0.1:99999", "http://[::1", "http://a:b", "http://:80", "ftp://host"])
def test_replay_refuses_an_invalid_address(url):
    with pytest.raises(UnreadableRecording, match="--to"):
        address_of(url, "chat")


@each_row(
    ("url", "address"),
    [
        ("http://127.0.0.1:12000", "http://127.0.0.1:12000/v1/messages"),
        ("http://127.0.0.1:12000/", "http://127.0.0.1:12000/v1/messages"),
        ("https://host/v1", "https://host/v1/messages"),
        ("https://host/prefix/v1/messages", "https://host/prefix/v1/messages"),
    ],
)
def test_a_server_is_reported_with_or_without_the_path(url, address):
    assert address_of(url, "messages") == address


def test_only_the_model_of_a_request_is_replaced():
    assert with_model(b'{"a": 1.0, "model": "x", "b": [ ]}', "other") == b'{"a":1.0,"model":"other","b":[ ]}'
    with pytest.raises(UnreadableRecording, match="--model"):
        with_model(b"[]", "other")
    with pytest.raises(UnreadableRecording, match="--to"):
        address_of("localhost:12000", "chat")
