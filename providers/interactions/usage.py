"""The token counts of Interactions: ``usage`` of an answer, from providers and for clients.

The input consists of the prompt, with its cached part, and the tokens of Google's own tools; the output excludes
thoughts. ``total_tokens`` of agents is not the sum. Source: ``Usage`` of the google-genai package, and recordings.
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.gemini.shared_members import TIER_WORDS
from providers.neutral.codec import complete_usage
from providers.neutral.token_usage import has_token_count, output_or_rest, tier_for_client, tier_of, token_count
from providers.neutral.values import as_objects
from streams.events import Usage

_COUNTS: Final = ("total_input_tokens", "total_output_tokens", "total_tokens")
_PARTS: Final = ("total_tool_use_tokens", "total_cached_tokens", "total_thought_tokens")

_SEARCHES: Final[Mapping[str, str]] = {"google_search": "web_search"}
"""Names of tools in price lists, by their type in ``grounding_tool_count``."""
_MAX_TOOLS: Final = 32
_MOST_RUNS: Final = 10**6


class Counts:
    """Token counts as they arrive; the last object with counts replaces earlier ones."""

    __slots__ = ("_seen", "_tier")

    def __init__(self) -> None:
        self._seen: Mapping[str, Any] = {}
        self._tier: str | None = None

    def add(self, usage: Any, tier: Any = None) -> None:
        """Replace the counts by those in ``usage``, if it has any, and the service tier by a known ``tier``."""
        if isinstance(usage, dict) and (has_token_count(usage, _COUNTS, _PARTS) or usage.get("grounding_tool_count")):
            self._seen = usage
        self._tier = tier_of(tier) or self._tier

    @property
    def is_empty(self) -> bool:
        """True if the provider has counted nothing."""
        return not self._seen

    def usage(self) -> Usage | None:
        """Return the usage so far, or ``None`` if the provider has counted nothing."""
        if self.is_empty:
            return None
        seen = self._seen.get
        prompt = token_count(seen("total_input_tokens")) + token_count(seen("total_tool_use_tokens"))
        thoughts = token_count(seen("total_thought_tokens"))
        cached = min(token_count(seen("total_cached_tokens")), prompt)
        output, is_rest = output_or_rest(self._seen, "total_output_tokens", "total_tokens", prompt + thoughts)
        return Usage(
            input=prompt - cached,
            cache_read=cached,
            output=output + thoughts,
            estimated=is_rest,
            reasoning=thoughts if "total_thought_tokens" in self._seen else None,
            tier=self._tier,
            calls=_tool_runs(seen("grounding_tool_count")),
            reports_cache_read="total_cached_tokens" in self._seen,
        )


def _tool_runs(counts: Any) -> tuple[tuple[str, int], ...]:
    """Return the paid runs of Google's own tools."""
    found: dict[str, int] = {}
    for one in as_objects(counts)[:_MAX_TOOLS]:
        kind, count = one.get("type"), one.get("count")
        if isinstance(kind, str) and type(count) is int and 0 < count <= _MOST_RUNS:
            name = _SEARCHES.get(kind, kind)
            found[name] = found.get(name, 0) + count
    return tuple(found.items())


def write_usage(usage: Usage | None, estimate: int, characters: int) -> dict[str, Any]:
    """Return ``usage``: cached tokens are part of the input, thoughts are not part of the output.

    Counts that the provider did not report are estimates, based on the number of characters in ``characters``.
    """
    usage = complete_usage(usage, estimate, characters)
    thoughts = min(usage.reasoning or 0, usage.output)
    return {
        "total_tokens": usage.prompt + usage.output,
        "total_input_tokens": usage.prompt,
        "total_cached_tokens": usage.cache_read,
        "total_output_tokens": usage.output - thoughts,
        "total_tool_use_tokens": 0,
        "total_thought_tokens": thoughts,
    }


def write_tier(usage: Usage | None) -> dict[str, str]:
    """Return the member ``service_tier``, if the provider reported a tier of this API."""
    tier = tier_for_client(usage, TIER_WORDS)
    return {} if tier is None else {"service_tier": TIER_WORDS[tier]}
