"""Token counts as Chat Completions states them to clients, and the chunk of a stream that is there for them."""

import re
from typing import Any

from streams.events import Usage
from streams.surrogates import NOT_JSON, any_json

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
