"""Models as rows that change their provider's quirks.

A row has a shell pattern for the plain model id (lower case, no vendor prefix) and changes to ``Quirks``. All matching
rows apply in order, so general rows come first. An unknown model keeps its provider's quirks. The configuration
(``quirks`` of a provider entry) overrides rows.

Source: the vendors' model pages and migration guides as of November 2026 (platform.claude.com/docs/en/models,
developers.openai.com/api/docs/models), and the effort levels in Codex 0.169's model list. Claude models after 4.5 think
adaptively and those after 4.6 accept no sampling parameters, so an unknown Claude counts as the newest.

Context windows in tokens and lacking abilities are rows, too. Routing skips targets that a row excludes; it does not
guess about models without rows. The last matching window applies; the lacking abilities of all matching rows add up.
More sources of these: ai.google.dev/gemini-api/docs/models, docs.x.ai/docs/models, docs.mistral.ai/models,
api-docs.deepseek.com, platform.moonshot.ai/docs, docs.perplexity.ai, compared with pydantic/genai-prices and
anomalyco/models.dev. For open weights it is the longest window of any host, and only certain families are listed.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import attrs

from providers.neutral.patterns import fits
from providers.neutral.quirks import Ability, Quirks

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
    *((f"gpt-4{end}", 8_192) for end in ("", "-0314", "-0613")),
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
    *(
        (pattern, (*_TEXT_ALONE, "structured_output"))
        for pattern in ("gpt-3.5-*", "gpt-4", "gpt-4-0314", "gpt-4-0613", "gpt-4-32k*")
    ),
    ("gpt-4-turbo*", ("structured_output",)),
    *((pattern, (*_TEXT_ALONE, "tools", "structured_output")) for pattern in ("o1-mini*", "o1-preview*")),
    *((pattern, _TEXT_ALONE) for pattern in (
        "o3-mini*", "gpt-oss*", "deepseek-v3*", "deepseek-r1*", "grok-3*", "grok-code-fast-1*", "codestral-*",
        "llama-3.1-*", "llama-3.3-*", "llama3.1*", "llama3.3*",
    )),
)  # fmt: skip


def context_window(name: str) -> int | None:
    """Return the context window of a model by its plain ``name``, in tokens, or ``None`` if unknown."""
    return next((window for pattern, window in reversed(WINDOWS) if fits(name, pattern)), None)


def cannot(name: str) -> tuple[Ability, ...]:
    """Return the abilities that the model with the plain ``name`` is known to lack."""
    rows = (lacking for pattern, lacking in CANNOT if fits(name, pattern))
    return tuple(dict.fromkeys(ability for lacking in rows for ability in lacking))


_LETTERS: Final = 4.4
"""English letters and spaces in a token of most models. With it, the estimates of 36 recorded texts are 2 to 43 % above
the models' own counts, half of them at most 18 %."""

LETTERS_PER_TOKEN: Final[tuple[tuple[str, float], ...]] = (
    # Claude 4.7 and later need up to 1.45 times as many tokens for English as earlier models
    # (https://sol.ava.dev/writings/2026-04-17-opus-4-7-tokenizer.html, sammcj/ingest#65).
    ("claude-*", 3.0),
    *((pattern, _LETTERS) for pattern in ("claude-3*", "claude-*-4", "claude-*-4@*", "claude-*-4-[0-6]*")),
)


def letters_per_token(name: str) -> float:
    """Return the English letters in a token of the model with the plain ``name``, for a high estimate."""
    return next((letters for pattern, letters in reversed(LETTERS_PER_TOKEN) if fits(name, pattern)), _LETTERS)


# OpenAI's reasoning models reject the older name of the token limit at every host.
_NEW_LIMIT = {"max_tokens_field": "max_completion_tokens", "takes_max_tokens": False}
_OPTIONAL_THINKING = {"thinking_off": "disabled", "forced_tools": True}


