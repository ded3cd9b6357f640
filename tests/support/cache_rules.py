"""The rules of prompt caches that the stand-in imitates, from the providers' pages, and the names of their models.

Sources: "Prompt caching" (platform.claude.com, developers.openai.com), "Prompt caching for faster model inference"
(docs.aws.amazon.com), "Context Caching" (api-docs.deepseek.com), "Automatic Prefix Caching" (docs.vllm.ai)."""

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import attrs

from gateway.mock.failures import fault_of
from tests.support.cache_prompts import Section

MINUTE: Final = 60
HOUR: Final = 3600

Boundaries: TypeAlias = Literal["marks", "ends", "steps"]
"""``marks``: marked blocks. ``ends``: the last message of the user or output of a tool, and marked blocks. ``steps``:
every so many tokens."""

Report: TypeAlias = Literal["lifetimes", "written", "read", "hits"]
"""``lifetimes``: read tokens, and written ones by lifetime. ``written``: read and written tokens. ``read``: read
tokens. ``hits``: DeepSeek's members."""

Settings: TypeAlias = Mapping[Section, tuple[str, ...]]
"""Members of the request that separate caches, by the section from which on they matter; ``/`` leads into an object."""

_ANTHROPIC: Final[Settings] = {
    "tools": ("output_config/format", "output_format", "response_format", "text/format"),
    "system": ("speed",),
    "messages": (
        "tool_choice", "toolConfig/toolChoice", "thinking", "additionalModelRequestFields/thinking",
        "output_config/effort", "additionalModelRequestFields/output_config", "reasoning_effort", "reasoning/effort",
    ),
}  # fmt: skip
_OPENAI: Final[Settings] = {
    "tools": (
        "prompt_cache_key", "service_tier", "parallel_tool_calls", "response_format", "text", "reasoning_effort",
        "reasoning/effort", "verbosity", "context_management",
    ),
}  # fmt: skip


@attrs.frozen
class CacheRule:
    """The rules of one provider's cache.

    ``minimum`` is the tokens of the shortest cached prefix, ``step`` the distance of boundaries with ``steps``.
    ``lifetimes`` has seconds by the lifetime that a mark or ``prompt_cache_retention`` requests; ``""`` is the default.
    ``lookup`` is how many positions each mark, or how many earlier ends, are tried. ``settings`` separate caches."""

    description: str
    boundaries: Boundaries
    minimum: int
    lifetimes: Mapping[str, float]
    report: Report
    step: int = 0
    lookup: int = 0
    settings: Settings = attrs.field(factory=dict)
    is_by_account: bool = True
    is_by_content: bool = False
    """True if web search, citations, images and betas separate caches."""
    ends_input: bool = False
    """True if the end of the input is a boundary in addition to the steps."""
    computes_last: bool = False
    """True if the last token is never read from the cache."""

    @property
    def counts_written(self) -> bool:
        """Whether the provider reports written tokens."""
        return self.report in ("lifetimes", "written")


RULES: Final[Mapping[str, CacheRule]] = {
    "anthropic": CacheRule(
        "at most 4 marks (cache_control), at least 1024 tokens, 5 minutes or 1 hour", "marks", 1024,
        {"": 5 * MINUTE, "5m": 5 * MINUTE, "1h": HOUR}, "lifetimes", lookup=20, settings=_ANTHROPIC, is_by_content=True,
    ),
    "openai": CacheRule(
        "automatic, in steps of 128 tokens from 1024 on, 10 minutes after the last use", "steps", 1024,
        {"": 10 * MINUTE, "24h": 24 * HOUR}, "read", step=128, settings=_OPENAI,
    ),
    "openai-5.6": CacheRule(
        "automatic at the last message or tool output, and at 4 explicit marks; at least 1024 tokens, 30 minutes",
        "ends", 1024, {"": 30 * MINUTE}, "written", lookup=20, settings=_OPENAI,
    ),
    "bedrock": CacheRule(
        "at most 4 marks (cachePoint), at least 1024 tokens, 5 minutes or 1 hour", "marks", 1024,
        {"": 5 * MINUTE, "5m": 5 * MINUTE, "1h": HOUR}, "lifetimes", lookup=20, settings=_ANTHROPIC, is_by_content=True,
    ),
    "deepseek": CacheRule(
        "automatic, in steps of 128 tokens and at the end of the input, 24 hours", "steps", 64,
        {"": 24 * HOUR}, "hits", step=128, ends_input=True,
    ),
    "blocks": CacheRule(
        "automatic, in blocks of 16 tokens, until evicted, like vLLM", "steps", 16,
        {"": float("inf")}, "read", step=16, settings={"tools": ("cache_salt",)}, is_by_account=False,
        computes_last=True,
    ),
}  # fmt: skip

PREFIX: Final = "cache/"


@attrs.frozen
class CacheModel:
    """A model with a prompt cache: a row of ``RULES``, and the fault of the stand-in that the name adds."""

    name: str
    rule: CacheRule
    minimum: int
    fault: str = ""


def cache_model(model: str) -> CacheModel | None:
    """Return the cache that the name ``model`` selects, ``None`` for a model without one.

    Names are ``cache/RULE``, ``cache/RULE-MINIMUM`` and both with ``/FAULT``. The prefix is optional, because gateways
    remove the first part of a name."""
    rule_name, _, fault = model.removeprefix(PREFIX).partition("/")
    numbered = re.fullmatch(r"(.+)-(\d{1,6})", rule_name)
    minimum: int | None = None
    if rule_name not in RULES and numbered is not None:
        rule_name, minimum = numbered[1], int(numbered[2])
    rule = RULES.get(rule_name)
    if rule is None or (fault and fault_of(fault) is None):
        return None
    minimum = rule.minimum if minimum is None else minimum
    name = f"{PREFIX}{rule_name}" + (f"-{minimum}" if minimum != rule.minimum else "")
    return CacheModel(name, rule, minimum, fault)
