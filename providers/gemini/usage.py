"""The token counts of Gemini's answers: ``usageMetadata``, over HTTP and in Gemini Live's websockets."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any, Final

import attrs

from providers.neutral.token_usage import PROVISIONED, has_token_count, is_token_count, tier_of, token_count
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

_LIVE_DETAILS: Final = "responseTokensDetails"
"""Gemini Live's name of ``candidatesTokensDetails``."""

_DETAILS: Final = {"input": "promptTokensDetails", "cached": "cacheTokensDetails", "output": "candidatesTokensDetails"}
"""The lists with the tokens of each modality, by kind of token."""

_PRICED: Final = (("input", "audio"), ("cached", "audio"), ("output", "image"))
"""The media with prices of their own over HTTP (https://ai.google.dev/gemini-api/docs/pricing). Input images have the
price of text, and spoken answers are the only output of their models."""

_LIVE_PRICED: Final = tuple((kind, medium) for medium in ("audio", "image") for kind in ("input", "cached", "output"))
"""The media with prices of their own in Gemini Live."""

_MAX_MODALITIES: Final = 32
_MAX_QUERIES: Final = 1000  # of one answer

_SOURCES: Final = ("web", "maps")

_BILLED_BY_PROMPT: Final = ("gemini-1", "gemini-2")
"""The models whose searches are billed once for a prompt. For later ones, each different query is billed
(https://ai.google.dev/gemini-api/docs/google-search#pricing, BerriAI/litellm#36377)."""

_TRAFFIC_TIERS: Final = {
    "ON_DEMAND_PRIORITY": "priority", "ON_DEMAND_FLEX": "flex", "PROVISIONED_THROUGHPUT": PROVISIONED,
}  # fmt: skip
"""The service tiers that Vertex reports as ``trafficType`` (googleapis/python-genai#2847)."""


class Counts:
    """Token counts as they arrive; the last value of each member counts.

    Early chunks may have the cached part only, and the last one may not repeat it (langchain-ai/langchainjs#9912,
    NousResearch/hermes-agent#19632).
    """

    __slots__ = ("_by_prompt", "_details", "_queries", "_seen", "_sources", "_tier")

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._details: dict[str, Any] = {}
        self._tier: str | None = None
        self._queries: dict[str, None] = {}
        self._by_prompt = False
        self._sources: set[str] = set()

    def add(self, metadata: Any) -> None:
        """Read the counts of ``usageMetadata``, if it is an object."""
        if not isinstance(metadata, dict):
            return
        for name in _COUNTS:
            if name in metadata and is_token_count(count := metadata[name]):
                self._seen[name] = token_count(count)
        for kind, name in _DETAILS.items():
            if name in metadata:
                self._details[kind] = metadata[name]
        traffic = tier_of(metadata.get("trafficType"))
        self._tier = tier_of(metadata.get("serviceTier")) or _TRAFFIC_TIERS.get(traffic or "") or self._tier

    def record_searches(self, queries: Iterable[Any], model: str) -> None:
        """Record the ``queries`` that ``model`` has sent to Google Search; some answers list empty or repeated ones."""
        found = (one for one in islice(queries, _MAX_QUERIES) if isinstance(one, str) and one.strip())
        self._queries.update(dict.fromkeys(islice(found, _MAX_QUERIES - len(self._queries))))
        self._by_prompt = model.rpartition("/")[2].startswith(_BILLED_BY_PROMPT)

    def record_grounding(self, metadata: Mapping[str, Any], model: str) -> None:
        """Record the searches and the kinds of sources (``web``, ``maps``) in ``groundingMetadata``."""
        queries = metadata.get("webSearchQueries")
        self.record_searches(queries if isinstance(queries, list) else (), model)
        chunks = as_objects(metadata.get("groundingChunks"))
        self._sources |= {kind for kind in _SOURCES if any(kind in chunk for chunk in chunks)}

    @property
    def queries(self) -> list[str]:
        """The queries to Google Search, each once."""
        return [*self._queries]

    def _grounding_calls(self) -> tuple[tuple[str, int], ...]:
        """Return the paid searches.

        Answers list the queries to Google Maps among those to Google Search (BerriAI/litellm#38418). Where each query
        is billed, both cost the same.
        """
        searches, has_places = len(self._queries), "maps" in self._sources
        if self._by_prompt:
            searches = 0 if has_places and "web" not in self._sources else min(searches, 1)
        elif searches:
            has_places = False
        calls = (("web_search", searches), ("google_maps", int(has_places)))
        return tuple(one for one in calls if one[1])

    @property
    def has_prompt(self) -> bool:
        """True if the size of the prompt is known."""
        return "promptTokenCount" in self._seen

    def usage(self, media: Iterable[tuple[str, str]] = _PRICED) -> Usage | None:
        """Return the usage so far, or ``None`` if the provider has counted nothing (``trafficType`` only: recorded).

        ``media`` are those with prices of their own, each with its kind of token."""
        calls = self._grounding_calls() if self._queries or self._sources else ()
        if not has_token_count(self._seen, _MAIN, _COUNTS) and not calls:
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
        if thoughts and candidates >= thoughts and prompt + candidates == seen("totalTokenCount"):
            output = candidates  # some answers count the thoughts among the candidates (BerriAI/litellm#10141)
        usage = Usage(
            input=max(prompt - cached, 0),
            cache_read=cached,
            output=output,
            reasoning=thoughts,
            tier=self._tier,
            calls=calls,
            estimated=self._seen.keys() == _ONLY_A_TOTAL and output > 0,
            reports_cache_read="cachedContentTokenCount" in self._seen,
        )
        units = _media_units(self._details, usage, media) if self._details else ()
        return attrs.evolve(usage, units=units) if units else usage


def read_live_usage(metadata: Any) -> Usage | None:
    """Return the usage in Gemini Live's ``usageMetadata``, with audio and image tokens; ``None`` without counts."""
    if not isinstance(metadata, dict):
        return None
    counts = Counts()
    live = {**metadata, _DETAILS["output"]: metadata.get(_LIVE_DETAILS)}
    counts.add({**live, "candidatesTokenCount": metadata[_LIVE_OUTPUT]} if metadata.get(_LIVE_OUTPUT) else live)
    return counts.usage(_LIVE_PRICED)


def _media_units(
    details: Mapping[str, Any], counted: Usage, media: Iterable[tuple[str, str]]
) -> tuple[tuple[str, int], ...]:
    """Return the numbers of audio and image tokens by kind, each at most the whole."""
    most = {"input": counted.input, "cached": counted.cache_read, "output": counted.output}
    found: list[tuple[str, int]] = []
    for kind, medium in media:
        number = _modality_tokens(details.get(kind), medium)
        if kind == "input":  # the cached tokens are among them
            number -= _modality_tokens(details.get("cached"), medium)
        if number > 0 and most[kind]:
            found.append((f"{kind}_{medium}_token", min(number, most[kind])))
    return tuple(found)


def _modality_tokens(details: Any, medium: str) -> int:
    listed = as_objects(details)[:_MAX_MODALITIES]
    return sum(token_count(one.get("tokenCount")) for one in listed if as_string(one.get("modality")).lower() == medium)
