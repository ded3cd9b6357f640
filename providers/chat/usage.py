"""Token counts as Chat Completions states them, both ways.

``prompt_tokens`` includes what was read from and written to a cache, ``completion_tokens`` includes reasoning (types of
the openai package). Servers differ in where they put the parts and whether they keep to that.
"""

import re
from collections.abc import Mapping
from typing import Any

from providers.neutral.billing import MOST_TOKENS, tier_of, told_nanos, tool_calls
from streams.events import Usage
from streams.surrogates import NOT_JSON, any_json


def read_usage(usage: Mapping[str, Any], tier: Any = None) -> Usage:
    """The counts in an upstream's ``usage``, and what it is billed by beside; ``tier`` stands next to it. Parts that
    contradict the whole are cut to it: none is below zero and the input's parts add up to ``prompt_tokens``."""
    prompt_details = _object(usage.get("prompt_tokens_details"))
    output_details = _object(usage.get("completion_tokens_details"))
    prompt = count(usage.get("prompt_tokens"))
    # DeepSeek and Moonshot name the cached part at the top.
    cached = prompt_details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or usage.get("cached_tokens")
    cache_read = min(count(cached), prompt)
    cache_write = min(count(prompt_details.get("cache_write_tokens")), prompt - cache_read)
    # Google's and xAI's endpoints leave reasoning out of completion_tokens, though not out of the total.
    output = max(count(usage.get("completion_tokens")), count(usage.get("total_tokens")) - prompt)
    reasoning = output_details.get("reasoning_tokens")
    return Usage(
        input=prompt - cache_read - cache_write,
        cache_read=cache_read,
        cache_write=cache_write,
        output=output,
        reasoning=None if reasoning is None else min(count(reasoning), output),
        tier=tier_of(tier or usage.get("service_tier")),  # Mistral has it inside
        calls=tool_calls(usage),
        told_nanos=told_nanos(usage),
    )


_NO_CHOICE = re.compile(rb'"choices"\s*:\s*\[\s*\]')


def is_usage_alone(data: bytes) -> bool:
    """True if a chunk is the one that ``stream_options.include_usage`` adds: counts, and no choice. A chunk without
    choices that says something else, such as Azure's of its content filter, is none."""
    if _NO_CHOICE.search(data) is None or b'"usage"' not in data:
        return False
    try:
        chunk = any_json(data)
    except NOT_JSON:
        return False
    return isinstance(chunk, dict) and chunk.get("choices") == [] and isinstance(chunk.get("usage"), dict)


def write_usage(usage: Usage) -> dict[str, Any]:
    """``usage`` with all details as integers: a ``null`` among them is a validation error in typed clients
    (openai/openai-agents-python#760)."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.output,
        "total_tokens": usage.prompt + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write},
        "completion_tokens_details": {"reasoning_tokens": min(usage.reasoning or 0, usage.output)},
    }


def count(value: Any) -> int:
    """``value`` as a number of tokens, 0 for what is none (``null`` in Databricks' running usage)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(min(max(value, 0), MOST_TOKENS))


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
