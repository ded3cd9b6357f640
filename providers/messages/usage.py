"""Reader and writer of the token counts of Messages answers."""

from collections.abc import Mapping
from typing import Any

import attrs

from providers.neutral.bounds import check_length
from providers.neutral.token_usage import (
    diagnosis_word,
    has_token_count,
    is_token_count,
    reported_nanos,
    tier_of,
    token_count,
    tool_calls,
)
from streams.events import Usage, UsageStep

_INPUT_SIDE = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")

_TOKENS = (*_INPUT_SIDE, "output_tokens")

_MAIN = ("input_tokens", "output_tokens")

_COUNTS = (*_TOKENS, "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens", "thinking_tokens")
"""The counts that are read; others are ignored, because a provider could send any number of them."""

_START_EXTRAS = ("service_tier", "speed", "inference_geo")
_EXTRAS = (
    *_START_EXTRAS, "server_tool_use", "server_tool_use_details", "iterations",
    "cost", "is_byok", "cost_details", "cost_in_usd_ticks", "estimated_cost",
)  # fmt: skip
"""Members that affect the price in addition to the counts."""

_NOTHING_BILLED = ((), None, ())
"""The calls, the cost and the steps of usage without any."""

_STANDARD = ("standard", "global", "not_available")


class Counts:
    """Token counts as they arrive; later values replace earlier ones.

    If a later usage has any input count above 0, it replaces all input counts: the last usage of an answer that started
    with compaction counts its last step only. Otherwise the earlier input counts stay, because some servers end with
    ``input_tokens: 0`` (envoyproxy/ai-gateway#1631).
    """

    __slots__ = ("_begun_output", "_diagnosis", "_extras", "_seen")

    def __init__(self) -> None:
        self._diagnosis: str | None = None
        self._seen: dict[str, int] = {}
        self._begun_output = 0
        self._extras: dict[str, Any] = {}

    def add(self, usage: Any, *, begun: bool = False) -> None:
        """Read ``usage``, if it is an object; when the answer has just ``begun``, its cost is ignored.

        Raises ``AnswerTooLarge`` for too many steps.
        """
        if not isinstance(usage, dict):
            return
        figures = _read_counts(usage)
        seen = self._seen
        if any(map(figures.get, _INPUT_SIDE)):
            seen |= {name: 0 for name in _INPUT_SIDE if name in seen}
        for name, figure in figures.items():
            if figure or name not in seen:
                seen[name] = figure
        if begun or figures.get("output_tokens"):
            self._begun_output = seen.get("output_tokens", 0) if begun else 0
        for name in _START_EXTRAS if begun else _EXTRAS:
            if name in usage and (extras := usage[name]) is not None:
                self._extras[name] = check_length(extras, "steps") if isinstance(extras, list) else extras

    def add_diagnosis(self, message: Mapping[str, Any]) -> None:
        """Read the provider's explanation of a miss of its prompt cache, if ``message`` has one.

        It has none while the provider compares the requests
        (https://platform.claude.com/docs/en/build-with-claude/cache-diagnostics)."""
        found = message.get("diagnostics")
        reason = found.get("cache_miss_reason") if isinstance(found, dict) else None
        self._diagnosis = diagnosis_word(reason.get("type") if isinstance(reason, dict) else None)

    def usage(self, *, has_ended: bool = False) -> Usage | None:
        """Return the usage so far, or ``None`` if the provider has sent none that it bills.

        The output of an answer that has just begun is no count of an answer that ``has_ended``: it is then 0, which
        means unknown."""
        tier, extras = _read_tier(self._extras), self._extras
        billed = tool_calls(extras), reported_nanos(extras), _read_steps(extras, tier)
        if not has_token_count(self._seen, _MAIN, _TOKENS) and billed == _NOTHING_BILLED:
            return None
        seen = {**self._seen, "output_tokens": 0} if has_ended and self._begun_output else self._seen
        usage = _build_usage(seen, tier, *billed)
        return usage if self._diagnosis is None else attrs.evolve(usage, cache_diagnosis=self._diagnosis)


def _build_usage(
    figures: Mapping[str, int],
    tier: str | None,
    calls: tuple[tuple[str, int], ...] = (),
    reported: int | None = None,
    steps: tuple[UsageStep, ...] = (),
) -> Usage:
    seen = figures.get
    write = seen("cache_creation_input_tokens", 0)
    short, long = seen("ephemeral_5m_input_tokens"), seen("ephemeral_1h_input_tokens")
    if (short or 0) + (long or 0) != write:  # stale: sent at the start only, before more was written
        short = long = None
    return Usage(
        seen("input_tokens", 0), seen("cache_read_input_tokens", 0), write, short, long,
        seen("output_tokens", 0), seen("thinking_tokens"), tier, calls, reported, steps,
        reports_cache_read="cache_read_input_tokens" in figures,
    )  # fmt: skip


def _read_tier(extras: Mapping[str, Any]) -> str | None:
    """Return the service tier, or for the standard tier the other modifiers of the price: fast mode and regional
    inference (platform.claude.com, Pricing)."""
    tier = tier_of(extras.get("service_tier"))
    if "speed" not in extras and "inference_geo" not in extras:
        return tier
    extra = [word for word in (extras.get("speed"), extras.get("inference_geo")) if isinstance(word, str)]
    words = [word for word in (tier, *extra) if word and word not in _STANDARD]
    return " ".join(words) or tier


def _read_steps(extras: Mapping[str, Any], tier: str | None) -> tuple[UsageStep, ...]:
    """Return the steps of an answer. A single step without a model is omitted, because the counts already
    contain it."""
    listed = extras.get("iterations")
    if not isinstance(listed, list):
        return ()
    steps = tuple(
        UsageStep(kind, tier_of(step.get("model")), _build_usage(_read_counts(step), tier))
        for step in listed
        if isinstance(step, dict) and isinstance(kind := step.get("type"), str)
    )
    return steps if len(steps) > 1 or (steps and steps[0].model is not None) else ()


def _read_counts(usage: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts in ``usage`` and its two inner objects by name, limited to a plausible range."""
    figures = {}
    for source in (usage, usage.get("cache_creation"), usage.get("output_tokens_details")):
        if isinstance(source, dict):
            for name in _COUNTS:
                if name in source and is_token_count(figure := source[name]):
                    figures[name] = token_count(figure)
    return figures


def usage_delta(usage: Usage) -> dict[str, Any]:
    """Return the cumulative usage of ``message_delta``; known counts only, always integers."""
    members: dict[str, Any] = {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output,
    }
    if (lifetimes := _tokens_by_lifetime(usage)) is not None:
        members["cache_creation"] = lifetimes
    if usage.reasoning is not None:
        members["output_tokens_details"] = {"thinking_tokens": min(usage.reasoning, usage.output)}
    if searches := dict(usage.calls).get("web_search"):
        members["server_tool_use"] = {"web_search_requests": searches, "web_fetch_requests": 0}
    return members


def full_usage(usage: Usage) -> dict[str, Any]:
    """Return the usage of a message, with every member that the Node SDK's types require."""
    nothing = dict.fromkeys(
        ("cache_creation", "output_tokens_details", "server_tool_use", "service_tier", "inference_geo", "speed")
    )
    return nothing | usage_delta(usage)


def _tokens_by_lifetime(usage: Usage) -> dict[str, int] | None:
    if usage.cache_write_5m is None and usage.cache_write_1h is None:
        return None
    return {
        "ephemeral_5m_input_tokens": usage.cache_write_5m or 0,
        "ephemeral_1h_input_tokens": usage.cache_write_1h or 0,
    }