def _with_dates(*models: str) -> tuple[str, ...]:
    """Return patterns for ``models`` with the suffixes that platforms append, but not for later versions."""
    return tuple(f"{model}{end}" for model in models for end in ("", "-20*", "-v[0-9]*", "@*"))


_BUDGET_THINKER = {"adaptive_thinking": False, "efforts": (), "sampling": "unless_thinking"}

ROWS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    # Anthropic
    ("claude-*", {"default_max_tokens": 64000, "adaptive_thinking": True, "sampling": "never",
                  "efforts": ("low", "medium", "high", "xhigh", "max"),
                  "thinking_off": "lowest_effort", "forced_tools": False, "schemas": "without_limits"}),
    # Opus 5.5, Sonnet 5.5, Fable 5.1 and Mythos 5.1 reject forced tool calls (vercel/ai#21364, can1357/oh-my-pi#12939).
    # Opus and Fable always think; Sonnet accepts `between_tools`. Earlier models and Haiku accept both.
    ("claude-sonnet-5-5*", {"thinking_off": "between_tools"}),
    *((pattern, {"forced_tools": True}) for pattern in _with_dates("claude-fable-5", "claude-mythos-5")),
    *((pattern, _OPTIONAL_THINKING) for pattern in _with_dates("claude-opus-5", "claude-sonnet-5")),
    *((pattern, _OPTIONAL_THINKING) for pattern in ("claude-3*", "claude-*-4-*", "claude-*-4@*", "claude-haiku-5-5*")),
    ("claude-*-4-6*", {"sampling": "unless_thinking", "efforts": ("low", "medium", "high", "max")}),
    ("claude-*-4-5*", {**_BUDGET_THINKER, "one_of_temperature_top_p": True}),
    ("claude-opus-4-1*", {**_BUDGET_THINKER, "default_max_tokens": 32000, "one_of_temperature_top_p": True}),
    ("claude-*-4-0*", _BUDGET_THINKER),
    ("claude-*-4-2025*", _BUDGET_THINKER),
    ("claude-opus-4-0*", {"default_max_tokens": 32000}),
    ("claude-opus-4-2025*", {"default_max_tokens": 32000}),
    ("claude-3*", {**_BUDGET_THINKER, "default_max_tokens": 8192, "structured_output": False}),
    ("claude-3-7*", {"default_max_tokens": 64000}),
    *((f"claude-3-{size}*", {"default_max_tokens": 4096}) for size in ("haiku", "opus", "sonnet")),
    # platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages, earendil-works/pi#9548
    *((f"claude-{name}*", {"tool_changes": True}) for name in ("opus-4-8", "opus-5", "fable-5", "mythos-5")),
    # OpenAI
    *((f"gpt-*-search-{end}*", {"web_search": "options"}) for end in ("preview", "api")),
    ("o[1-9]*", {**_NEW_LIMIT, "sampling": "never", "efforts": ("low", "medium", "high")}),
    ("gpt-5*", {**_NEW_LIMIT, "sampling": "only_effort_none", "efforts": ("none", "low", "medium", "high", "xhigh")}),
    ("gpt-5", {"sampling": "never", "efforts": ("minimal", "low", "medium", "high")}),
    ("gpt-5-*", {"sampling": "never", "efforts": ("minimal", "low", "medium", "high")}),
    # By default these do not think (langchain-ai/langchain#35424, livekit/agents#7169); later ones do.
    ("gpt-5.[1-4]*", {"sampling": "unless_thinking"}),
    ("gpt-5.1*", {"efforts": ("none", "low", "medium", "high")}),
    ("gpt-5.[6-9]*", {"cache_breakpoints": True, "efforts": ("none", "low", "medium", "high", "xhigh", "max")}),
    ("gpt-[6-9]*", {**_NEW_LIMIT, "sampling": "only_effort_none", "cache_breakpoints": True,
                    "efforts": ("none", "low", "medium", "high", "xhigh", "max")}),
    ("gpt-daybreak-*", {**_NEW_LIMIT, "sampling": "only_effort_none",
                        "efforts": ("none", "low", "medium", "high", "xhigh", "max")}),
    # Chat cannot send reasoning back, so the model would think again between the calls of one turn
    # (https://developers.openai.com/api/docs/guides/responses-vs-chat-completions, anomalyco/opencode#2480).
    ("o[1-9]*", {"asked_in_responses": "to_keep_reasoning"}),
    ("o1-mini*", {"asked_in_responses": "by_responses_clients"}),
    ("o1-preview*", {"asked_in_responses": "by_responses_clients"}),
    ("gpt-5*", {"asked_in_responses": "to_keep_reasoning"}),
    # In Chat these reject tools with an effort, from 5.6 on even with the default one (openai/openai-openapi#541,
    # BerriAI/litellm#34569, onyx-dot-app/onyx#15008).
    *((pattern, {"asked_in_responses": "with_tools"}) for pattern in ("gpt-5.[2-9]*", "gpt-[6-9]*", "gpt-daybreak-*")),
    # These are not available in Chat (SillyTavern/SillyTavern#5212, Portkey-AI/gateway#1445).
    *((pattern, {"asked_in_responses": "always"}) for pattern in (
        "gpt-5*-codex*", "gpt-5*-pro*", "o[1-9]*-pro*", "o[1-9]*-deep-research*", "codex-*", "computer-use-*",
    )),
    # These always think.
    ("gpt-6-astra*", {"sampling": "never", "efforts": ("low", "medium", "high", "xhigh", "max")}),
    ("gpt-5*-codex*", {"sampling": "never", "efforts": ("low", "medium", "high", "xhigh")}),
    # The first models have no level above "high"; the first with "xhigh" was 5.1-codex-max (openai/codex#6647, #7911).
    ("gpt-5-codex*", {"efforts": ("low", "medium", "high")}),
    ("gpt-5.1-codex*", {"efforts": ("low", "medium", "high")}),
    ("gpt-5.1-codex-max*", {"efforts": ("low", "medium", "high", "xhigh")}),
    ("gpt-5*-pro*", {"sampling": "never", "efforts": ("medium", "high", "xhigh")}),
    ("gpt-5-pro*", {"efforts": ("high",)}),
    ("codex-*", {**_NEW_LIMIT, "sampling": "never", "efforts": ("low", "medium", "high", "xhigh", "max")}),
    # Chat models have a fixed effort, and the first ones do not think (anomalyco/models.dev#2351).
    ("gpt-5*-chat*", {"sampling": "never", "efforts": ("medium",), "asked_in_responses": "by_responses_clients"}),
    ("gpt-5-chat*", {"sampling": "free", "efforts": ()}),
    ("gpt-oss*", {"efforts": ("low", "medium", "high")}),
    # Google (harbor-framework/terminal-bench#569, HKUDS/DeepTutor#809)
    ("gemini-2.5*", {"efforts": ("minimal", "low", "medium", "high")}),
    ("gemini-2.5-flash*", {"efforts": ("none", "minimal", "low", "medium", "high")}),
    ("gemini-[3-9]*", {"efforts": ("minimal", "low", "medium", "high")}),
    # Levels and budgets of Google's own API (ai.google.dev/gemini-api/docs/thinking, cloud.google.com/vertex-ai,
    # November 2026). Models before 3 need no signatures and do not accept two kinds of tools (symfony/ai#803,
    # vercel/ai#13920).
    ("gemini-[12].*", {"thinking_control": "none", "mixed_tools": False, "media_in_results": False}),
    ("gemini-[3-9]*", {"signed_calls": True}),
    ("gemini-*-latest", {"signed_calls": True}),
    ("gemini-2.5*", {"thinking_control": "budget"}),
    ("gemini-2.5-flash-lite*", {"thinking_budgets": (512, 24_576)}),
    ("gemini-2.5-pro*", {"thinking_budgets": (128, 32_768), "thinking_off": "lowest_effort"}),
    ("gemini-3-pro*", {"thinking_levels": ("low", "high")}),
    ("gemini-3.[1-9]*-pro*", {"thinking_levels": ("low", "medium", "high")}),
    # ai.google.dev/gemini-api/docs/generate-content/latest-model, November 2026. No model has `xhigh` yet; only
    # google-genai's types have it.
    ("gemini-4*", {"thinking_levels": ("low", "medium", "high")}),
    # xAI (theopenco/llmgateway#3046 and #3669, farion1231/cc-switch#7584)
    ("grok-4.3*", {"efforts": ("none", "low", "medium", "high")}),
    ("grok-4.5*", {"efforts": ("low", "medium", "high")}),
    ("grok-4.[6-9]*", {"efforts": ("low", "medium", "high", "xhigh")}),
    # Bedrock's ids contain the family, after any region or profile prefix.
    ("claude-*", {"bedrock_family": "claude"}),
    *((pattern, {"bedrock_family": "claude3"})
      for pattern in ("claude-3-opus*", "claude-3-sonnet*", "claude-3-haiku*", "claude-3-5-sonnet-20240620*")),
    ("*amazon.nova-*", {"bedrock_family": "nova"}),
    ("*amazon.nova-2*", {"bedrock_family": "nova2", "efforts": ("low", "medium", "high")}),
    ("*mistral.*", {"bedrock_family": "mistral"}),
    ("gpt-*", {"bedrock_family": "openai"}),
    ("*qwen.*", {"bedrock_family": "qwen", "efforts": ("low", "medium", "high")}),
    ("*zai.*", {"bedrock_family": "zai"}),
    ("*minimax.*", {"bedrock_family": "minimax"}),
    # DeepSeek: once one assistant message has its reasoning, every later one must have the field
    # (anomalyco/opencode#24722).
    ("deepseek-*", {"reasoning_replay": "every_message"}),
)  # fmt: skip


