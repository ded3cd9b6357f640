"""Requests for token counts: read without a limit, written without uncounted members."""

import json

import pytest

from providers.messages.incoming import read_count_request, read_request
from providers.messages.outgoing import write_count_request
from providers.neutral.codec import Recipient
from providers.neutral.quirks import Quirks
from providers.neutral.request import Format, Reasoning, Tool, ToolChoice
from streams.errors import GatewayError
from tests.support.each_row import each_row
from tests.support.messages_requests import HELLO, OURS, chat, controls, user


def count(call, **quirks):
    outgoing = write_count_request(call, Recipient("claude", OURS, Quirks(**quirks)))
    return json.loads(outgoing.body), outgoing


def test_a_count_needs_no_limit():
    """Claude Code sends none, and pays for an answer where the count is refused (Wei-Shaw/sub2api#657)."""
    call = read_count_request({"model": "m", "messages": HELLO, "tools": []})
    assert (call.model, len(call.messages), call.tools, call.parameters, call.dropped) == ("m", 1, (), {}, ())


def test_a_count_ignores_a_compaction():
    """Anthropic accepts the member here and counts the conversation as sent (anthropics/anthropic-sdk-python 2.13,
    ``message_count_tokens_params.py``)."""
    summarized = {"model": "claude", "messages": HELLO, "compaction": {"type": "summarize"}}
    call = read_count_request(summarized)
    assert (len(call.messages), call.dropped) == (1, ())
    assert "compaction" not in count(call)[0]
    with pytest.raises(GatewayError, match="compaction is not supported"):
        read_request({**summarized, "max_tokens": 5})


@each_row("body", [{}, {"messages": []}, {"messages": [{"role": "user"}]}])
def test_an_invalid_count_request_is_refused(body):
    with pytest.raises(GatewayError) as raised:
        read_count_request(body)
    assert raised.value.info.status == 400


def test_count_requests_have_only_counted_members():
    """Anything else is a 400 there (types of the anthropic SDK)."""
    call = chat(
        user("hello"), tools=(Tool("f"),), tool_choice=ToolChoice("auto"), stream=True,
        format=Format("json_schema", schema={"type": "string"}), reasoning=Reasoning(effort="low"),
        parameters=controls(max_tokens=5, temperature=0.5, stop=["x"], user="u"),
    )  # fmt: skip
    body, outgoing = count(call, adaptive_thinking=True)
    assert body == {
        "model": "claude",
        "messages": [{"role": "user", "content": "hello"}],
        "tools": [{"name": "f", "input_schema": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "string"}}},
    }
    assert outgoing.headers == (("anthropic-version", "2023-06-01"),)


def test_a_messages_clients_own_prompt_is_counted_unchanged():
    """Rewritten it would be another number (router-for-me/CLIProxyAPI#679)."""
    asked = {
        "model": "claude",
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "cache_control": {"type": "ephemeral"},
        "speed": "fast",
    }
    body, outgoing = count(read_count_request(asked | {"context_management": {"edits": []}}))
    assert body == asked
    assert outgoing.dropped == ("context_management",)
