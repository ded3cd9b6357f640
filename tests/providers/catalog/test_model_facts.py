"""Facts of models from the dated list, which only adds to others."""

import json

from providers.catalog.model_facts import FILE, LISTED_AS, NOTHING, find_facts, source, with_facts
from providers.catalog.models import WINDOWS, plain_name, quirks_of
from providers.catalog.providers import CATALOG
from providers.neutral.quirks import Quirks
from tests.support.cases import case


def test_models_have_their_windows_and_longest_answers():
    for provider, model, window, longest in [
        ("openai", "gpt-5", 400_000, 128_000),
        ("openai", "gpt-6.1-sol", 1_050_000, 128_000),
        ("anthropic", "claude-sonnet-5-5", 1_000_000, 128_000),
        ("anthropic", "claude-opus-4-5-20251101", 200_000, 64_000),
        ("gemini", "gemini-3.8-flash", 1_048_576, 65_536),
        ("amazon_bedrock", "us.anthropic.claude-opus-5-5-v1:0", 1_000_000, 128_000),
        ("groq", "openai/gpt-oss-120b", 131_072, 65_536),
        ("xai", "grok-4.7", 500_000, None),  # no limit but the window
        ("vllm", "deepseek-v4-pro", 1_000_000, None),  # its maker's limit, and not this server's
        ("vllm", "my-own", None, None),
    ]:
        with case((provider, model, window, longest)):
            facts = find_facts(provider, model)
            assert (facts.window, facts.max_output) == (window, longest)


def test_an_unknown_model_keeps_its_quirks():
    quirks = Quirks(context_window=5)
    assert find_facts("openai", "x" * 10**6) is NOTHING
    assert with_facts(quirks, "nobody", "my-own") is quirks


def test_rows_and_the_configuration_take_precedence_over_the_list():
    row = quirks_of(Quirks(), "claude-opus-4-1")
    known = with_facts(row, "anthropic", "claude-opus-4-1")
    assert (known.context_window, known.default_max_tokens) == (row.context_window, row.default_max_tokens)
    said = with_facts(Quirks(context_window=7, max_output=3, default_max_tokens=2), "openai", "gpt-5")
    assert (said.context_window, said.max_output, said.default_max_tokens) == (7, 3, 2)


def test_abilities_denied_by_a_row_are_not_listed():
    known = with_facts(Quirks(cannot=("images",)), "openai", "gpt-5")
    assert "images" not in known.can
    assert "tools" in known.can


def test_a_request_without_a_limit_gets_the_models_limit():
    assert with_facts(Quirks(), "deepseek", "deepseek-v4-pro").default_max_tokens == 64_000
    assert with_facts(Quirks(), "openai", "gpt-4o").default_max_tokens == 16_384
    assert with_facts(Quirks(), "vllm", "deepseek-v4-pro").default_max_tokens == 8192


def test_the_list_removes_only_the_support_of_images_and_pdfs():
    # An outdated list must not cost a client a valid parameter (truefoundry/models#2122).
    content = json.loads(FILE.read_bytes())
    listed = {name: one for one, name in LISTED_AS.items()}
    for provider, rows in content["providers"].items():
        for model in rows:
            assert set(find_facts(listed.get(provider, provider), model).cannot) <= {"images", "pdf"}, (provider, model)


def test_rows_and_list_agree_on_context_windows():
    """Rows match families and future names. If both have a model of the three big vendors, they agree."""
    differ = {"gemini-2.5-computer-use-preview-10-2025"}
    content = json.loads(FILE.read_bytes())["providers"]
    found = set()
    for provider in ("openai", "anthropic", "gemini"):
        for model in content[provider]:
            row, facts = quirks_of(Quirks(), model).context_window, find_facts(provider, model)
            if None not in (row, facts.window) and row != facts.window:
                found.add(plain_name(model))
    assert found <= differ
    assert len(WINDOWS) > 50


def test_well_known_models_of_the_big_three_have_a_longest_answer():
    missing = [
        model
        for id in ("openai", "anthropic", "gemini")
        for model in CATALOG[id].models
        if with_facts(quirks_of(Quirks(), model), id, model).max_output is None
    ]
    assert missing == ["claude-fable-5-2", "gemini-4-argon"], "the list does not have them yet"


def test_the_list_states_its_source_and_date():
    assert source() == "litellm 1.109.1, 2026-11-22"
