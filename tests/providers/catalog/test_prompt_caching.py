"""The rules of providers' prompt caches."""

from providers.catalog.prompt_caching import ROWS, CachingRow, caching_row
from providers.catalog.providers import CATALOG
from providers.neutral.patterns import fits
from tests.support.cases import case

_ALL = [(key, pattern, row) for key, rows in ROWS.items() for pattern, row in rows]


def _row(provider: str, model: str, api: str) -> CachingRow:
    row = caching_row(provider, model, api)
    assert row is not None
    return row


def test_every_row_has_a_known_provider_and_a_source_with_a_date():
    assert [key for key, _, _ in _ALL if key[0] not in CATALOG] == []
    assert [
        key for key, _, row in _ALL if not row.sources.get("") or not row.sources[""].url.startswith("https://")
    ] == []
    assert [key for key, _, row in _ALL if not row.sources[""].read] == []


def test_sources_are_of_fields():
    fields = {"", *CachingRow.__annotations__}
    assert [key for key, _, row in _ALL if not row.sources.keys() <= fields] == []


def test_every_row_is_reached():
    for rows in ROWS.values():
        for number, (pattern, _) in enumerate(rows):
            example = pattern.replace("[6-9]", "7").replace("[1-9]", "1").replace("*", "")
            assert next(at for at, (other, _) in enumerate(rows) if fits(example, other)) == number, pattern


def test_the_minimum_depends_on_the_model():
    """https://platform.claude.com/docs/en/build-with-claude/prompt-caching#cache-limitations"""
    for model, minimum in [
        ("claude-opus-5", 512), ("claude-opus-5-5", 512), ("claude-sonnet-5-5", 512), ("claude-haiku-5-5", 512),
        ("claude-fable-5-1", 512), ("claude-mythos-5", 512), ("claude-opus-4-8", 1024), ("claude-sonnet-5", 1024),
        ("claude-sonnet-4-6", 1024), ("claude-sonnet-4-20250514", 1024), ("claude-opus-4-7", 2048),
        ("claude-opus-4-6", 4096), ("claude-opus-4-5-20251101", 4096), ("claude-haiku-4-5", 4096),
    ]:  # fmt: skip
        with case((model, minimum)):
            assert _row("anthropic", model, "messages").minimum == minimum
            on_bedrock = 4096 if model == "claude-opus-4-7" else minimum
            assert _row("amazon_bedrock", f"us.anthropic.{model}-v1:0", "converse").minimum == on_bedrock
            assert _row("vertex", f"{model}@20260101", "messages").minimum == minimum


def test_openais_models_differ_from_gpt_5_6_on():
    """https://developers.openai.com/api/docs/guides/prompt-caching"""
    for model in ("gpt-5.6-sol", "gpt-6-astra", "gpt-6.1-terra"):
        row = _row("openai", model, "responses")
        assert (row.boundaries, row.reports, row.key_separates, row.lifetime) == ("ends", "exact", True, 1800)
        assert row.takes_salt == "prompt_cache_key"
    for model, step in (("gpt-5.5", 2048), ("gpt-5.4", 128), ("gpt-4o", 128), ("o3", 128)):
        row = _row("openai", model, "chat")
        assert (row.boundaries, row.step, row.reports, row.rate, row.longest) == ("step", step, "read", 15, 600)
    assert _row("azure_openai", "my-deployment", "chat").step == 128


def test_own_servers_report_by_a_flag_and_have_no_lifetime():
    assert _row("vllm", "Qwen/Qwen3-32B", "chat").takes_salt == "cache_salt"
    for provider in ("vllm", "sglang"):
        assert _row(provider, "any", "chat").reports == "flag"
        assert _row(provider, "any", "chat").lifetime is None


def test_unknown_caches_have_no_row():
    assert caching_row("cerebras", "llama-4", "chat") is None
    assert caching_row("anthropic", "claude-sonnet-4-6", "chat") is None
    assert caching_row("openai", "gpt-oss" + "x" * 1000, "chat") is None
    assert caching_row("openai", "my-tuned-model", "chat") is None
