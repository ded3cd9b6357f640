"""The causes of a miss: the verdict after a response, and the prediction before it.

``could`` without ``intact`` is a change, ``intact`` without ``read`` is time or the provider. For both, there is a list
of possible causes, and the first one that explains the provider's number wins."""

from collections.abc import Iterable, Iterator
from typing import Final

import attrs

from gateway.features.prompt_caches.comparisons import PromptComparison
from gateway.features.prompt_caches.conversations import UNKNOWN_RULES, Parent, Situation
from gateway.features.prompt_caches.interface import (
    CacheLoss,
    CacheVerdict,
    CauseName,
    CauseShare,
    Grade,
    UnknownReason,
)
from gateway.features.prompt_caches.positions import marks
from gateway.features.prompt_caches.values import LEAST_MISSED, LEAST_SHARE, NO_LOSS
from providers.catalog import prices
from providers.catalog.prices import Price, computed_cost, worst_grade
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


@attrs.frozen(repr=False)
class MissExplanation:
    """A cause that explains a read of at most ``most`` tokens."""

    name: CauseName
    at: str | None
    most: float


def predict(compared: PromptComparison) -> CacheVerdict:
    """Return the part of the verdict that is known when the request is sent."""
    if compared.is_unseen:
        return CacheVerdict(causes=(_unknown("not_seen"),))
    could, readable = compared.could, compared.readable
    if not _is_miss(could - readable, could):
        return CacheVerdict(could, min(readable, could))
    return CacheVerdict(could, readable, causes=_causes(compared, could, readable, is_known=False))


def judge(compared: PromptComparison, usage: Usage | None) -> CacheVerdict:
    """Return the verdict on an attempt with the provider's ``usage``.

    ``usage`` is ``None``, or estimated, if the stream ended before the provider reported it."""
    diagnosis = compared.situation.diagnosis
    if compared.is_unseen:
        return CacheVerdict(causes=(_unknown("not_seen"),), provider=diagnosis)
    could = _could(compared, usage)
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
    causes = _causes(compared, could, read, is_known=True)
    idle = compared.idle if any(cause.name == "expired" for cause in causes) else None
    return attrs.evolve(verdict, causes=causes, idle=idle)


def _could(compared: PromptComparison, usage: Usage | None) -> int:
    """Return the tokens that the cache could serve: elsewhere, at most the prompt as this provider counts it.

    After a fallback, the tokens of the parent are another provider's count."""
    if not compared.is_elsewhere or usage is None or usage.estimated or not usage.prompt:
        return compared.could
    return min(compared.could, usage.prompt)


def _is_zero_stated(compared: PromptComparison, usage: Usage) -> bool:
    """Return whether a response without tokens read from the cache states that there were none."""
    if not compared.situation.reports:
        return False
    return usage.reports_cache_read or not compared.row.states_zero


def _unknown(reason: UnknownReason, missed: int = 0) -> CauseShare:
    return CauseShare("unknown", reason, missed)


def _is_miss(missed: int, could: int) -> bool:
    return missed >= LEAST_MISSED and missed >= LEAST_SHARE * could


def _causes(compared: PromptComparison, could: int, read: int, *, is_known: bool) -> tuple[CauseShare, ...]:
    """Return at most two causes for ``read`` of ``could`` tokens, the larger first; their tokens add up to the miss.

    ``is_known``: these are the provider's number, not a prediction."""
    missed = could - read
    changes = [] if compared.parent is None else [*_changes(compared, compared.parent)]
    change = _first(changes, read)
    if change is None and changes:
        return (_unknown("contradiction", missed),)
    intact = min(compared.intact, could)
    rest = intact - read
    loss = None
    if change is None or _is_miss(rest, could):
        loss = _first(_losses(compared, is_known=is_known), read)
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


def _first(found: Iterable[MissExplanation], read: int) -> MissExplanation | None:
    return next((one for one in found if read <= one.most), None)


def _changes(compared: PromptComparison, parent: Parent) -> Iterator[MissExplanation]:
    """Yield the changes since the parent that may be the cause: those by the gateway, then those by the client."""
    now, change, own = compared.situation, compared.change_in_reach, compared.client_difference
    could, selected, is_elsewhere = compared.could, compared.selectors_changed, compared.is_elsewhere
    if is_elsewhere and not selected:  # another target, although the client sent the same name
        reason = f" ({now.move})" if now.move else ""
        yield MissExplanation("moved", f"{parent.conversation.scope.target}>{now.scope.target}{reason}", could)
    # If the client chose another model, that may need another translation.
    if change is not None and own is None and not compared.is_compacted and not (is_elsewhere and selected):
        names = sorted(set(now.edits) ^ set(parent.conversation.edits)) or sorted(set(now.edits))
        at = ": ".join(filter(None, (" ".join(names), change.at)))
        yield MissExplanation("edited", at, compared.most_read(change))
    if is_elsewhere and selected:
        yield MissExplanation(selected[0], None, could)
    if change is not None and compared.is_compacted and change.part == "history":
        yield MissExplanation("compacted", None, compared.most_read(change))
    if change is not None and own is not None:
        yield MissExplanation(own.part, own.at, compared.most_read(change))


