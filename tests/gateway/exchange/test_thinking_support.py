"""Settings for thinking that a model does not have.

Claude Code and Codex send them to every model (Gitlawb/openclaude#1371, anthropics/claude-code#68551).
"""

import json
from typing import Any

import pytest

from providers.errors.failures import read_failure
from providers.errors.other_shapes import ADAPTIVE_THINKING, NO_EFFORT, NO_THINKING, UNUSED_EFFORT
from providers.errors.rejected import find_rejected, find_sole_rejected
from providers.errors.thinking_support import omit_effort, omit_thinking, omit_unused_effort, think_adaptively
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, Raw, Script

OLLAMA = '"llama3.1:8b" does not support thinking'
ADAPTIVE_ONLY = (
    '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and "output_config.effort" '
    "to control thinking behavior."
)
SUBAGENT = "thinking options type cannot be disabled when reasoning_effort is set"
GEMINI = "Learn more: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/gemini"
TURN = [{"role": "user", "content": "hi"}]
CLIENTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": TURN, "reasoning_effort": "high"},
    "/v1/responses": {"input": "hi", "reasoning": {"effort": "high"}},
    "/v1/messages": {
        "max_tokens": 9000,
        "messages": TURN,
        "thinking": {"type": "enabled", "budget_tokens": 4000},
        "output_config": {"effort": "high"},
    },
}
SETTINGS = ("reasoning_effort", "reasoning", "thinking", "output_config")


def rejection(message: str) -> Raw:
    return Raw(400, JSON, (json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode(),))


@pytest.mark.parametrize("path", CLIENTS)
@pytest.mark.parametrize("api", ["chat", "messages", "responses"])
def test_they_are_omitted_and_this_is_remembered(upstream, path, api):
    entry = provider("custom/plain", f"{upstream.url}/v1", [api], name="plain")
    with gateway_thread(config([entry])) as gateway:
        upstream.script(rejection(OLLAMA), Script(text="yes"), Script(text="yes"))
        replies = [gateway.request("POST", path, {"model": "plain", **CLIENTS[path]}) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200], replies[0].body
        first, *others = ([name for name in SETTINGS if name in seen.json] for seen in upstream.seen)
        assert first
        assert others == [[], []]
        assert all(reply.headers["x-trigate-dropped"] for reply in replies)


def test_a_budget_becomes_adaptive_thinking(upstream):
    entry = provider("custom/new", f"{upstream.url}/v1", ["messages"], name="new")
    with gateway_thread(config([entry])) as gateway:
        upstream.script(rejection(ADAPTIVE_ONLY), Script(text="yes"))
        reply = gateway.request("POST", "/v1/messages", {"model": "new", **CLIENTS["/v1/messages"]})
        assert reply.status == 200, reply.body
        assert upstream.seen[1].json["thinking"] == {"type": "adaptive"}
        assert upstream.seen[1].json["output_config"] == {"effort": "high"}
        assert "thinking=adaptive" in reply.headers["x-trigate-adapted"]


DISABLED = {
    "/v1/messages": {"max_tokens": 9, "thinking": {"type": "disabled"}, "output_config": {"effort": "max"}},
    "/v1/chat/completions": {"thinking": {"type": "disabled"}, "reasoning_effort": "max"},
}


@pytest.mark.parametrize(("path", "api"), [("/v1/messages", "messages"), ("/v1/chat/completions", "chat")])
def test_an_effort_is_omitted_only_while_thinking_is_disabled(upstream, path, api):
    """The main conversation of Claude Code keeps its effort after a subagent (anthropics/claude-code#65863)."""
    entry = provider("custom/plain", f"{upstream.url}/v1", [api], name="plain")
    with gateway_thread(config([entry])) as gateway:
        upstream.script(rejection(SUBAGENT), *(Script(text="yes") for _ in range(3)))
        thinks = {**DISABLED[path], "thinking": {"type": "adaptive"}}
        bodies = (DISABLED[path], DISABLED[path], thinks)
        replies = [gateway.request("POST", path, {"model": "plain", "messages": TURN, **body}) for body in bodies]
        assert [reply.status for reply in replies] == [200, 200, 200], replies[0].body
        sent = [(seen.json["thinking"]["type"], b"max" in seen.body.replace(b"max_", b"")) for seen in upstream.seen]
        assert sent == [("disabled", True), ("disabled", False), ("disabled", False), ("adaptive", True)]
        assert "effort" in replies[1].headers["x-trigate-dropped"]


@each_row(
    ("message", "shape"),
    [
        (OLLAMA, NO_THINKING),
        ('think value "medium" is not supported for this model', NO_THINKING),  # ollama/ollama#12561
        ("adaptive thinking is not supported on this model", NO_THINKING),  # agentforce314/clawcodex#699
        # anthropics/claude-code#29531
        ("Only 'enabled' and 'disabled' are supported for thinking; 'adaptive' is not supported.", NO_THINKING),
        # ex-machina-co/opencode-anthropic-auth#160
        (
            '"thinking.type.disabled" is not supported for this model. Thinking defaults to adaptive mode when not '
            'specified; use "thinking.type.enabled" with "budget_tokens" for extended thinking.',
            NO_THINKING,
        ),
        ("reasoning_effort must be one of none or default", NO_THINKING),  # earendil-works/pi#1745
        ("Thinking is not enabled for models/gemini-2.0-flash-preview-image-generation", NO_THINKING),
        ("Thinking level is not supported for this model.", NO_THINKING),  # RooCodeInc/Roo-Code#10700
        ("thinking_config is not supported.", NO_THINKING),
        # googleapis/js-genai#681, google-gemini/gemini-cli#14025 and #1953
        (f"Unable to submit request because thinking is not supported by this model. {GEMINI}", NO_THINKING),
        (f"Unable to submit request because thinking_level is not supported by this model.. {GEMINI}", NO_THINKING),
        (
            "Unable to submit request because Thinking_config.include_thoughts is only enabled when thinking is "
            f"enabled.. {GEMINI}",
            NO_THINKING,
        ),
        ("This model does not support the effort parameter.", NO_EFFORT),  # Oaklight/llm-rosetta#289
        (SUBAGENT, UNUSED_EFFORT),
        (ADAPTIVE_ONLY, ADAPTIVE_THINKING),
    ],
)
def test_the_words_of_servers_are_known(message, shape):
    error = read_failure(400, json.dumps({"error": {"message": message}}).encode())
    assert find_rejected(error) == find_sole_rejected(error) == (shape,)


def test_only_the_settings_of_thinking_are_omitted():
    config = {"thinkingConfig": {"thinkingLevel": "high"}, "temperature": 1}
    assert omit_thinking({"generationConfig": config}) == {"generationConfig": {"temperature": 1}}
    body = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high", "format": {}}}
    assert omit_effort(body) == {"output_config": {"format": {}}}
    shown = {"type": "enabled", "budget_tokens": 9, "display": "summarized"}
    assert think_adaptively({"thinking": shown}) == {"thinking": {"type": "adaptive", "display": "summarized"}}


@each_row("body", [{"messages": TURN}, {"generationConfig": "x", "output_config": {"format": {}}}, {}])
def test_other_bodies_stay(body):
    assert omit_thinking(body) == omit_effort(body) == think_adaptively(body) == omit_unused_effort(body) == {}
