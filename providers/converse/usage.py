"""Token counts of Converse, read and written. ``inputTokens`` leaves out what was read from and written to a cache; the
four counts add up to ``totalTokens``."""

from collections.abc import Mapping
from typing import Any

from providers.neutral.billing import MOST_TOKENS, tier_of
from providers.neutral.bounds import bounded
from streams.events import Usage

_SHORT, _LONG = "5m", "1h"


def read_usage(metadata: Mapping[str, Any]) -> Usage | None:
    """The account in an answer, or in the event ``metadata`` of a stream; ``None`` where there is none."""
    counts = metadata.get("usage")
    if not isinstance(counts, dict):
        return None
    lifetimes = _lifetimes(counts.get("cacheDetails"))
    return Usage(
        _count(counts, "inputTokens"),
        _count(counts, "cacheReadInputTokens") or _count(counts, "cacheReadInputTokenCount"),
        _count(counts, "cacheWriteInputTokens") or _count(counts, "cacheWriteInputTokenCount"),
        lifetimes.get(_SHORT),
        lifetimes.get(_LONG),
        _count(counts, "outputTokens"),
        tier=_tier(metadata.get("serviceTier")),
    )


def _count(counts: Mapping[str, Any], name: str) -> int:
    figure = counts.get(name)
    return max(0, min(figure, MOST_TOKENS)) if type(figure) is int else 0


def _lifetimes(details: Any) -> Mapping[str, int]:
    """What was written to a cache, by lifetime."""
    found = bounded(details, "cache details") if isinstance(details, list) else ()
    return {
        ttl: _count(one, "inputTokens")
        for one in found
        if isinstance(one, dict) and isinstance(ttl := one.get("ttl"), str)
    }


def _tier(tier: Any) -> str | None:
    return tier_of(tier.get("type")) if isinstance(tier, dict) else None


def write_usage(usage: Usage) -> dict[str, Any]:
    """The object ``usage`` of an answer, or of ``metadata``."""
    counts: dict[str, Any] = {
        "inputTokens": usage.input,
        "outputTokens": usage.output,
        "totalTokens": usage.prompt + usage.output,
        "cacheReadInputTokens": usage.cache_read,
        "cacheWriteInputTokens": usage.cache_write,
    }
    written = ((_SHORT, usage.cache_write_5m), (_LONG, usage.cache_write_1h))
    if details := [{"ttl": ttl, "inputTokens": tokens} for ttl, tokens in written if tokens]:
        counts["cacheDetails"] = details
    return counts
