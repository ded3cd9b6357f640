"""The plans and keys that pay for the requests of a client, as ``trigate connect`` states them."""

import pytest

from gateway.commands.clients import CLIENTS
from gateway.commands.payers import payer_lines
from gateway.config_files.loading import load
from tests.support.each_row import each_row

FILE = """\
version: v0.4.0
model_providers:
  - {model: anthropic/*, name: plan, passthrough_auth: true}
  - {model: anthropic/*, name: paid, access_key: $ANTHROPIC_API_KEY}
  - {model: openai/gpt-6, access_key: "${OPENAI_API_KEY}"}
  - {model: zai/glm-5, access_key: sk-literal, price: subscription}
  - {model: ollama/qwen3, price: free}
model_aliases:
  claude-sonnet-5-5:
    targets: [plan/claude-sonnet-5-5, {target: paid/claude-sonnet-5-5, when: [quota, overloaded]}, ollama/qwen3]
  only-plan: {target: plan/claude-opus-5}
  kinds: {targets: [openai/gpt-6, {target: ollama/qwen3, when: [background]}]}
"""
FREE = "To pay nothing: --model ollama/qwen3."


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "trigate.yaml"
    path.write_text(FILE)
    return load(path, None)


@each_row(
    ("client", "models", "login", "lines"),
    [
        (
            "claude", {}, True,
            [
                "Who pays: your plan, then ANTHROPIC_API_KEY (after overloaded, quota), then ollama/qwen3 (free).",
                "Without --login: ANTHROPIC_API_KEY, then ollama/qwen3 (free).",
            ],
        ),
        (
            "claude", {}, False,
            ["Who pays: ANTHROPIC_API_KEY, then ollama/qwen3 (free).", "To use your plan: add --login."],
        ),
        ("claude", {"opus": "only-plan"}, False, ["To use your plan: add --login."]),
        ("aider", {"model": "openai/gpt-6"}, False, ["Who pays: OPENAI_API_KEY.", FREE]),
        ("aider", {"model": "zai/glm-5"}, False, ["Who pays: a plan (the key of zai/glm-5).", FREE]),
        (
            "aider", {"model": "openai/gpt-6", "small": "ollama/qwen3"}, False,
            ["Who pays: openai/gpt-6: OPENAI_API_KEY; ollama/qwen3: ollama/qwen3 (free)."],
        ),
        ("aider", {"model": "kinds"}, False, ["Who pays: OPENAI_API_KEY, then ollama/qwen3 (free; for background)."]),
        ("aider", {"model": "unknown"}, False, []),
        ("aider", {}, False, []),
    ],
)  # fmt: skip
def test_the_payers_of_a_client_are_listed_in_the_order_of_their_targets(config, client, models, login, lines):
    assert list(payer_lines(config, CLIENTS[client], models, login=login)) == lines
