"""The causes of a miss: the verdict after a response, and the prediction before it.

``could`` without ``intact`` is a change, ``intact`` without ``read`` is time or the provider. Both have a table of
rules, and the first rule that explains the provider's number wins."""

from typing import Final

import attrs

from gateway.features.prompt_caches.comparisons import PromptComparison
from gateway.features.prompt_caches.conversations import Situation
from gateway.features.prompt_caches.rules import CHANGES, KNOWN_LATER, LOSSES, Rule
from gateway.features.prompt_caches.values import LEAST_MISSED, LEAST_SHARE
from gateway.ledger.prompt_cache import CacheVerdict, CauseName, CauseShare, Grade, UnknownReason
from streams.events import Usage

_SETTINGS: Final[frozenset[CauseName]] = frozenset({"settings"})
_STATED_BY: Final[dict[str, frozenset[CauseName]]] = {
    "model_changed": frozenset({"model"}),
    "tools_changed": frozenset({"tools", "settings"}),
    "system_changed": frozenset({"system", "settings"}),
    "messages_changed": frozenset({"history", "settings", "compacted"}),
    "input_changed": frozenset({"system", "history", "compacted"}),
    "prompt_cache_key_changed": frozenset({"key"}),
    "service_tier_changed": frozenset({"tier"}),
    "context_compacted": frozenset({"compacted", "history"}),
    **dict.fromkeys(("text_format_changed", "reasoning_effort_changed", "verbosity_changed"), _SETTINGS),
}
"""Causes that agree with a provider's own diagnosis. It knows no gateway, and counts some settings as content.

https://platform.claude.com/docs/en/build-with-claude/cache-diagnostics and
https://developers.openai.com/api/docs/guides/prompt-caching/diagnostics"""

_COMPARABLE: Final[frozenset[CauseName]] = frozenset(
    {"model", "key", "tier", "tools", "system", "history", "settings", "expired", "provider", "busy"}
)
"""Causes that a diagnosis can deny."""


def predict(compared: PromptComparison) -> CacheVerdict:
    """Return the part of the verdict that is known when the request is sent."""
    if compared.is_unseen:
        return CacheVerdict(causes=(_unknown("not_seen"),))
    could, readable = compared.could, compared.readable
    if not _is_miss(could - readable, could):
        return CacheVerdict(could, min(readable, could))
    return CacheVerdict(could, readable, causes=_causes(compared, readable, KNOWN_LATER))


def judge(compared: PromptComparison, usage: Usage | None) -> CacheVerdict:
    """Return the verdict on an attempt with the provider's ``usage``.

    ``usage`` is ``None``, or estimated, if the stream ended before the provider reported it."""
    diagnosis = compared.situation.diagnosis
    if compared.is_unseen:
        return CacheVerdict(causes=(_unknown("not_seen"),), provider=diagnosis)
    could = compared.could
    grade: Grade = "exact" if compared.is_exact else "estimated"
    if could and usage is not None and not usage.estimated and usage.cache_read:
        missed = max(could - usage.cache_read, 0)
        if not _is_miss(missed, could):  # nothing to explain
            read = usage.cache_read
            return CacheVerdict(could, min(read, could), read, missed, (), grade, None, diagnosis)
    verdict = CacheVerdict(could, min(compared.readable, could), grade=grade, provider=diagnosis)
    if not could:
        return verdict
    if usage is None or usage.estimated:
        return attrs.evolve(verdict, causes=(_unknown("no_usage"),))
    if not usage.cache_read and not _is_zero_stated(compared, usage):
        return attrs.evolve(verdict, causes=(_unknown("not_reported"),))
    read = usage.cache_read
    missed = max(could - read, 0)
    verdict = attrs.evolve(verdict, read=read, missed=missed)
    if not _is_miss(missed, could):
        return verdict
    causes = _causes(compared, read)
    idle = compared.idle if any(cause.name == "expired" for cause in causes) else None
    return attrs.evolve(verdict, causes=causes, idle=idle)


def _is_zero_stated(compared: PromptComparison, usage: Usage) -> bool:
    """Return whether a response without tokens read from the cache states that there were none."""
    if not compared.situation.reports:
        return False
    return usage.reports_cache_read or not compared.row.states_zero


def _unknown(reason: UnknownReason, missed: int = 0) -> CauseShare:
    return CauseShare("unknown", reason, missed)


def _is_miss(missed: int, could: int) -> bool:
    return missed >= LEAST_MISSED and missed >= LEAST_SHARE * could


def _causes(compared: PromptComparison, read: int, left_out: frozenset[Rule] = frozenset()) -> tuple[CauseShare, ...]:
    """Return at most two causes for ``read`` tokens, the larger first; their tokens add up to the miss."""
    could = compared.could
    missed = could - read
    applying = [found for rule in CHANGES if (found := rule(compared)) is not None]
    change = next((found for found in applying if read <= found.most), None)
    if change is None and applying:
        return (_unknown("contradiction", missed),)
    intact = min(compared.intact, could)
    rest = intact - read
    loss = None
    if change is None or _is_miss(rest, could):
        rules = [rule for rule in LOSSES if rule not in left_out]
        explained = (found for rule in rules if (found := rule(compared)) is not None)
        loss = next((found for found in explained if read <= found.most), None)
    if change is None:
        causes: tuple[CauseShare, ...] = (
            _unknown("no_row", missed) if loss is None else CauseShare(loss.name, loss.at, missed),
        )
    elif loss is None:
        causes = (CauseShare(change.name, change.at, missed),)
    else:
        causes = CauseShare(change.name, change.at, could - intact), CauseShare(loss.name, loss.at, rest)
    if _is_denied(causes, compared.situation):
        return (_unknown("contradiction", missed),)
    return tuple(sorted(causes, key=lambda cause: cause.tokens, reverse=True))


def _is_denied(causes: tuple[CauseShare, ...], situation: Situation) -> bool:
    """Return whether the provider's diagnosis of the same two requests agrees with none of ``causes``."""
    stated = _STATED_BY.get(situation.diagnosis or "") if situation.diagnoses_parent else None
    names = {cause.name for cause in causes}
    return stated is not None and not stated & names and names <= _COMPARABLE
