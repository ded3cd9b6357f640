"""Token counts in OpenAI's words, which most providers use: those of Chat Completions (``prompt_tokens``) and Responses
(``input_tokens``).

The input includes cached tokens, the output reasoning (types of the openai package). Servers differ in the places of
the parts, and in these rules.

Other items of a bill are calls of the provider's own tools, and a cost in money. Missing or mistyped members count as
absent.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice
from typing import Any, Final

import attrs

from streams.events import Usage

MOST_TOKENS: Final = 10**8
"""The most tokens of one kind in one turn, ten times those of the longest prompts; sums fit into 64 bits."""

MOST_BATCH_TOKENS: Final = 10**10
"""The most tokens of one kind in a batch: 50,000 answers of the longest kind."""

_MOST_DOLLARS = 10**6  # for one answer; a higher cost is ignored
_MOST_CALLS = 10**6  # of one tool in one answer
_MAX_TOOLS = 32


OPENAI_TIERS: Final = frozenset(("auto", "default", "flex", "scale", "priority", "fast", "ultrafast"))
"""The service tiers in OpenAI's APIs."""


PROVISIONED: Final = "provisioned_throughput"
"""The service tier of requests that a commitment with Vertex AI pays for
(https://cloud.google.com/vertex-ai/generative-ai/docs/provisioned-throughput/overview)."""


def token_count(value: Any, most: int = MOST_TOKENS) -> int:
    """Return ``value`` as a number of tokens up to ``most``, 0 for anything else (``null`` in Databricks' running
    usage)."""
    if value is None:
        return 0
    if type(value) is int and 0 <= value <= most:
        return value
    return int(min(value, most)) if is_token_count(value) else 0


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
    most: int = MOST_TOKENS,
) -> Usage | None:
    """Read the counts in ``usage``, each up to ``most``, and the other items of its bill; return ``None`` if it has
    neither.

    ``words`` are the names of the counts. If ``usage`` has no counts under them, its other names apply (new-api has
    both, one with 0). ``tier`` is from outside ``usage``, and ``calls`` are the default for calls of the provider's own
    tools. Parts are limited to the whole: none is below zero, and the input's parts add up.
    """
    input_count, output_count = usage.get(words.input), usage.get(words.output)
    if not input_count and not output_count:
        words = next((one for one in (OLDER, NEWER) if usage.get(one.input) or usage.get(one.output)), words)
        input_count, output_count = usage.get(words.input), usage.get(words.output)
    inputs, outputs = _object(usage, words.input_details), _object(usage, words.output_details)
    prompt, total = token_count(input_count, most), token_count(usage.get("total_tokens"), most)
    counted, seconds = token_count(output_count, most), token_count(usage.get("prompt_audio_seconds"))
    if counted and not prompt and not seconds:
        prompt = max(total - counted, 0)  # its count is missing: the rest of the total is no output
    # DeepSeek and Moonshot have the cached part at the top level.
    counts = inputs.get("cached_tokens"), usage.get("prompt_cache_hit_tokens"), usage.get("cached_tokens")
    cached = counts[0] or counts[1] or counts[2]
    cache_read = min(token_count(cached, most), prompt) if cached else 0
    written = next((count for name in _WRITES if (count := inputs.get(name))), 0) if inputs else 0
    cache_write = min(token_count(written, most), prompt - cache_read) if written else 0
    short, long = _writes_by_lifetime(inputs, cache_write, most) if cache_write else (None, None)
    # Google's and xAI's endpoints count reasoning in the total, but not in completion_tokens.
    # Mistral's total has the tokens of a recording, which is billed by its length instead.
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
        reasoning=None if reasoning is None else min(token_count(reasoning, most), output),
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


def _writes_by_lifetime(inputs: Mapping[str, Any], written: int, most: int) -> tuple[int | None, int | None]:
    """Return the cache writes with the short and the long lifetime, if they add up to ``written``."""
    details = inputs.get("cache_write_tokens_details")
    if not isinstance(details, dict):
        return None, None
    short, long = (token_count(details.get(name), most) for name in _LIFETIMES)
    return (short, long) if short + long == written else (None, None)


def _media_units(
    inputs: Mapping[str, Any], outputs: Mapping[str, Any], media: tuple[str, ...], most: int
) -> tuple[tuple[str, int], ...]:
    """Return the tokens of sounds and images among the counted ones."""
    found: list[tuple[str, int]] = []
    for medium in media if inputs or outputs else ():
        name = f"{medium}_tokens"
        if not inputs.get(name) and not outputs.get(name):
            continue
        cached = token_count(_object(inputs, ("cached_tokens_details",)).get(name), most)
        for kind, number in (
            ("input", token_count(inputs.get(name), most) - cached),
            ("cached", cached),
            ("output", token_count(outputs.get(name), most)),
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
