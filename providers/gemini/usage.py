"""Token counts of Gemini answers, read.

``promptTokenCount`` includes what was read from a cache and leaves out what Google's own tools put in;
``candidatesTokenCount`` leaves the thoughts out (BerriAI/litellm#10667). Source: ``UsageMetadata`` of the Gemini API.
"""

from collections.abc import Mapping
from typing import Any, Final

from providers.neutral.billing import MOST_TOKENS, tier_of
from streams.events import Usage

_COUNTS: Final = (
    "promptTokenCount", "toolUsePromptTokenCount", "cachedContentTokenCount", "candidatesTokenCount",
    "thoughtsTokenCount", "totalTokenCount",
)  # fmt: skip


class Counts:
    """Token counts as they come in. Of each member the last value counts: early chunks may have the cached part alone,
    and the last one not repeat it (langchain-ai/langchainjs#9912, NousResearch/hermes-agent#19632)."""

    __slots__ = ("_searches", "_seen", "_tier")

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._tier: str | None = None
        self._searches = 0

    def add(self, metadata: Any) -> None:
        """Take the figures of ``usageMetadata``, if it is an object."""
        if not isinstance(metadata, dict):
            return
        for name in _COUNTS:
            if name in metadata and type(count := metadata[name]) is int:
                self._seen[name] = min(max(count, 0), MOST_TOKENS)
        self._tier = tier_of(metadata.get("serviceTier")) or self._tier

    def searched(self, times: int) -> None:
        """Google Search was asked ``times`` times so far."""
        self._searches = max(self._searches, times)

    @property
    def begun(self) -> bool:
        """Whether the size of the prompt is known."""
        return "promptTokenCount" in self._seen

    def usage(self) -> Usage | None:
        """The account so far, ``None`` if the provider has counted nothing (``trafficType`` alone: recorded)."""
        if not self._seen:
            return None
        seen = self._seen.get
        prompt = seen("promptTokenCount", 0) + seen("toolUsePromptTokenCount", 0)
        thoughts = seen("thoughtsTokenCount")
        cached = min(seen("cachedContentTokenCount", 0), prompt) if self.begun else seen("cachedContentTokenCount", 0)
        return Usage(
            input=max(prompt - cached, 0),
            cache_read=cached,
            output=_said(self._seen, prompt, thoughts or 0) + (thoughts or 0),
            reasoning=thoughts,
            tier=self._tier,
            calls=(("web_search", self._searches),) if self._searches else (),
        )


def _said(seen: Mapping[str, int], prompt: int, thoughts: int) -> int:
    """``candidatesTokenCount``, which may be absent: then it is what the total leaves."""
    if (count := seen.get("candidatesTokenCount")) is not None:
        return count
    return max(seen.get("totalTokenCount", prompt) - prompt - thoughts, 0)
