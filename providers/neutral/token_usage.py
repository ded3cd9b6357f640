"""Token counts in OpenAI's words, which most providers use: those of Chat Completions (``prompt_tokens``) and Responses
(``input_tokens``).

The input includes cached tokens, the output reasoning (types of the openai package). Servers differ in the places of
the parts, and in these rules.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from providers.neutral.billing import has_token_count, reported_nanos, tier_of, token_count, tool_calls
from streams.events import Usage


@attrs.frozen(repr=False)
class TokenWords:
    """An API's names of its counts, and of the objects with their parts."""

    input: str
    output: str
    input_details: tuple[str, ...]
    output_details: tuple[str, ...]


OLDER: Final = TokenWords(
    "prompt_tokens", "completion_tokens", ("prompt_tokens_details",), ("completion_tokens_details",)
)
NEWER: Final = TokenWords(
    "input_tokens",
    "output_tokens",
    ("input_tokens_details", "input_token_details"),  # the second of transcripts and of realtime sessions
    ("output_tokens_details", "output_token_details"),
)

COUNTS: Final = (NEWER.input, NEWER.output, OLDER.input, OLDER.output, "total_tokens")

AUDIO_ONLY: Final = ("audio",)
"""Content of conversations with its own price per token; images have the price of text."""

ALL_MEDIA: Final = ("audio", "image")


def read_tokens(
    usage: Mapping[str, Any],
    words: TokenWords,
    *,
    tier: Any = None,
    calls: tuple[tuple[str, int], ...] = (),
    media: tuple[str, ...] = AUDIO_ONLY,
) -> Usage | None:
    """Read the counts in ``usage``, and the other items of its bill; return ``None`` if it has neither.

    ``words`` are the names of the counts. If ``usage`` has no counts under them, its other names apply (new-api has
    both, one with 0). ``tier`` is from outside ``usage``, and ``calls`` are the default for calls of the provider's own
    tools. Parts are limited to the whole: none is below zero, and the input's parts add up.
    """
    if not usage.get(words.input) and not usage.get(words.output):
        words = next((one for one in (OLDER, NEWER) if usage.get(one.input) or usage.get(one.output)), words)
    inputs, outputs = _object(usage, words.input_details), _object(usage, words.output_details)
    prompt, total = token_count(usage.get(words.input)), token_count(usage.get("total_tokens"))
    # # DeepSeek and Moonshot have the cached part at the top level.
    counts = inputs.get("cached_tokens"), usage.get("prompt_cache_hit_tokens"), usage.get("cached_tokens")
    cached = counts[0] or counts[1] or counts[2]
    cache_read = min(token_count(cached), prompt)
    written = next((count for name in _WRITES if (count := inputs.get(name))), 0)
    cache_write = min(token_count(written), prompt - cache_read)
    short, long = _writes_by_lifetime(inputs, cache_write) if cache_write else (None, None)
    # # Google's and xAI's endpoints count reasoning in the total, but not in completion_tokens.
    # # Mistral's total has the tokens of a recording, which is billed by its length instead.
    counted, seconds = token_count(usage.get(words.output)), token_count(usage.get("prompt_audio_seconds"))
    output = counted if seconds else max(counted, total - prompt)
    reasoning = outputs.get("reasoning_tokens")
    calls, nanos = tool_calls(usage) or calls, reported_nanos(usage)
    if not (prompt or output or calls or nanos is not None) and not has_token_count(usage, COUNTS):
        return None
    return Usage(
        input=prompt - cache_read - cache_write,
        cache_read=cache_read,
        cache_write=cache_write,
        cache_write_5m=short,
        cache_write_1h=long,
        output=output,
        reasoning=None if reasoning is None else min(token_count(reasoning), output),
        tier=tier_of(tier or usage.get("service_tier")),  # Mistral has it inside
        calls=calls,
        reported_nanos=nanos,
        units=(("second", seconds),) if seconds else _media_units(inputs, outputs, media, prompt + output),
        estimated=not (prompt or counted) and output > 0,  # only a total: perhaps all of it is output
        reports_cache_read=counts != _ABSENT,
    )


_ABSENT: Final = (None, None, None)
_WRITES: Final = ("cache_write_tokens", "cache_creation_input_tokens", "cache_creation_tokens")
"""The counts of tokens written to a cache, of OpenAI and OpenRouter, Alibaba Cloud (BerriAI/litellm#40090), and LiteLLM
(BerriAI/litellm#11364)."""
_LIFETIMES: Final = ("ttl_30m_tokens", "ttl_12h_tokens")
"""The counts of OpenAI's lifetimes of cache entries, the shorter first (``ResponseUsage`` of the openai package)."""


def _writes_by_lifetime(inputs: Mapping[str, Any], written: int) -> tuple[int | None, int | None]:
    """Return the cache writes with the short and the long lifetime, if they add up to ``written``."""
    details = inputs.get("cache_write_tokens_details")
    if not isinstance(details, dict):
        return None, None
    short, long = (token_count(details.get(name)) for name in _LIFETIMES)
    return (short, long) if short + long == written else (None, None)


def _media_units(
    inputs: Mapping[str, Any], outputs: Mapping[str, Any], media: tuple[str, ...], most: int
) -> tuple[tuple[str, int], ...]:
    """Return the tokens of sounds and images among the counted ones."""
    found: list[tuple[str, int]] = []
    for medium in media:
        name = f"{medium}_tokens"
        if not inputs.get(name) and not outputs.get(name):
            continue
        cached = token_count(_object(inputs, ("cached_tokens_details",)).get(name))
        for kind, number in (
            ("input", token_count(inputs.get(name)) - cached),
            ("cached", cached),
            ("output", token_count(outputs.get(name))),
        ):
            if number > 0:
                found.append((f"{kind}_{medium}_token", min(number, most)))
    return tuple(found)


_NOTHING: Final[Mapping[str, Any]] = {}


def _object(usage: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    for name in names:
        if isinstance(found := usage.get(name), dict):
            return found
    return _NOTHING


_LONGEST_WORD: Final = 64


def diagnosis_word(value: Any) -> str | None:
    """Return a provider's word for the cause of a cache miss, ``None`` if ``value`` is no such word."""
    is_word = isinstance(value, str) and value.isascii() and value.isprintable() and 0 < len(value) <= _LONGEST_WORD
    return value if is_word else None
