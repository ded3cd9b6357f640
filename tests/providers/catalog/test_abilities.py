"""Context windows of models, and their known limits."""

from providers.catalog.models import CANNOT, WINDOWS, plain_name, quirks_of
from providers.catalog.providers import CATALOG
from providers.neutral.quirks import Quirks
from tests.support.cases import case
from tests.support.each_row import each_row


def test_models_have_their_context_windows():
    for model, window in [
        ("claude-3-5-haiku-20241022", 200_000),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", 200_000),
        ("anthropic/claude-sonnet-4", 200_000),
        ("claude-sonnet-4-6", 1_000_000),
        ("claude-haiku-4-5-20251001", 200_000),
        ("claude-haiku-5-5", 1_000_000),
        ("gpt-4", 8_192),
        ("gpt-4o-mini", 128_000),
        ("gpt-4.1-nano", 1_047_576),
        ("gpt-5-mini", 400_000),
        ("gpt-5.2", 400_000),
        ("gpt-5.4", 1_050_000),
        ("gpt-5.4-mini", 400_000),
        ("gpt-5.6-sol", 1_050_000),
        ("openai/gpt-6.1-sol", 1_050_000),
        ("gemini-2.5-flash", 1_048_576),
        ("kimi-k2.6", 262_144),
    ]:
        with case((model, window)):
            assert quirks_of(Quirks(), model).context_window == window


@each_row("model", ["claude-saga-7", "gpt-9", "gpt-4-0125-preview", "Qwen/Qwen3-32B", "my-deployment", ""])
def test_models_without_rows_are_not_guessed_at(model):
    quirks = quirks_of(Quirks(), model)
    assert (quirks.context_window, quirks.cannot) == (None, ())


def test_missing_abilities_of_provider_and_model_are_combined():
    groq = CATALOG["groq"].quirks
    assert groq.cannot == ("choices",)
    assert quirks_of(groq, "openai/gpt-oss-120b").cannot == ("choices", "images", "pdf")
    assert quirks_of(groq, "qwen/qwen3.8-27b").cannot == ("choices",)


def test_every_row_is_of_plain_names():
    for pattern, _ in (*WINDOWS, *CANNOT):
        assert plain_name(pattern) == pattern


def test_every_well_known_model_of_the_big_three_has_a_window():
    rows = ((row, model) for row in map(CATALOG.__getitem__, ("openai", "anthropic", "gemini")) for model in row.models)
    assert [model for row, model in rows if quirks_of(row.quirks, model).context_window is None] == []
