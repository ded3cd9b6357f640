"""Facts of models by their names, and conversion between effort levels and budgets."""

import re

from providers.catalog.effort import budget_of, level_of, requested_level
from providers.catalog.models import ROWS, plain_name, quirks_of
from providers.neutral.levels import LEVELS, known_level
from providers.neutral.quirks import Quirks
from providers.neutral.request import Reasoning
from tests.support.cases import case
from tests.support.each_row import each_row


def test_claude_by_generation():
    for model, adaptive, sampling, limit in [
        ("claude-3-haiku-20240307", False, "unless_thinking", 4096),
        ("claude-3-5-sonnet-20241022", False, "unless_thinking", 8192),
        ("claude-sonnet-4-20250514", False, "unless_thinking", 64000),
        ("claude-opus-4-1-20250805", False, "unless_thinking", 32000),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", False, "unless_thinking", 64000),
        ("anthropic/claude-haiku-4.5", False, "unless_thinking", 64000),
        ("claude-opus-4-6", True, "unless_thinking", 64000),
        ("claude-opus-4-7", True, "never", 64000),
        ("claude-fable-5", True, "never", 64000),
        ("claude-sonnet-5-5", True, "never", 64000),
        ("claude-haiku-5-5", True, "never", 64000),
    ]:
        with case((model, adaptive, sampling, limit)):
            quirks = quirks_of(Quirks(), model)
            assert (quirks.adaptive_thinking, quirks.sampling, quirks.default_max_tokens) == (adaptive, sampling, limit)


def test_a_claude_that_always_thinks_is_not_forced_to_call_a_tool():
    for models, thinking_off, forced_tools in [
        (("claude-opus-4-8", "claude-3-5-haiku-latest", "claude-sonnet-4@20250514"), "disabled", True),
        (("claude-opus-5", "claude-sonnet-5", "claude-opus-5-20260701", "claude-sonnet-5@20260630"), "disabled", True),
        (("us.anthropic.claude-opus-5-v1:0", "claude-haiku-5-5"), "disabled", True),
        (("claude-fable-5", "claude-mythos-5"), "lowest_effort", True),
        (("claude-opus-5-5", "claude-fable-5-1", "claude-fable-5-2", "claude-mythos-5-1"), "lowest_effort", False),
        (("claude-sonnet-5-5", "anthropic/claude-sonnet-5.5"), "between_tools", False),
        (("claude-opus-6", "claude-saga-7"), "lowest_effort", False),
    ]:
        with case((models, thinking_off, forced_tools)):
            for model in models:
                quirks = quirks_of(Quirks(), model)
                assert (quirks.thinking_off, quirks.forced_tools) == (thinking_off, forced_tools), model


def test_efforts_of_other_apis_become_claudes_levels():
    for model, efforts in [
        ("gemini-3.8-flash", ("minimal", "low", "medium", "high")),
        ("google/gemini-4-argon", ("minimal", "low", "medium", "high")),
        ("gemini-2.5-flash-lite", ("none", "minimal", "low", "medium", "high")),
        ("gemini-2.0-flash", ()),
        ("grok-4.7", ("low", "medium", "high", "xhigh")),
        ("grok-4.3", ("none", "low", "medium", "high")),
        ("openai/gpt-oss-120b", ("low", "medium", "high")),
        ("gpt-oss:20b", ("low", "medium", "high")),
    ]:
        with case((model, efforts)):
            assert quirks_of(Quirks(), model).efforts == efforts


