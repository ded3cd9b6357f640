"""Every reader of token counts limits them: a provider's number is never negative, and sums fit into 64 bits."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.relay.answers import ApiUsageReader
from providers.apis import CODECS
from providers.catalog.prices import cost_of, read_price
from providers.converse.wording import read_usage as read_converse
from providers.endpoints.completions import CompletionReader
from providers.endpoints.embeddings.cohere import read_usage as read_cohere
from providers.endpoints.embeddings.gemini import read_usage as read_gemini_embeddings
from providers.endpoints.embeddings.invoked import read_titan, read_vertex, reported_tokens
from providers.endpoints.media_tokens import read_usage
from providers.endpoints.rerank import read_costs
from providers.gemini.usage import Counts as GeminiCounts
from providers.gemini.usage import read_live_usage
from providers.interactions.usage import Counts as InteractionsCounts
from providers.messages.usage import Counts as MessagesCounts
from providers.neutral.token_usage import MOST_TOKENS
from streams.events import Usage
from tests.support.cases import case
from tests.support.each_row import each_row

HOSTILE = (-900_000, -1, 10**19, 2**63, 2**64, 10**40, -(10**40), 1e300, -1e300, "5", True, None, [], {"a": 1})


def read_messages(usage: Any) -> Usage | None:
    counts = MessagesCounts()
    counts.add(usage)
    return counts.usage()


def read_gemini(usage: Any) -> Usage | None:
    counts = GeminiCounts()
    counts.add(usage)
    return counts.usage()


def read_interactions(usage: Any) -> Usage | None:
    counts = InteractionsCounts()
    counts.add(usage)
    return counts.usage()


def read_completion(usage: Any) -> Usage | None:
    reader = CompletionReader(1)
    reader.read_whole({"choices": [], "usage": usage})
    return reader.usage


def read_rerank(usage: Any) -> Usage | None:
    costs = read_costs({"meta": {"billed_units": usage}, "usage": usage})
    return Usage(input=costs.tokens or 0, units=(("search", costs.searches or 0),))


def as_raw(usage: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(usage).encode())


OPENAI = {
    "input_tokens": 9, "prompt_tokens": 9, "output_tokens": 9, "completion_tokens": 9, "total_tokens": 18,
    "input_token_details": {"cached_tokens": 1, "audio_tokens": 1, "image_tokens": 1,
                            "cached_tokens_details": {"audio_tokens": 1}},
    "output_tokens_details": {"reasoning_tokens": 1, "audio_tokens": 1},
}  # fmt: skip
LIVE = {
    "promptTokenCount": 9, "toolUsePromptTokenCount": 1, "cachedContentTokenCount": 1, "responseTokenCount": 9,
    "candidatesTokenCount": 9, "thoughtsTokenCount": 1, "totalTokenCount": 20,
    "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
    "responseTokensDetails": [{"modality": "IMAGE", "tokenCount": 1}],
}  # fmt: skip
ANTHROPIC = {
    "input_tokens": 9, "cache_read_input_tokens": 1, "cache_creation_input_tokens": 2, "output_tokens": 9,
    "cache_creation": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 1},
    "output_tokens_details": {"thinking_tokens": 1},
    "iterations": [{"type": "message", "input_tokens": 1, "output_tokens": 1},
                   {"type": "message", "input_tokens": 1, "output_tokens": 1}],
}  # fmt: skip
CONVERSE = {
    "inputTokens": 9, "cacheReadInputTokens": 1, "cacheWriteInputTokens": 1, "outputTokens": 9,
    "cacheDetails": [{"ttl": "1h", "inputTokens": 1}, {"ttl": "5m", "inputTokens": 1}],
}  # fmt: skip

READERS: Mapping[str, tuple[Callable[[Any], Usage | None], dict[str, Any]]] = {
    "providers/neutral/token_usage.py": (read_usage, OPENAI),
    "providers/endpoints/media_tokens.py": (read_usage, {"type": "duration", "seconds": 9}),
    "providers/endpoints/completions.py": (read_completion, OPENAI),
    "providers/gemini/usage.py": (read_gemini, LIVE),
    "providers/gemini/usage.py, Gemini Live": (read_live_usage, LIVE),
    "providers/interactions/usage.py": (
        read_interactions,
        {"total_input_tokens": 9, "total_cached_tokens": 1, "total_tool_use_tokens": 2, "total_output_tokens": 3,
         "total_thought_tokens": 4, "grounding_tool_count": [{"type": "google_search", "count": 2}]},
    ),
    "providers/messages/usage.py": (read_messages, ANTHROPIC),
    "providers/converse/wording.py": (lambda usage: read_converse({"usage": usage}), CONVERSE),
    "providers/endpoints/embeddings/gemini.py": (
        lambda usage: read_gemini_embeddings(as_raw(usage)), {"promptTokenCount": 9},
    ),
    "providers/endpoints/embeddings/cohere.py": (
        lambda usage: read_cohere(as_raw({"billed_units": usage})),
        {"input_tokens": 9, "image_tokens": 9, "images": 9},
    ),
    "providers/endpoints/embeddings/filtering.py": (
        lambda counts: Usage(input=reported_tokens((("x-amzn-bedrock-input-token-count", str(counts["n"])),)) or 0),
        {"n": 9},
    ),
    "providers/endpoints/embeddings/invoked.py": (
        lambda usage: read_vertex(json.dumps({"predictions": [{"embeddings": usage}] * 9}).encode(), 9).usage,
        {"values": [0.5], "statistics": {"token_count": 9}},
    ),
    "providers/endpoints/embeddings/invoked.py, Titan": (
        lambda usage: read_titan(json.dumps({"embedding": [0.5], **usage}).encode(), 1).usage,
        {"inputTextTokenCount": 9},
    ),
    "gateway/features/other_endpoints/rerank.py": (
        read_rerank, {"search_units": 9, "input_tokens": 9, "total_tokens": 9, "prompt_tokens": 9},
    ),
}  # fmt: skip
"""Readers of a provider's counts, by the module that makes a ``Usage`` of them, each with an object to read."""


