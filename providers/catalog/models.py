"""Models as rows: how each departs from its provider's row.

A row is a pattern (shell style, matched against the model's id in lower case without a vendor's prefix) and changes to
``Quirks``. All rows that match are laid over one another in order, so general rows come first. A model that no row
knows keeps its provider's quirks. Config wins over rows (``quirks`` of a provider entry).

Source: the vendors' model pages and migration guides as of November 2026 (platform.claude.com/docs/en/models,
developers.openai.com/api/docs/models), and the levels of effort in Codex 0.169's own list of models. For Claude,
families after 4.5 think adaptively and those after 4.6 take no sampling parameters, so an unknown Claude is taken for
the newest.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import attrs

from providers.catalog.abilities import cannot, context_window
from providers.neutral.patterns import fits
from providers.neutral.quirks import Quirks

# OpenAI's reasoning models refuse the older name of the token limit, wherever they are served.
_NEW_LIMIT = {"max_tokens_field": "max_completion_tokens", "takes_max_tokens": False}
_AT_WILL = {"thinking_off": "disabled", "forced_tools": True}


def _dated(*models: str) -> tuple[str, ...]:
    """Patterns of ``models`` with the ends that platforms put behind them, which are no later version."""
    return tuple(f"{model}{end}" for model in models for end in ("", "-20*", "-v[0-9]*", "@*"))


_BUDGET_THINKER = {"adaptive_thinking": False, "efforts": (), "sampling": "unless_thinking"}

ROWS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    # Anthropic
    ("claude-*", {"default_max_tokens": 64000, "adaptive_thinking": True, "sampling": "never",
                  "efforts": ("low", "medium", "high", "xhigh", "max"),
                  "thinking_off": "lowest_effort", "forced_tools": False}),
    # Opus 5.5, Sonnet 5.5, Fable 5.1 and Mythos 5.1 refuse to be made to call a tool (vercel/ai#21364,
    # can1357/oh-my-pi#12939); Opus and Fable always think, Sonnet gets `between_tools`. Those before them and Haiku
    # take both words.
    ("claude-sonnet-5-5*", {"thinking_off": "between_tools"}),
    *((pattern, {"forced_tools": True}) for pattern in _dated("claude-fable-5", "claude-mythos-5")),
    *((pattern, _AT_WILL) for pattern in _dated("claude-opus-5", "claude-sonnet-5")),
    *((pattern, _AT_WILL) for pattern in ("claude-3*", "claude-*-4-*", "claude-*-4@*", "claude-haiku-5-5*")),
    ("claude-*-4-6*", {"sampling": "unless_thinking", "efforts": ("low", "medium", "high", "max")}),
    ("claude-*-4-5*", {**_BUDGET_THINKER, "one_of_temperature_top_p": True}),
    ("claude-opus-4-1*", {**_BUDGET_THINKER, "default_max_tokens": 32000, "one_of_temperature_top_p": True}),
    ("claude-*-4-0*", _BUDGET_THINKER),
    ("claude-*-4-2025*", _BUDGET_THINKER),
    ("claude-opus-4-0*", {"default_max_tokens": 32000}),
    ("claude-opus-4-2025*", {"default_max_tokens": 32000}),
    ("claude-3*", {**_BUDGET_THINKER, "default_max_tokens": 8192, "structured_output": False}),
    ("claude-3-7*", {"default_max_tokens": 64000}),
    ("claude-3-haiku*", {"default_max_tokens": 4096}),
    ("claude-3-opus*", {"default_max_tokens": 4096}),
    ("claude-3-sonnet*", {"default_max_tokens": 4096}),
    # OpenAI
    ("o[1-9]*", {**_NEW_LIMIT, "sampling": "never", "efforts": ("low", "medium", "high")}),
    ("gpt-5*", {**_NEW_LIMIT, "sampling": "only_effort_none", "efforts": ("none", "low", "medium", "high", "xhigh")}),
    ("gpt-5", {"sampling": "never", "efforts": ("minimal", "low", "medium", "high")}),
    ("gpt-5-*", {"sampling": "never", "efforts": ("minimal", "low", "medium", "high")}),
    # Told nothing, these do not think (langchain-ai/langchain#35424, livekit/agents#7169); those after them do.
    ("gpt-5.[1-4]*", {"sampling": "unless_thinking"}),
    ("gpt-5.1*", {"efforts": ("none", "low", "medium", "high")}),
    ("gpt-5.[6-9]*", {"cache_breakpoints": True, "efforts": ("none", "low", "medium", "high", "xhigh", "max")}),
    ("gpt-[6-9]*", {**_NEW_LIMIT, "sampling": "only_effort_none", "cache_breakpoints": True,
                    "efforts": ("none", "low", "medium", "high", "xhigh", "max")}),
    ("gpt-daybreak-*", {**_NEW_LIMIT, "sampling": "only_effort_none",
                        "efforts": ("none", "low", "medium", "high", "xhigh", "max")}),
    # Chat gives no reasoning back: between the calls of one turn the model would think anew each time
    # (https://developers.openai.com/api/docs/guides/responses-vs-chat-completions, anomalyco/opencode#2480).
    ("o[1-9]*", {"asked_in_responses": "to_keep_reasoning"}),
    ("o1-mini*", {"asked_in_responses": "by_responses_clients"}),
    ("o1-preview*", {"asked_in_responses": "by_responses_clients"}),
    ("gpt-5*", {"asked_in_responses": "to_keep_reasoning"}),
    # And these refuse tools beside an effort there, from 5.6 on beside the one that they take by themselves
    # (openai/openai-openapi#541, BerriAI/litellm#34569, onyx-dot-app/onyx#15008).
    ("gpt-5.[2-9]*", {"asked_in_responses": "with_tools"}),
    ("gpt-[6-9]*", {"asked_in_responses": "with_tools"}),
    ("gpt-daybreak-*", {"asked_in_responses": "with_tools"}),
    # And these are not in Chat at all (SillyTavern/SillyTavern#5212, Portkey-AI/gateway#1445).
    ("gpt-5*-codex*", {"asked_in_responses": "always"}),
    ("gpt-5*-pro*", {"asked_in_responses": "always"}),
    ("o[1-9]*-pro*", {"asked_in_responses": "always"}),
    ("o[1-9]*-deep-research*", {"asked_in_responses": "always"}),
    ("codex-*", {"asked_in_responses": "always"}),
    ("computer-use-*", {"asked_in_responses": "always"}),
    # These always think.
    ("gpt-6-astra*", {"sampling": "never", "efforts": ("low", "medium", "high", "xhigh", "max")}),
    ("gpt-5*-codex*", {"sampling": "never", "efforts": ("low", "medium", "high", "xhigh")}),
    # The first of them know no more than "high"; the first with "xhigh" was 5.1-codex-max (openai/codex#6647, #7911).
    ("gpt-5-codex*", {"efforts": ("low", "medium", "high")}),
    ("gpt-5.1-codex*", {"efforts": ("low", "medium", "high")}),
    ("gpt-5.1-codex-max*", {"efforts": ("low", "medium", "high", "xhigh")}),
    ("gpt-5*-pro*", {"sampling": "never", "efforts": ("medium", "high", "xhigh")}),
    ("gpt-5-pro*", {"efforts": ("high",)}),
    ("codex-*", {**_NEW_LIMIT, "sampling": "never", "efforts": ("low", "medium", "high", "xhigh", "max")}),
    # Chat models think as much as they do, and the first of them not at all (anomalyco/models.dev#2351).
    ("gpt-5*-chat*", {"sampling": "never", "efforts": ("medium",), "asked_in_responses": "by_responses_clients"}),
    ("gpt-5-chat*", {"sampling": "free", "efforts": ()}),
    ("gpt-oss*", {"efforts": ("low", "medium", "high")}),
    # Google (harbor-framework/terminal-bench#569, HKUDS/DeepTutor#809)
    ("gemini-2.5*", {"efforts": ("minimal", "low", "medium", "high")}),
    ("gemini-2.5-flash*", {"efforts": ("none", "minimal", "low", "medium", "high")}),
    ("gemini-[3-9]*", {"efforts": ("minimal", "low", "medium", "high")}),
    # Levels and budgets of its own API (ai.google.dev/gemini-api/docs/thinking, cloud.google.com/vertex-ai, November
    # 2026). Those before 3 want no signatures and do not take two sorts of tools (symfony/ai#803, vercel/ai#13920).
    ("gemini-[12].*", {"thinking_control": "none", "mixed_tools": False, "media_in_results": False}),
    ("gemini-[3-9]*", {"signed_calls": True}),
    ("gemini-*-latest", {"signed_calls": True}),
    ("gemini-2.5*", {"thinking_control": "budget"}),
    ("gemini-2.5-flash-lite*", {"thinking_budgets": (512, 24_576)}),
    ("gemini-2.5-pro*", {"thinking_budgets": (128, 32_768), "thinking_off": "lowest_effort"}),
    ("gemini-3-pro*", {"thinking_levels": ("low", "high")}),
    ("gemini-3.[1-9]*-pro*", {"thinking_levels": ("low", "medium", "high")}),
    # xAI (theopenco/llmgateway#3046 and #3669, farion1231/cc-switch#7584)
    ("grok-4.3*", {"efforts": ("none", "low", "medium", "high")}),
    ("grok-4.5*", {"efforts": ("low", "medium", "high")}),
    ("grok-4.[6-9]*", {"efforts": ("low", "medium", "high", "xhigh")}),
    # Bedrock's ids name the family, whatever prefix of a region or a profile is in front
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


@lru_cache(maxsize=1024)
def quirks_of(quirks: Quirks, model: str) -> Quirks:
    """Return ``quirks`` of a provider's row with what is known of ``model`` laid over them."""
    name = plain_name(model)
    changes: dict[str, Any] = {}
    for pattern, row in ROWS:
        if fits(name, pattern):
            changes |= row
    if (window := context_window(name)) is not None:
        changes["context_window"] = window
    if lacked := cannot(name):
        changes["cannot"] = tuple(dict.fromkeys((*quirks.cannot, *lacked)))
    return attrs.evolve(quirks, **changes) if changes else quirks


_CLAUDE = re.compile(r"(?:.*[/.])?(claude-.*)")
_BEDROCK = re.compile(r"(?:[a-z-]+\.)?openai\.(.*)")


def plain_name(model: str) -> str:
    """Return a model's id as its maker writes it: without a router's prefix (``openai/gpt-5``,
    ``us.anthropic.claude-…``, ``global.openai.gpt-6-sol``), in lower case, and for Claude with dashes in the version
    (OpenRouter writes ``claude-haiku-4.5``)."""
    name = model.lower()
    if (claude := _CLAUDE.fullmatch(name)) is not None:
        return claude[1].replace(".", "-")
    last = name.rpartition("/")[2]
    return last if (openai := _BEDROCK.fullmatch(last)) is None else openai[1]


def is_claude(model: str) -> bool:
    """Return whether ``model`` is one of Anthropic's, whoever serves it."""
    return plain_name(model).startswith("claude-")
