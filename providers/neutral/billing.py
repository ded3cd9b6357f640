"""Items of a bill in a provider's ``usage`` besides tokens: calls of its own tools, and a cost in money.

Missing or mistyped members count as absent.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Any, Final

from streams.events import Usage

MOST_TOKENS: Final = 10**8
"""The most tokens of one kind in one turn, ten times those of the longest prompts; sums fit into 64 bits."""

_MOST_DOLLARS = 10**6  # for one answer; a higher cost is ignored
_MOST_CALLS = 10**6  # of one tool in one answer
_MAX_TOOLS = 32


OPENAI_TIERS: Final = frozenset(("auto", "default", "flex", "scale", "priority", "fast", "ultrafast"))
"""The service tiers in OpenAI's APIs."""


PROVISIONED: Final = "provisioned_throughput"
"""The service tier of requests that a commitment with Vertex AI pays for
(https://cloud.google.com/vertex-ai/generative-ai/docs/provisioned-throughput/overview)."""


def token_count(value: Any) -> int:
    """Return ``value`` as a number of tokens, 0 for anything else (``null`` in Databricks' running usage)."""
    if type(value) is int and 0 <= value <= MOST_TOKENS:
        return value
    return int(min(value, MOST_TOKENS)) if is_token_count(value) else 0


def is_token_count(value: Any) -> bool:
    """Return whether ``value`` can be a number of tokens."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def has_token_count(usage: Mapping[str, Any], names: Iterable[str], parts: Iterable[str] = ()) -> bool:
    """Return whether one of the members ``names`` of ``usage`` can be a number of tokens, or one of ``parts`` is above
    0.

    Usage without one counts as missing, and its tokens are estimated. A part of 0 is no count of the whole.
    """
    return any(is_token_count(usage.get(name)) for name in names) or any(token_count(usage.get(part)) for part in parts)


def output_or_rest(usage: Mapping[str, Any], name: str, total: str, others: int) -> tuple[int, bool]:
    """Return the output tokens, or without a count those in ``total`` besides the ``others``, and whether they are an
    estimate: without any other count, perhaps all tokens are output."""
    if is_token_count(usage.get(name)):
        return token_count(usage[name]), False
    rest = max(token_count(usage.get(total)) - others, 0)
    return rest, rest > 0 and not others


def tier_of(word: Any) -> str | None:
    """Return the service tier that a provider reports, or ``None`` if ``word`` is no text."""
    return word if isinstance(word, str) and word else None


def tier_for_client(usage: Usage | None, tiers: Collection[str]) -> str | None:
    """Return the service tier in ``usage`` by its neutral name, or ``None`` if it is not among the ``tiers`` of the
    client's API.

    Anthropic and Google name the normal tier ``standard``.
    """
    tier = "" if usage is None or usage.tier is None else usage.tier.lower()
    tier = "default" if tier == "standard" else tier
    return tier if tier in tiers else None


def tool_calls(usage: Mapping[str, Any]) -> tuple[tuple[str, int], ...]:
    """Return the number of calls of each of the provider's own tools in ``usage``."""
    for member in _TOOL_COUNTS:
        if member in usage and isinstance(counts := usage[member], dict):
            named = ((name.removesuffix(_SUFFIXES[name[-6:]]), min(count, _MOST_CALLS))
                     for name, count in counts.items()
                     if name[-6:] in _SUFFIXES and type(count) is int and count > 0)  # fmt: skip
            return tuple(islice(named, _MAX_TOOLS))
    return ()


_TOOL_COUNTS = (
    "server_tool_use",  # Anthropic, OpenRouter
    "server_tool_use_details",  # OpenRouter
    "server_side_tool_usage_details",  # xAI
)
_SUFFIXES = {"quests": "_requests", "_calls": "_calls"}


def reported_nanos(usage: Mapping[str, Any]) -> int | None:
    """Return the cost that ``usage`` reports, in nano-dollars, or ``None``."""
    for member, read in _COST_READERS:
        if member in usage and (nanos := read(usage)) is not None:
            return nanos
    return None


def _read_ticks(usage: Mapping[str, Any]) -> int | None:
    """Read xAI's cost; ten thousand million ticks are a dollar (docs.x.ai, Cost Tracking)."""
    ticks = usage["cost_in_usd_ticks"]
    return (ticks + 5) // 10 if type(ticks) is int and 0 <= ticks <= _MOST_DOLLARS * 10**10 else None


def _read_cost(usage: Mapping[str, Any]) -> int | None:
    """Read OpenRouter's cost in dollars, or Perplexity's object.

    OpenRouter excludes the bill of a customer's own key (openrouter.ai, Usage Accounting).
    """
    cost = usage["cost"]
    if isinstance(cost, dict):
        return _to_nanos(cost.get("total_cost"))
    fee = _to_nanos(cost)
    if fee is None or usage.get("is_byok") is not True:
        return fee
    details = usage.get("cost_details")
    billed = _to_nanos(details.get("upstream_inference_cost")) if isinstance(details, dict) else None
    return None if billed is None else fee + billed


def _to_nanos(dollars: Any) -> int | None:
    if isinstance(dollars, bool) or not isinstance(dollars, int | float) or not 0 <= dollars <= _MOST_DOLLARS:
        return None
    return round(dollars * 10**9)


_COST_READERS: tuple[tuple[str, Callable[[Mapping[str, Any]], int | None]], ...] = (
    ("cost_in_usd_ticks", _read_ticks),
    ("cost", _read_cost),
    ("estimated_cost", lambda usage: _to_nanos(usage["estimated_cost"])),  # DeepInfra's, in dollars
)