def with_hostile_numbers(value: Any, hostile: Any) -> list[Any]:
    """Return copies of ``value``, each with one number replaced by ``hostile``, and one with all of them."""
    found: list[Any] = []

    def walk(at: Any, put: Callable[[Any, Any], Any]) -> Any:
        if isinstance(at, dict):
            return {name: walk(one, lambda new, old, name=name: put({**at, name: new}, at)) for name, one in at.items()}
        if isinstance(at, list):
            return [walk(one, lambda new, old, n=n: put([*at[:n], new, *at[n + 1 :]], at)) for n, one in enumerate(at)]
        if isinstance(at, int):
            found.append(put(hostile, at))
            return hostile
        return at

    found.append(walk(value, lambda new, old: new))
    return found


def counts_of(usage: Usage) -> list[int]:
    steps = [count for step in usage.steps for count in counts_of(step.usage)]
    own = (usage.input, usage.cache_read, usage.cache_write, usage.cache_write_5m or 0, usage.cache_write_1h or 0,
           usage.output, usage.reasoning or 0, usage.reported_nanos or 0)  # fmt: skip
    return [*own, *steps, *(number for _, number in (*usage.units, *usage.calls))]


PRICES = [
    read_price(row, "configuration")
    for row in (
        {"input": 4, "cached": 0.4, "output": 16},
        {"input": 4, "cached": 8, "cache_write": 5, "cache_write_1h": 1, "output": 16},
        {"input": 4, "output": 16, "per": {"input_audio_token": 0.000001, "output_image_token": 0.000001,
                                           "cached_audio_token": 0.000001, "second": 0.01, "search": 1}},
    )
]  # fmt: skip


@each_row("reader", READERS)
def test_no_count_of_a_provider_is_negative_or_overflows(reader):
    read, usage = READERS[reader]
    assert read(usage) is not None
    for hostile in HOSTILE:
        for one in with_hostile_numbers(usage, hostile):
            with case(f"{hostile!r:.40} in {one!r:.200}"):
                if (found := read(one)) is None:
                    continue
                counts = counts_of(found)
                assert all(type(count) is int and 0 <= count <= 3 * MOST_TOKENS for count in counts), counts
                for price in PRICES:
                    assert 0 <= cost_of(price, found).nanos < 2**62


@each_row("api", CODECS)
def test_whole_answers_of_every_api_have_limited_counts(api):
    for hostile in HOSTILE:
        for usage in (OPENAI, ANTHROPIC):
            for one in with_hostile_numbers(usage, hostile):
                reading = ApiUsageReader(api)
                reading.read_whole({"usage": one})
                assert reading.usage is None or all(0 <= count <= 3 * MOST_TOKENS for count in counts_of(reading.usage))
