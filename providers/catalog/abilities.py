"""Context windows of models and abilities that they lack, as rows.

Routing skips targets that a row excludes; it does not guess about models without rows. A row is a shell pattern for a
model's plain name (``providers/catalog/models.py``). The last matching window applies, so general rows come first; the
lacking abilities of all matching rows add up. ``quirks`` of a configuration entry override both, as an own server may
have a shorter window.

Windows are in tokens, as of November 2026, from the vendors' model pages (platform.claude.com/docs/en/models,
developers.openai.com/api/docs/models, ai.google.dev/gemini-api/docs/models, docs.x.ai/docs/models,
docs.mistral.ai/models, api-docs.deepseek.com, platform.moonshot.ai/docs, docs.perplexity.ai), compared with
pydantic/genai-prices and anomalyco/models.dev. For open weights it is the longest window of any host, and only certain
families are listed.
"""

from typing import Final

from providers.neutral.patterns import fits
from providers.neutral.quirks import Ability

_MILLION: Final = 1_000_000
_GPT: Final = 1_050_000
_TEXT_ALONE: Final[tuple[Ability, ...]] = ("images", "pdf")

WINDOWS: Final[tuple[tuple[str, int], ...]] = (
    # Anthropic; a beta for a longer window overrides these.
    ("claude-3*", 200_000),
    *((f"claude-*-4-{version}*", 200_000) for version in ("0", "1", "5", "2025")),
    *((f"claude-*-4-{version}*", _MILLION) for version in ("6", "7", "8")),
    ("claude-*-4", 200_000),
    ("claude-*-4@*", 200_000),
    *((f"claude-{family}-5*", _MILLION) for family in ("fable", "mythos", "opus", "sonnet")),
    ("claude-haiku-5-5*", _MILLION),
    # OpenAI
    ("gpt-3.5-turbo*", 16_385),
    ("gpt-4", 8_192),
    ("gpt-4-0314", 8_192),
    ("gpt-4-0613", 8_192),
    ("gpt-4-32k*", 32_768),
    ("gpt-4-turbo*", 128_000),
    ("gpt-4o*", 128_000),
    ("chatgpt-4o*", 128_000),
    ("gpt-4.1*", 1_047_576),
    ("o1*", 200_000),
    ("o1-mini*", 128_000),
    ("o1-preview*", 128_000),
    ("o[34]*", 200_000),
    ("gpt-5*", 400_000),
    *((f"gpt-5.{version}{end}", _GPT) for version in "456" for end in ("", "-20*", "-pro*")),
    *((f"gpt-5.6-{size}*", _GPT) for size in ("luna", "sol", "terra")),
    ("gpt-5*-chat*", 128_000),
    ("gpt-5.3-codex-spark*", 128_000),
    ("gpt-6-*", _GPT),
    ("gpt-6.1-*", _GPT),
    ("gpt-oss*", 131_072),
    # Google
    ("gemini-1.5-flash*", _MILLION),
    ("gemini-1.5-pro*", 2_097_152),
    *((f"gemini-{version}*", 1_048_576) for version in ("2.0", "2.5", "3", "4")),
    ("gemini-*-tts*", 8_192),
    ("gemini-*-live*", 131_072),
    # xAI
    ("grok-3*", 131_072),
    ("grok-4-0709", 256_000),
    ("grok-4-fast*", 2_000_000),
    ("grok-4-1-fast*", 2_000_000),
    ("grok-4.20*", _MILLION),
    ("grok-4.3*", _MILLION),
    ("grok-4.[567]*", 500_000),
    ("grok-code-fast-1*", 256_000),
    # Mistral
    ("codestral-*", 262_144),
    ("mistral-large-2512", 262_144),
    ("mistral-small-2603", 262_144),
    # DeepSeek
    ("deepseek-v4-*", _MILLION),
    # Moonshot AI
    ("moonshot-v1-8k*", 8_192),
    ("moonshot-v1-32k*", 32_768),
    ("moonshot-v1-128k*", 131_072),
    ("kimi-k2*", 262_144),
    ("kimi-k3*", 1_048_576),
    # Perplexity
    ("sonar", 128_000),
    ("sonar-pro", 200_000),
)

CANNOT: Final[tuple[tuple[str, tuple[Ability, ...]], ...]] = (
    ("gpt-3.5-*", (*_TEXT_ALONE, "structured_output")),
    ("gpt-4", (*_TEXT_ALONE, "structured_output")),
    ("gpt-4-0314", (*_TEXT_ALONE, "structured_output")),
    ("gpt-4-0613", (*_TEXT_ALONE, "structured_output")),
    ("gpt-4-32k*", (*_TEXT_ALONE, "structured_output")),
    ("gpt-4-turbo*", ("structured_output",)),
    ("o1-mini*", (*_TEXT_ALONE, "tools", "structured_output")),
    ("o1-preview*", (*_TEXT_ALONE, "tools", "structured_output")),
    ("o3-mini*", _TEXT_ALONE),
    ("gpt-oss*", _TEXT_ALONE),
    ("deepseek-v3*", _TEXT_ALONE),
    ("deepseek-r1*", _TEXT_ALONE),
    ("grok-3*", _TEXT_ALONE),
    ("grok-code-fast-1*", _TEXT_ALONE),
    ("codestral-*", _TEXT_ALONE),
    ("llama-3.1-*", _TEXT_ALONE),
    ("llama-3.3-*", _TEXT_ALONE),
    ("llama3.1*", _TEXT_ALONE),
    ("llama3.3*", _TEXT_ALONE),
)


def context_window(name: str) -> int | None:
    """Return the context window of a model by its plain ``name``, in tokens, or ``None`` if unknown."""
    return next((window for pattern, window in reversed(WINDOWS) if fits(name, pattern)), None)


def cannot(name: str) -> tuple[Ability, ...]:
    """Return the abilities that the model with the plain ``name`` is known to lack."""
    rows = (lacking for pattern, lacking in CANNOT if fits(name, pattern))
    return tuple(dict.fromkeys(ability for lacking in rows for ability in lacking))
