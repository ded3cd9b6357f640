"""Token limits above what the model can answer.

Claude Code requests 32,000 tokens from every model (deepseek-ai/DeepSeek-V3#69, Gitlawb/openclaude#331,
aws-samples/bedrock-access-gateway#41).
"""

import json
from typing import Any

import pytest

from providers.errors.failures import read_failure
from providers.errors.other_shapes import OUTPUT_LIMIT
from providers.errors.output_limits import lower_to
from providers.errors.rejected import find_rejected, find_sole_rejected
from tests.support.each_row import each_row
from tests.support.gateway_thread import gateway_thread
from tests.support.harness import config, provider
from tests.support.upstreams import JSON, Raw, Script

OPENAI = (
    "max_tokens is too large: 32000. This model supports at most 8192 completion tokens, whereas you provided 32000."
)
DEEPSEEK = "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]"
SENTENCES = [
    OPENAI,
    DEEPSEEK,
    "Invalid 'max_output_tokens': integer above maximum value. Expected a value <= 8192, but got 32000 instead.",
    "<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]",
    "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the "
    "`context_window` for this model",
    "max_tokens should be less or equal to 8192",
    "max_tokens: 32000 > 8192, which is the maximum allowed number of output tokens for claude-3-5-haiku-20241022",
    "The maximum tokens you requested exceeds the model limit of 8192. Try again with a maximum tokens value that is "
    "lower than 8192.",
    "The parameter `max_completion_tokens` specified in the request are not valid: integer above maximum value, "
    "expected a value <= 8192, but got 32000 instead. Request id: 0217752964393142fa50af",
]
TURN = [{"role": "user", "content": "hi"}]
CLIENTS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"max_completion_tokens": 32000, "messages": TURN},
    "/v1/messages": {"max_tokens": 32000, "messages": TURN},
    "/v1/responses": {"max_output_tokens": 32000, "input": "hi"},
}
SENT = {"chat": "max_tokens", "messages": "max_tokens", "responses": "max_output_tokens"}


def rejection(message: str) -> Raw:
    return Raw(400, JSON, (json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode(),))


@pytest.mark.parametrize("path", CLIENTS)
@pytest.mark.parametrize("api", SENT)
def test_it_is_lowered_and_this_is_remembered(upstream, path, api):
    entry = provider("custom/small", f"{upstream.url}/v1", [api], name="small")
    with gateway_thread(config([entry])) as gateway:
        upstream.script(rejection(DEEPSEEK), Script(text="yes"), Script(text="yes"), Script(text="yes"))
        body = {"model": "small", **CLIENTS[path]}
        replies = [gateway.request("POST", path, body) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200], replies[0].body
        (name,) = (name for name in upstream.seen[0].json if name.startswith("max_"))
        assert [seen.json[name] for seen in upstream.seen] == [32000, 8192, 8192]
        assert all(f"{name}=8192" in reply.headers["x-trigate-adapted"] for reply in replies)
        own = next(member for member in body if member.startswith("max_"))
        assert gateway.request("POST", path, {**body, own: 100}).status == 200
        assert upstream.seen[-1].json[name] == 100


AZURE = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
OLDER_AZURE = "Unrecognized request argument supplied: max_completion_tokens"


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (
            "max_tokens",
            "max_completion_tokens",
            {"message": AZURE, "param": "max_tokens", "code": "unsupported_parameter"},
        ),
        ("max_tokens", "max_completion_tokens", {"message": AZURE}),
        ("max_completion_tokens", "max_tokens", {"message": OLDER_AZURE}),
    ],
)
def test_the_limit_gets_its_other_name(upstream, old, new, error):
    """A deployment's name does not show its model (anomalyco/opencode#37964, BerriAI/litellm#8855)."""
    entry = provider("custom/deployment", f"{upstream.url}/v1", ["chat"], name="small", provider_interface="openai")
    with gateway_thread(config([entry])) as gateway:
        upstream.script(Raw(400, JSON, (json.dumps({"error": error}).encode(),)), Script(text="a"), Script(text="b"))
        body = {"model": "small", "messages": TURN, old: 100}
        replies = [gateway.request("POST", "/v1/chat/completions", body) for _ in range(2)]
        assert [reply.status for reply in replies] == [200, 200], replies[0].body
        assert [(seen.json.get(old), seen.json.get(new)) for seen in upstream.seen] == [
            (100, None),
            (None, 100),
            (None, 100),
        ]
        assert {reply.headers["x-trigate-adapted"] for reply in replies} == {f"{old}->{new}"}


@each_row("message", SENTENCES)
def test_the_words_of_servers_are_known(message):
    error = read_failure(400, json.dumps({"error": {"message": message}}).encode())
    assert find_rejected(error) == find_sole_rejected(error) == ((OUTPUT_LIMIT, "8192"),)


@each_row(
    "message",
    [
        "'max_tokens' or 'max_completion_tokens' is too large: 64000. This model's maximum context length is 64001 "
        "tokens and your request has 24235 input tokens (64000 > 64001 - 24235). None",
        "max_tokens must be at least 1, got -4.",
        "max_tokens must be less than or equal to 0",
    ],
)
def test_other_rejections_of_a_limit_stay(message):
    assert find_rejected(read_failure(400, json.dumps({"error": {"message": message}}).encode())) == ()


@each_row(
    ("body", "changed"),
    [
        ({"max_tokens": 9, "max_completion_tokens": 11}, {"max_completion_tokens": 10}),
        ({"inferenceConfig": {"maxTokens": 11, "topP": 1}}, {"inferenceConfig": {"maxTokens": 10, "topP": 1}}),
        ({"generationConfig": {"maxOutputTokens": 11}}, {"generationConfig": {"maxOutputTokens": 10}}),
        ({"max_tokens": 11, "thinking": {"type": "enabled", "budget_tokens": 9}}, {"max_tokens": 10}),
        ({"max_tokens": 11, "thinking": {"type": "enabled", "budget_tokens": 10}}, {}),
        ({"max_tokens": "11", "max_output_tokens": None, "generationConfig": []}, {}),
        ({"max_tokens": 10}, {}),
        ({}, {}),
    ],
)
def test_only_higher_limits_change(body, changed):
    assert lower_to(10)(body) == changed