def test_openai_by_generation():
    for model, sampling, efforts in [
        ("o3-mini", "never", ("low", "medium", "high")),
        ("openai/gpt-5-mini", "never", ("minimal", "low", "medium", "high")),
        ("gpt-5.1-2025-11-13", "unless_thinking", ("none", "low", "medium", "high")),
        ("gpt-5.4", "unless_thinking", ("none", "low", "medium", "high", "xhigh")),
        ("gpt-5.5-2026-04-23", "only_effort_none", ("none", "low", "medium", "high", "xhigh")),
        ("gpt-5.6-sol", "only_effort_none", ("none", "low", "medium", "high", "xhigh", "max")),
        ("gpt-6.1-sol", "only_effort_none", ("none", "low", "medium", "high", "xhigh", "max")),
        ("gpt-6-astra", "never", ("low", "medium", "high", "xhigh", "max")),
        ("gpt-5.3-codex", "never", ("low", "medium", "high", "xhigh")),
        ("gpt-5.1-codex-max", "never", ("low", "medium", "high", "xhigh")),
        *(
            (f"gpt-5{model}", "never", ("low", "medium", "high"))
            for model in ("-codex", "-codex-mini", ".1-codex", ".1-codex-mini", ".1-codex-2025-11-13")
        ),
        ("gpt-5.2-pro-2025-12-11", "never", ("medium", "high", "xhigh")),
        ("gpt-5-pro", "never", ("high",)),
        ("gpt-5.2-chat-latest", "never", ("medium",)),
        ("gpt-5-chat-latest", "free", ()),
        ("gpt-4o", "free", ()),
        ("llama3.2", "free", ()),
        ("olmo-2", "free", ()),
    ]:
        with case((model, sampling, efforts)):
            quirks = quirks_of(Quirks(), model)
            assert (quirks.sampling, quirks.efforts) == (sampling, efforts)


def test_a_model_that_no_row_knows_keeps_its_providers_quirks():
    quirks = Quirks(max_tokens_field="max_tokens", refused_fields=("store",))
    assert quirks_of(quirks, "qwen3") is quirks


def test_every_row_can_match_and_changes_quirks_that_exist():
    for pattern, changes in ROWS:
        name = re.sub(r"\[(.)[^\]]*\]", r"\1", pattern).replace("*", "x")
        known = quirks_of(Quirks(), name)
        assert set(changes) <= set(Quirks.__slots__), pattern
        assert known != Quirks() or pattern == "gpt-5-chat*", pattern
        assert any(getattr(known, key) == value for key, value in changes.items()), pattern


def test_the_prefixes_of_routers_are_removed_from_names():
    assert plain_name("openai/gpt-5") == "gpt-5"
    assert plain_name("eu.anthropic.claude-opus-4-7-v1:0") == "claude-opus-4-7-v1:0"
    assert plain_name("global.openai.gpt-6.1-sol") == plain_name("openai.gpt-6.1-sol") == "gpt-6.1-sol"
    assert plain_name("Vendor/claude-haiku-4.5") == "claude-haiku-4-5"


@each_row(
    "budget, level",
    [(1, "low"), (2048, "low"), (2049, "medium"), (8192, "medium"), (8193, "high"), (24000, "high"), (24001, "xhigh")],
)
def test_a_budget_is_a_level(budget, level):
    assert level_of(budget) == level


def test_a_level_the_model_lacks_becomes_the_nearest_lower_one():
    for level, known, taken in [
        ("high", ("low", "high"), "high"),
        ("max", ("low", "medium", "high"), "high"),
        ("xhigh", ("none", "low"), "low"),
        ("minimal", ("none", "low", "medium"), "low"),
        ("none", ("low", "medium"), None),
        ("none", ("none", "low"), "none"),
        ("turbo", ("low",), "turbo"),
        ("max", (), "max"),
    ]:
        with case((level, known, taken)):
            assert known_level(level, known) == taken


def test_the_requested_level_comes_from_a_name_or_a_budget():
    assert requested_level(Reasoning(effort="high", budget=1)) == "high"
    assert requested_level(Reasoning(budget=5000)) == "medium"
    assert requested_level(Reasoning("adaptive")) is None
    assert requested_level(Reasoning("disabled", budget=5000)) is None
    assert budget_of(Reasoning(budget=77)) == 77
    assert budget_of(Reasoning(effort="low")) < budget_of(Reasoning()) < budget_of(Reasoning(effort="max"))
    assert all(budget_of(Reasoning(effort=level)) > 0 for level in LEVELS)
