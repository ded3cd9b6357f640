"""The token counts of Gemini's answers: ``usageMetadata``, over HTTP and in Gemini Live's websockets."""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from providers.neutral.billing import has_token_count, is_token_count, tier_of, token_count
from providers.neutral.values import as_objects, as_string
from streams.events import Usage

_COUNTS: Final = (
    "promptTokenCount", "toolUsePromptTokenCount", "cachedContentTokenCount", "candidatesTokenCount",
    "thoughtsTokenCount", "totalTokenCount",
)  # fmt: skip

_MAIN: Final = ("promptTokenCount", "candidatesTokenCount", "totalTokenCount")

_ONLY_A_TOTAL: Final = {"totalTokenCount"}
"""Usage with these counts alone: perhaps all tokens are output. A total of 0 is no count."""

_LIVE_OUTPUT: Final = "responseTokenCount"
"""Gemini Live's name of ``candidatesTokenCount`` (https://ai.google.dev/api/live#UsageMetadata)."""

_DETAILS: Final = {"input": "promptTokensDetails", "cached": "cacheTokensDetails", "output": "responseTokensDetails"}
"""The lists of Gemini Live with the tokens of each modality, by kind of token."""

_MEDIA: Final = ("audio", "image")
_MAX_MODALITIES: Final = 32


class Counts:
    """Token counts as they arrive; the last value of each member counts.

    Early chunks may have the cached part only, and the last one may not repeat it (langchain-ai/langchainjs#9912,
    NousResearch/hermes-agent#19632).
    """

    __slots__ = ("_searches", "_seen", "_tier")

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._tier: str | None = None
        self._searches = 0

    def add(self, metadata: Any) -> None:
        """Read the counts of ``usageMetadata``, if it is an object."""
        if not isinstance(metadata, dict):
            return
        for name in _COUNTS:
            if name in metadata and is_token_count(count := metadata[name]):
                self._seen[name] = token_count(count)
        self._tier = tier_of(metadata.get("serviceTier")) or self._tier

    def record_searches(self, times: int) -> None:
        """Record that Google Search has run ``times`` times so far."""
        self._searches = max(self._searches, times)

    @property
    def has_prompt(self) -> bool:
        """True if the size of the prompt is known."""
        return "promptTokenCount" in self._seen

    def usage(self) -> Usage | None:
        """Return the usage so far, or ``None`` if the provider has counted nothing (``trafficType`` only: recorded)."""
        if not has_token_count(self._seen, _MAIN, _COUNTS) and not self._searches:
            return None
        seen = self._seen.get
        prompt = seen("promptTokenCount", 0) + seen("toolUsePromptTokenCount", 0)
        thoughts = seen("thoughtsTokenCount")
        cached = (
            min(seen("cachedContentTokenCount", 0), prompt) if self.has_prompt else seen("cachedContentTokenCount", 0)
        )
        if (candidates := seen("candidatesTokenCount")) is None:  # the rest of the total
            candidates = max(seen("totalTokenCount", prompt) - prompt - (thoughts or 0), 0)
        output = candidates + (thoughts or 0)
        return Usage(
            input=max(prompt - cached, 0),
            cache_read=cached,
            output=output,
            reasoning=thoughts,
            tier=self._tier,
            calls=(("web_search", self._searches),) if self._searches else (),
            estimated=self._seen.keys() == _ONLY_A_TOTAL and output > 0,
            reports_cache_read="cachedContentTokenCount" in self._seen,
        )


def read_live_usage(metadata: Any) -> Usage | None:
    """Return the usage in Gemini Live's ``usageMetadata``, with audio and image tokens; ``None`` without counts."""
    if not isinstance(metadata, dict):
        return None
    counts = Counts()
    counts.add({**metadata, "candidatesTokenCount": metadata[_LIVE_OUTPUT]} if metadata.get(_LIVE_OUTPUT) else metadata)
    found = counts.usage()
    return None if found is None else attrs.evolve(found, units=_media_units(metadata, found))


def _media_units(metadata: Mapping[str, Any], counted: Usage) -> tuple[tuple[str, int], ...]:
    """Return the numbers of audio and image tokens by kind, each at most the whole."""
    found: list[tuple[str, int]] = []
    for medium in _MEDIA:
        cached, sent, output = (
            _modality_tokens(metadata.get(_DETAILS[kind]), medium) for kind in ("cached", "input", "output")
        )
        for name, number, most in (
            ("input", sent - cached, counted.input),
            ("cached", cached, counted.cache_read),
            ("output", output, counted.output),
        ):
            if number > 0 and most:
                found.append((f"{name}_{medium}_token", min(number, most)))
    return tuple(found)


def _modality_tokens(details: Any, medium: str) -> int:
    listed = as_objects(details)[:_MAX_MODALITIES]
    return sum(token_count(one.get("tokenCount")) for one in listed if as_string(one.get("modality")).lower() == medium)
