import json
from datetime import UTC, datetime
from decimal import Decimal

from genai_prices import Usage as TheirUsage
from genai_prices.data_snapshot import get_snapshot

from providers.catalog.price_list import FILE, source
from providers.catalog.prices import NANOS, cost_of, price_of
from streams.events import Usage
from tests.pages import prices
from tests.support.cases import case
from tests.support.each_row import each_row


def test_the_list_of_prices_equals_its_package():
    assert FILE.read_text() == prices.text(), "python -m tests.pages.prices writes it"


def test_the_list_states_its_source_and_date():
    assert source() == f"genai-prices 0.2.3, {prices.AS_OF}"


def test_names_find_the_same_prices_as_in_the_package():
    for provider, theirs, model in [
        ("openai", "openai", "gpt-5-2025-08-07"), ("openai", "openai", "gpt-5.4"), ("openai", "openai", "GPT-5"),
        ("openai", "openai", "gpt-5.2-20251211"), ("anthropic", "anthropic", "claude-sonnet-4-6"),
        ("anthropic", "anthropic", "claude-haiku-5-5-20261001"), ("gemini", "google", "gemini-2.5-pro"),
        ("gemini", "google", "claude-opus-5"), ("azure_openai", "azure", "gpt-4o-mini"),
        ("amazon_bedrock", "aws", "eu.anthropic.claude-opus-4-6-v1:0"), ("openrouter", "openrouter", "qwen/qwen3-32b"),
        ("groq", "groq", "openai/gpt-oss-120b"), ("xai", "x-ai", "grok-4.6"),
        ("mistral", "mistral", "codestral-latest"),
        ("deepseek", "deepseek", "deepseek-v4-flash"), ("moonshotai", "moonshotai", "kimi-k2.6"),
        ("minimax", "minimax", "MiniMax-M3"), ("together_ai", "together", "Qwen/Qwen3.7-Max"),
        ("perplexity", "perplexity", "sonar"), ("zhipu", "zhipuai", "glm-5.3"), ("meta", "meta", "muse-spark-1.3"),
    ]:  # fmt: skip
        for prompt in [1_000, 150_000, 600_000]:
            with case((provider, theirs, model, prompt)):
                at = datetime(2026, 11, 22, 2, tzinfo=UTC)
                found = price_of(provider, model)
                usage = TheirUsage(input_tokens=prompt, cache_read_tokens=100, output_tokens=500)
                expected = get_snapshot().calc(usage, model, theirs, None, at).total_price
                mine = cost_of(found, Usage(input=prompt - 100, cache_read=100, output=500), at=at.timestamp())
                assert abs(Decimal(mine.nanos) / NANOS - expected) < Decimal("1e-8")


def test_vertex_has_googles_prices():
    for model in ("gemini-3.8-flash", "claude-opus-5"):
        found, google = price_of("vertex", f"publisher/{model}"), price_of("gemini", model)
        assert found is not None
        assert cost_of(found, Usage(input=1000), at=0) == cost_of(google, Usage(input=1000), at=0)


@each_row(
    "provider, model", [("openai", "gpt-unheard-of"), ("vllm", "gpt-5"), ("nobody", "gpt-5"), ("openai", "x" * 10**6)]
)
def test_an_unlisted_model_has_no_price(provider, model):
    assert price_of(provider, model) is None


def test_models_with_free_in_their_name_are_free():
    price = price_of("openrouter", "deepseek/deepseek-r1:free")
    assert cost_of(price, Usage(input=1000, output=1000)).nanos == 0


def test_every_row_of_the_list_can_be_read():
    content = json.loads(FILE.read_text())
    names = {(id, name) for id, rows in content["providers"].items() for name in priced_names(rows)}
    assert len(names) > 2000
    assert all(price_of(id, name) is not None for id, name in sorted(names)[::7])


def priced_names(rows: list[tuple[object, object]]) -> list[str]:
    priced = [clause for clause, price in rows if price is not None]
    return [
        name for clause in priced for name in (clause if isinstance(clause, list) else [clause]) if type(name) is str
    ]
