"""Writes the facts of models in ``providers/catalog/model_facts.json`` from the data in the package ``litellm``.

Only facts are used: the token limits and abilities of a model. The package has 130 MiB and forty dependencies, so it is
not a requirement. To write the file, install it into a separate folder:

    pip install --no-deps --target /tmp/litellm litellm==1.109.1
    PYTHONPATH=/tmp/litellm:. python -m tests.pages.model_facts

``tests/docs/test_model_facts.py`` checks the file if the package is installed.
"""

import json
from collections.abc import Mapping
from datetime import date
from importlib.metadata import distribution, version
from typing import Any, Final

from providers.catalog.model_facts import FILE, SEPARATE_INPUTS

AS_OF: Final = date(2026, 11, 22)
"""The day on which the package was read."""

DATA: Final = "litellm/model_prices_and_context_window_backup.json"
MODES: Final = ("chat", "responses")

PROVIDERS: Final = {
    "anthropic": "anthropic", "azure": "azure", "azure_ai": "azure", "bedrock": "bedrock",
    "bedrock_converse": "bedrock", "bedrock_mantle": "bedrock", "cerebras": "cerebras", "cloudflare": "cloudflare",
    "codestral": "mistral", "cohere": "cohere", "cohere_chat": "cohere", "dashscope": "dashscope",
    "databricks": "databricks", "deepseek": "deepseek", "fireworks_ai": "fireworks", "gemini": "gemini",
    "groq": "groq", "minimax": "minimax", "mistral": "mistral", "moonshot": "moonshot", "nvidia_nim": "nvidia",
    "openai": "openai", "openrouter": "openrouter", "perplexity": "perplexity", "snowflake": "snowflake",
    "together_ai": "together", "vercel_ai_gateway": "vercel", "vertex_ai-language-models": "vertex",
    "vertex_ai-anthropic_models": "vertex", "vertex_ai-llama_models": "vertex", "vertex_ai-mistral_models": "vertex",
    "vertex_ai-deepseek_models": "vertex", "vertex_ai-qwen_models": "vertex", "vertex_ai-openai_models": "vertex",
    "vertex_ai-zai_models": "vertex", "xai": "xai", "zai": "zai",
}  # fmt: skip
"""The package's names of providers, and ours. Rows of other providers are skipped."""

PREFIXES: Final = (
    "anthropic/", "azure/", "azure_ai/", "bedrock/", "bedrock_converse/", "bedrock_mantle/", "cerebras/",
    "cloudflare/", "codestral/", "cohere/", "cohere_chat/", "dashscope/", "databricks/", "deepseek/", "fireworks_ai/",
    "gemini/", "groq/", "minimax/", "mistral/", "moonshot/", "nvidia_nim/", "openai/", "openrouter/", "perplexity/",
    "snowflake/", "together_ai/", "vercel_ai_gateway/", "vertex_ai/", "xai/", "zai/",
)  # fmt: skip
"""Prefixes of model ids in the package."""

ABILITIES: Final = {
    "supports_vision": "images", "supports_pdf_input": "pdf", "supports_function_calling": "tools",
    "supports_response_schema": "structured_output", "supports_reasoning": "reasoning",
    "supports_audio_input": "audio", "supports_video_input": "video",
}  # fmt: skip


def text() -> str:
    """Return the content of the file, with one line for each model."""
    known = json.loads(distribution("litellm").locate_file(DATA).read_text())  # type: ignore[attr-defined]
    lists: dict[str, dict[str, list[Any]]] = {}
    for name, row in known.items():
        provider = PROVIDERS.get(row.get("litellm_provider", ""))
        if provider is not None and row.get("mode") in MODES and (facts := _facts(row)) is not None:
            lists.setdefault(provider, {}).setdefault(_plain(name), facts)
    parts = [
        f'"{provider}": {{\n' + ",\n".join(f"{json.dumps(name)}: {json.dumps(rows[name])}" for name in sorted(rows))
        for provider, rows in sorted(lists.items())
    ]
    head = f'{{"source": "litellm {version("litellm")}", "as_of": "{AS_OF}",\n"providers": {{\n'
    return head + "\n},\n".join(parts) + "\n}}}\n"


def _plain(name: str) -> str:
    prefix = next((one for one in PREFIXES if name.startswith(one)), "")
    return name.removeprefix(prefix).lower()


def _facts(row: Mapping[str, Any]) -> list[Any] | None:
    """Return the window, the longest answer, and the known abilities and inabilities, or ``None`` without any."""
    taken, given = _tokens(row.get("max_input_tokens")), _tokens(row.get("max_output_tokens"))
    window = taken + (given or 0) if taken in SEPARATE_INPUTS else taken  # the package only has the prompt's limit
    if window is not None and given is not None and given >= window:
        given = None  # no answer fills the window, so it has no separate limit
    can = " ".join(word for key, word in ABILITIES.items() if row.get(key) is True)
    cannot = " ".join(word for key, word in ABILITIES.items() if row.get(key) is False)
    facts = [window, given, can, cannot]
    return facts if any(facts) else None


def _tokens(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) and value > 0 else None


if __name__ == "__main__":
    FILE.write_text(text())
