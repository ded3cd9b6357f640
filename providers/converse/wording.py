"""Finish reasons, token counts, ids and signatures of Converse, for readers and writers.

Source: ``StopReason`` and ``TokenUsage`` of Amazon Bedrock's API reference. ``inputTokens`` excludes tokens read from
and written to a cache; the four counts add up to ``totalTokens``.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from providers.neutral.bounds import check_length
from providers.neutral.codec import corrected_reason
from providers.neutral.ends import ENDS, WRITTEN, Failed, end_failure
from providers.neutral.request import Request
from providers.neutral.seal import Issuer, seal
from providers.neutral.token_usage import has_token_count, output_or_rest, tier_for_client, tier_of, token_count
from providers.neutral.tool_names import replacement_id
from providers.neutral.values import as_object
from streams.events import AnswerEnd, ErrorInfo, ReasoningState, Usage

STOP_SEQUENCE: Final = "/stop_sequence"
"""The path where Claude reports the stop string that matched, on request (``additionalModelResponseFieldPaths``)."""


def read_end(word: str, extra: Any) -> AnswerEnd | ErrorInfo:
    """Return the end of an answer for the stop reason ``word``; unknown ones mean ``stop``.

    ``extra`` are the ``additionalModelResponseFields``.
    """
    meaning = ENDS["converse"].get(word)
    if isinstance(meaning, Failed):
        return end_failure(meaning, word, word, native=True)
    stop = extra.get(STOP_SEQUENCE[1:]) if isinstance(extra, dict) else None
    matched = stop if isinstance(stop, str) else None
    return AnswerEnd(meaning or "stop", word or None, matched, is_known=meaning is not None)


_SHORT, _LONG = "5m", "1h"

_COUNTS: Final = ("inputTokens", "outputTokens", "totalTokens")
_PARTS: Final = (
    "cacheReadInputTokens", "cacheReadInputTokenCount", "cacheWriteInputTokens", "cacheWriteInputTokenCount",
)  # fmt: skip


def read_usage(metadata: Mapping[str, Any]) -> Usage | None:
    """Return the usage in an answer or a ``metadata`` event, or ``None`` if it has no count."""
    counts = metadata.get("usage")
    if not isinstance(counts, dict) or not has_token_count(counts, _COUNTS, _PARTS):
        return None
    lifetimes = _tokens_by_lifetime(counts.get("cacheDetails"))
    uncached = _read_count(counts, "inputTokens")
    read = _read_count(counts, "cacheReadInputTokens") or _read_count(counts, "cacheReadInputTokenCount")
    write = _read_count(counts, "cacheWriteInputTokens") or _read_count(counts, "cacheWriteInputTokenCount")
    output, is_rest = output_or_rest(counts, "outputTokens", "totalTokens", uncached + read + write)
    return Usage(
        uncached,
        read,
        write,
        lifetimes.get(_SHORT),
        lifetimes.get(_LONG),
        output,
        estimated=is_rest,
        tier=tier_of(as_object(metadata.get("serviceTier")).get("type")),
        reports_cache_read="cacheReadInputTokens" in counts or "cacheReadInputTokenCount" in counts,
    )


def _read_count(counts: Mapping[str, Any], name: str) -> int:
    return token_count(counts.get(name))


def _tokens_by_lifetime(details: Any) -> Mapping[str, int]:
    """Return the tokens written to a cache by lifetime."""
    found = check_length(details, "cache details") if isinstance(details, list) else ()
    return {
        ttl: _read_count(one, "inputTokens")
        for one in found
        if isinstance(one, dict) and isinstance(ttl := one.get("ttl"), str)
    }


def _write_counts(usage: Usage) -> dict[str, Any]:
    """Return the object ``usage``."""
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


def write_metadata(usage: Usage) -> dict[str, Any]:
    """Return the members of an answer, or of its ``metadata``, about its cost."""
    members: dict[str, Any] = {"usage": _write_counts(usage), "metrics": _NOT_MEASURED}
    tier = tier_for_client(usage, TIERS)
    return members if tier is None else members | {"serviceTier": {"type": tier}}


_GUARDED: Final = "guardrail_intervened"
"""A refusal of this API only, written back unchanged."""

_VALID_ID: Final = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")

_NOT_MEASURED: Final = {"latencyMs": 0}
"""The required metrics of an answer, which the gateway does not know."""

TIERS: Final = ("priority", "default", "flex", "reserved")
"""The service tiers of Bedrock."""


def tool_use_id(id: str) -> str:
    """Return ``id`` if the API accepts it, else an id derived from it, always the same."""
    return id if _VALID_ID.fullmatch(id) else replacement_id("tooluse_", id)


def write_end(end: AnswerEnd, calls_tools: bool, request: Request) -> dict[str, Any]:
    """Return the members of an answer, or of ``messageStop``, about its end."""
    word = WRITTEN["converse"][corrected_reason(end.reason, calls_tools)]
    members: dict[str, Any] = {"stopReason": _GUARDED if end.reason == "refusal" and end.raw == _GUARDED else word}
    paths = request.source.get("additionalModelResponseFieldPaths")
    if isinstance(paths, list) and STOP_SEQUENCE in paths:
        members["additionalModelResponseFields"] = {STOP_SEQUENCE[1:]: end.stop_sequence}
    return members


def signature(issuer: Issuer, state: ReasoningState | None) -> str | None:
    """Return the signature of reasoning with text: the provider's own for a block of this API, else our seal.

    Returns ``None`` if nothing must be sent back.
    """
    if state is None:
        return None
    if (own := _own_state(state, "reasoningText")) is not None:
        return own.get("signature") if isinstance(own, dict) and isinstance(own.get("signature"), str) else None
    return seal(issuer, state.api, state.item)


def textless_content(issuer: Issuer, state: ReasoningState) -> dict[str, Any]:
    """Return ``reasoningContent`` without text: the provider's own, or an empty text with our seal as its signature.

    Clients send a signature back on the next turn, but several ignore ``redactedContent`` or fail on it
    (langchain-ai/langchain-aws#1223, UKGovernmentBEIS/inspect_ai#5217).
    """
    if _own_state(state, "reasoningText") is not None or _own_state(state, "redactedContent") is not None:
        item: dict[str, Any] = state.item
        return item
    return {"reasoningText": {"text": "", "signature": seal(issuer, state.api, state.item)}}


def _own_state(state: ReasoningState, member: str) -> Any:
    return state.item.get(member) if state.api == "converse" and isinstance(state.item, dict) else None
