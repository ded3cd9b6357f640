"""Words of Converse for both roles: why an answer ended, token counts, ids and signatures.

Source: ``StopReason`` and ``TokenUsage`` of Amazon Bedrock's API reference. ``inputTokens`` leaves out what was read
from and written to a cache; the four counts add up to ``totalTokens``.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from providers.neutral.billing import MOST_TOKENS, tier_of
from providers.neutral.bounds import bounded
from providers.neutral.codec import settled_reason
from providers.neutral.request import Request
from providers.neutral.seal import Issuer, seal
from providers.neutral.tool_names import replacement_id
from streams.events import AnswerEnd, ErrorInfo, Reason, ReasoningState, Usage

REASONS: Final[Mapping[str, Reason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop_sequence",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "guardrail_intervened": "refusal",
    "content_filtered": "refusal",
    "model_context_window_exceeded": "context_exceeded",
}

WORDS: Final[Mapping[Reason, str]] = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "refusal": "content_filtered",
    "pause": "end_turn",
    "context_exceeded": "model_context_window_exceeded",
}
"""The other way round. There is no word for a pause."""

STOP_SEQUENCE: Final = "/stop_sequence"
"""Where Claude says which stop string it has met, for those who ask (``additionalModelResponseFieldPaths``)."""

_MALFORMED: Final[Mapping[str, str]] = {
    "malformed_model_output": "the model's output could not be read by its provider (malformed_model_output)",
    "malformed_tool_use": "the model called a tool in a form that its provider could not read (malformed_tool_use)",
}
"""Answers that only look complete: a client would run half a call, or take nothing for an answer
(Wei-Shaw/sub2api#7081)."""


def read_end(word: str, extra: Any) -> AnswerEnd | ErrorInfo:
    """Read the end of an answer with that stop reason. ``extra`` are ``additionalModelResponseFields``. A word that
    nobody knows ends an answer like any other."""
    if (message := _MALFORMED.get(word)) is not None:
        return ErrorInfo("upstream", message, native=True, reason="bad_answer")
    stop = extra.get(STOP_SEQUENCE[1:]) if isinstance(extra, dict) else None
    return AnswerEnd(REASONS.get(word, "stop"), word or None, stop if isinstance(stop, str) else None)


_SHORT, _LONG = "5m", "1h"


def read_usage(metadata: Mapping[str, Any]) -> Usage | None:
    """Read the account in an answer, or in the event ``metadata`` of a stream; ``None`` where there is none."""
    counts = metadata.get("usage")
    if not isinstance(counts, dict):
        return None
    lifetimes = _lifetimes(counts.get("cacheDetails"))
    return Usage(
        _count(counts, "inputTokens"),
        _count(counts, "cacheReadInputTokens") or _count(counts, "cacheReadInputTokenCount"),
        _count(counts, "cacheWriteInputTokens") or _count(counts, "cacheWriteInputTokenCount"),
        lifetimes.get(_SHORT),
        lifetimes.get(_LONG),
        _count(counts, "outputTokens"),
        tier=_tier(metadata.get("serviceTier")),
    )


def _count(counts: Mapping[str, Any], name: str) -> int:
    figure = counts.get(name)
    return max(0, min(figure, MOST_TOKENS)) if type(figure) is int else 0


def _lifetimes(details: Any) -> Mapping[str, int]:
    """Return what was written to a cache, by lifetime."""
    found = bounded(details, "cache details") if isinstance(details, list) else ()
    return {
        ttl: _count(one, "inputTokens")
        for one in found
        if isinstance(one, dict) and isinstance(ttl := one.get("ttl"), str)
    }


def _tier(tier: Any) -> str | None:
    return tier_of(tier.get("type")) if isinstance(tier, dict) else None


def write_usage(usage: Usage) -> dict[str, Any]:
    """Write the object ``usage`` of an answer, or of ``metadata``."""
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


_GUARDED: Final = "guardrail_intervened"
"""A refusal that only this API has a word for: given back as it was."""

_GOOD_ID: Final = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")

NOT_MEASURED: Final = {"latencyMs": 0}
"""The metrics of an answer, which have to be there. Who translates it knows only what was said."""


def tool_use_id(id: str) -> str:
    """Return ``id`` if the API takes it, else always the same one made from it."""
    return id if _GOOD_ID.fullmatch(id) else replacement_id("tooluse_", id)


def write_end(end: AnswerEnd, called: bool, asked: Request) -> dict[str, Any]:
    """Write the members of an answer, and of ``messageStop``, that say why it ended."""
    word = WORDS[settled_reason(end.reason, called)]
    said: dict[str, Any] = {"stopReason": _GUARDED if end.reason == "refusal" and end.raw == _GUARDED else word}
    paths = asked.source.get("additionalModelResponseFieldPaths")
    if isinstance(paths, list) and STOP_SEQUENCE in paths:
        said["additionalModelResponseFields"] = {STOP_SEQUENCE[1:]: end.stop_sequence}
    return said


def signature(issuer: Issuer, state: ReasoningState | None) -> str | None:
    """Return the signature of reasoning with text: the provider's own if the block is one of this API's, else our seal;
    ``None`` where nothing is wanted back."""
    if state is None:
        return None
    if (own := _own(state, "reasoningText")) is not None:
        return own.get("signature") if isinstance(own, dict) and isinstance(own.get("signature"), str) else None
    return seal(issuer, state.api, state.item)


def wordless(issuer: Issuer, state: ReasoningState) -> dict[str, Any]:
    """Return the content of ``reasoningContent`` without text: the provider's own, or an empty text with our seal as
    its signature. Clients carry a signature from turn to turn; of ``redactedContent`` several make nothing, or
    an error (langchain-ai/langchain-aws#1223, UKGovernmentBEIS/inspect_ai#5217)."""
    if _own(state, "reasoningText") is not None or _own(state, "redactedContent") is not None:
        item: dict[str, Any] = state.item
        return item
    return {"reasoningText": {"text": "", "signature": seal(issuer, state.api, state.item)}}


def _own(state: ReasoningState, member: str) -> Any:
    return state.item.get(member) if state.api == "converse" and isinstance(state.item, dict) else None