def _losses(compared: PromptComparison, *, is_known: bool) -> Iterator[MissExplanation]:
    """Yield reasons for reading less than is unchanged.

    The last one is the provider: nothing changed, and its rules promise a hit. It needs the provider's number
    (``is_known``)."""
    row, tolerance, parent = compared.row, compared.tolerance, compared.parent
    readable = compared.readable + tolerance
    if row.minimum is not None and compared.could < row.minimum:
        yield MissExplanation("small", None, tolerance)
    if compared.has_lost_marks and parent is not None:  # the provider refuses them, or the gateway stopped adding any
        changed = sorted(set(compared.situation.edits) ^ set(parent.conversation.edits))
        names = [one for one in changed if "cache" in one.lower()]
        yield MissExplanation("edited", " ".join(names) or "marks", tolerance)
    if (unmarked := _explain_by_marks(compared, parent)) is not None:
        yield unmarked
    if compared.is_early:
        yield MissExplanation("early", None, readable)
    if compared.is_expired:
        yield MissExplanation("expired", None, readable)
    if "key" in compared.selectors_changed:  # it leads to another of the provider's machines
        yield MissExplanation("key", None, readable)
    if is_known and row.rate is not None and compared.situation.rate > row.rate:
        yield MissExplanation("busy", None, compared.could)  # more than the provider serves from one cache
    if is_known and row is not UNKNOWN_RULES:
        yield MissExplanation("provider", None, compared.could)


def _explain_by_marks(compared: PromptComparison, parent: Parent | None) -> MissExplanation | None:
    """Explain a miss by the client's cache marks: none, too far apart, or with a shorter lifetime than before."""
    row, last, readable = compared.row, compared.deepest_intact, compared.readable + compared.tolerance
    if row.needs_marks or compared.prompt.is_explicit:
        if compared.last_boundary is None and parent is not None and not compared.marks_of_parent:
            return MissExplanation("marks", "none in the request before", compared.tolerance)
        if not marks(compared.prompt, row):
            return MissExplanation("marks", "none", compared.tolerance)
    if last is None:
        return None
    if not compared.is_reached(last):
        return MissExplanation("marks", "no boundary in reach", readable)
    longest, lifetime = None if parent is None else parent.conversation.longest_ttl, compared.lifetime(last)
    if lifetime is None or longest is None or compared.idle is None or not lifetime < compared.idle <= longest:
        return None
    return MissExplanation("marks", f"{_lifetime_words(lifetime)} after {_lifetime_words(longest)}", readable)


def _lifetime_words(seconds: float) -> str:
    """Return a lifetime in the words of marks."""
    return f"{seconds / 3600:g}h" if seconds >= 3600 else f"{seconds / 60:g}m"


def _is_denied(causes: tuple[CauseShare, ...], situation: Situation) -> bool:
    """Return whether the provider's diagnosis of the same two requests agrees with none of ``causes``."""
    stated = _STATED_BY.get(situation.diagnosis or "") if situation.diagnoses_parent else None
    names = {cause.name for cause in causes}
    return stated is not None and not stated & names and names <= _COMPARABLE


# The price of missed tokens


def loss(verdict: CacheVerdict, usage: Usage, price: Price | None) -> CacheLoss | None:
    """Return the loss of ``verdict``: its missed tokens at the price at which they were billed, less the cached price.

    The missed tokens are the written ones first, then the other input. Without a price the result is ``None``."""
    if price is None or price.origin == "subscription":
        return None
    usage = attrs.evolve(usage, steps=(), units=())
    paid = computed_cost(price, usage)
    cached = computed_cost(price, _with_more_reads(usage, verdict.missed))
    shares = _split(max(paid.nanos - cached.nanos, 0), verdict)
    return CacheLoss(sum(shares), shares, worst_grade((paid.grade, cached.grade, verdict.grade)))


def write_premium(usage: Usage, price: Price | None) -> int:
    """Return the nano-dollars by which written tokens cost more than plain input; 0 without a price."""
    if price is None or not usage.cache_write or usage.estimated or price.origin == "subscription":
        return 0
    return prices.write_premium(price, usage)


def _with_more_reads(usage: Usage, missed: int) -> Usage:
    """Return ``usage`` with ``missed`` more tokens read from the cache.

    They take the place of written tokens first, those for an hour before others, because these are first in a prompt.
    The rest takes the place of other input."""
    hour = min(usage.cache_write_1h or 0, usage.cache_write, missed)
    short = min(usage.cache_write - (usage.cache_write_1h or 0), missed - hour) if usage.cache_write else 0
    short = max(short, 0)
    plain = min(usage.input, missed - hour - short)
    return attrs.evolve(
        usage,
        input=usage.input - plain,
        cache_read=usage.cache_read + hour + short + plain,
        cache_write=usage.cache_write - hour - short,
        cache_write_1h=None if usage.cache_write_1h is None else usage.cache_write_1h - hour,
        cache_write_5m=None if usage.cache_write_5m is None else max(usage.cache_write_5m - short, 0),
    )


def _split(nanos: int, verdict: CacheVerdict) -> tuple[int, ...]:
    """Return the share of each cause in ``nanos``, by its tokens; 0 for a cause that is no loss."""
    return tuple(
        0 if cause.name in NO_LOSS or not verdict.missed else nanos * cause.tokens // verdict.missed
        for cause in verdict.causes
    )
