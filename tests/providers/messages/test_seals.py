"""Seals in requests of the byte lane, and errors."""

import json

import pytest

from providers.messages import MESSAGES
from providers.neutral.seal import seal
from streams.events import ErrorInfo
from tests.support.messages_requests import HELLO, OTHER, OURS, THOUGHT


def sealed(*parts):
    return {"model": "m", "messages": [*HELLO, {"role": "assistant", "content": list(parts)}]}


def test_a_request_without_seals_does_not_change():
    assert MESSAGES.restore(sealed(THOUGHT, {"type": "text", "text": "tg1."}), OURS) == ({}, ())
    assert MESSAGES.restore({"messages": "odd"}, OURS) == ({}, ())
    assert MESSAGES.restore({"messages": [1, {"content": [2]}]}, OURS) == ({}, ())


@pytest.mark.parametrize("items", [THOUGHT, [THOUGHT, {"type": "redacted_thinking", "data": "x"}]])
def test_our_seals_become_the_native_blocks_again(items):
    """(alphaXiv/agents#61)"""
    text = {"type": "text", "text": "a"}
    body = sealed({"type": "redacted_thinking", "data": seal(OURS, "messages", items)}, text)
    changed, dropped = MESSAGES.restore(body, OURS)
    native = items if isinstance(items, list) else [items]
    assert changed["messages"] == [*HELLO, {"role": "assistant", "content": [*native, text]}]
    assert (set(changed), dropped) == ({"messages"}, ())


@pytest.mark.parametrize("text", [seal(OTHER, "messages", THOUGHT), seal(OURS, "chat", {}), "tg1.broken"])
def test_seals_of_others_are_removed_and_no_message_is_left_empty(text):
    """(alphaXiv/agents#61, openclaw/openclaw#88020)"""
    body = sealed({"type": "thinking", "thinking": "hm", "signature": text})
    changed, dropped = MESSAGES.restore(body, OURS)
    assert (changed["messages"], dropped) == (HELLO, ("messages[].content[]",))


# Errors


def test_an_error_is_written_with_its_details_and_its_id():
    failed = ErrorInfo("invalid_request", "no", details={"error_code": "x"})
    assert json.loads(MESSAGES.write_error(failed, "req_1")) == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "no", "details": {"error_code": "x"}},
        "request_id": "req_1",
    }


def test_a_seal_survives_the_way_to_the_client_and_back():
    item = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    body = {"messages": [{"role": "assistant", "content": [
        {"type": "thinking", "thinking": "hm", "signature": seal(OURS, "messages", item)}]}]}  # fmt: skip
    assert MESSAGES.restore(body, OURS) == ({"messages": [{"role": "assistant", "content": [item]}]}, ())