MAX_NAME: Final = 300
"""Characters of the longest name of a model. Longer ones are in no row, and are not remembered: a client may send
megabytes."""


def quirks_of(quirks: Quirks, model: str) -> Quirks:
    """Return the provider's ``quirks`` with the changes of all rows for ``model``."""
    return _quirks_of(quirks, model) if len(model) <= MAX_NAME else quirks


@lru_cache(maxsize=1024)
def _quirks_of(quirks: Quirks, model: str) -> Quirks:
    name = plain_name(model)
    changes: dict[str, Any] = {}
    for pattern, row in ROWS:
        if fits(name, pattern):
            changes |= row
    if (window := context_window(name)) is not None:
        changes["context_window"] = window
    if lacking := cannot(name):
        changes["cannot"] = tuple(dict.fromkeys((*quirks.cannot, *lacking)))
    return attrs.evolve(quirks, **changes) if changes else quirks


_CLAUDE = re.compile(r"(?:.*[/.])?(claude-.*)")
_BEDROCK = re.compile(r"(?:[a-z-]+\.)?openai\.(.*)")


def plain_name(model: str) -> str:
    """Return a model's id as its maker writes it, in lower case.

    Removes a router's prefix (``openai/gpt-5``, ``us.anthropic.claude-…``, ``global.openai.gpt-6-sol``). For Claude,
    versions have dashes (OpenRouter writes ``claude-haiku-4.5``).
    """
    name = model.lower()
    if (claude := _CLAUDE.fullmatch(name)) is not None:
        return claude[1].replace(".", "-")
    last = name.rpartition("/")[2]
    return last if (openai := _BEDROCK.fullmatch(last)) is None else openai[1]


def is_claude(model: str) -> bool:
    """Return whether ``model`` is a Claude model at any provider."""
    return plain_name(model).startswith("claude-")
