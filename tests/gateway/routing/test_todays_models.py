"""Every model that today's clients name resolves under ``openai/*`` and ``anthropic/*``, which ``trigate init`` writes.

The SDKs' names are read from the packages that are installed here; those of the programs are from their own lists.
"""

from typing import get_args

import pytest
from anthropic.resources.messages.messages import DEPRECATED_MODELS
from anthropic.types import Model
from openai.types import AllModels, ChatModel

from gateway.config_files.loading import from_mapping
from gateway.routing.router import Router

# Claude Code 2.1.329: the ids of its tiers (fable, opus, sonnet, haiku) by generation, and the forms it takes.
CLAUDE_CODE = (
    "claude-fable-5-2", "claude-fable-5-1", "claude-opus-5-5", "claude-opus-5", "claude-sonnet-5-5", "claude-haiku-5-5",
    "claude-mythos-5-2", "claude-mythos-5-1",
    "claude-fable-5", "claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6", "claude-opus-4-5-20251101",
    "claude-opus-4-1-20250805", "claude-opus-4-20250514", "claude-opus-4-0", "claude-sonnet-5", "claude-sonnet-4-6",
    "claude-sonnet-4-5-20250929", "claude-sonnet-4-20250514", "claude-sonnet-4-0", "claude-3-7-sonnet-20250219",
    "claude-3-5-sonnet-20241022", "claude-haiku-4-5-20251001", "claude-haiku-4-5", "claude-3-5-haiku-20241022",
    "claude-mythos-5", "claude-mythos-preview",
)  # fmt: skip
# Codex 0.169: its presets, and the model of its automatic reviews.
CODEX = (
    "gpt-6.1-sol", "gpt-6-astra", "gpt-6-sol", "gpt-6-luna", "gpt-6.1-terra", "gpt-5.6-sol", "gpt-5.6-terra",
    "gpt-5.6-luna", "gpt-5.5", "gpt-daybreak-blue-latest", "gpt-daybreak-red-latest", "codex-auto-review",
)  # fmt: skip


def literals(kind):
    """Yield the texts in a type of literals, including those of unions."""
    for part in get_args(kind):
        yield from (part,) if isinstance(part, str) else literals(part)


ANTHROPIC = sorted({*literals(Model), *DEPRECATED_MODELS, *CLAUDE_CODE})
OPENAI = sorted({*literals(ChatModel), *literals(AllModels), *CODEX})


@pytest.fixture(scope="module")
def router():
    entries = [{"model": "openai/*"}, {"model": "anthropic/*", "speaks": ["messages"]}]
    return Router(from_mapping({"version": "v0.3.0", "model_providers": entries}))


@pytest.mark.parametrize(
    ("provider", "api", "names"), [("anthropic", "messages", ANTHROPIC), ("openai", "responses", OPENAI)]
)
def test_every_name_of_todays_clients_resolves(router, provider, api, names):
    assert len(names) >= 30  # anthropic 2.13 no longer lists the models before Claude 4.5
    for name in names:
        assert router.resolve(name, api).name == f"{provider}/{name}"
        assert router.resolve(f"{provider}/{name}", api).name == f"{provider}/{name}"
