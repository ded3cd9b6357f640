"""The rules of causes: each returns an explanation of a comparison, or ``None`` if it does not apply."""

from collections.abc import Callable
from typing import Final, TypeAlias

import attrs

from gateway.features.prompt_caches.comparisons import PromptComparison
from gateway.features.prompt_caches.positions import marks
from gateway.ledger.prompt_cache import CauseName


@attrs.frozen(repr=False)
class MissExplanation:
    """A cause that explains a read of at most ``most`` tokens."""

    name: CauseName
    at: str | None
    most: float


Rule: TypeAlias = Callable[[PromptComparison], MissExplanation | None]


def _rule(
    name: CauseName, applies: Callable[[PromptComparison], bool], most: Callable[[PromptComparison], float]
) -> Rule:
    """Return a rule whose cause explains a read of at most ``most`` tokens where it ``applies``."""

    def explain(compared: PromptComparison) -> MissExplanation | None:
        return MissExplanation(name, None, most(compared)) if applies(compared) else None

    return explain


# Changes


def explain_moved(compared: PromptComparison) -> MissExplanation | None:
    """Explain a miss at a target that is not the parent's, although the client sent the same name."""
    if compared.parent is None or not compared.is_elsewhere or compared.selectors_changed:
        return None
    before, now = compared.parent.conversation.scope.target, compared.situation.scope.target
    reason = f" ({compared.situation.move})" if compared.situation.move else ""
    return MissExplanation("moved", f"{before}>{now}{reason}", compared.could)


def explain_edited(compared: PromptComparison) -> MissExplanation | None:
    """Explain a miss that the gateway caused: the client's own prefix did not change."""
    change = compared.change_in_reach
    if change is None or compared.client_difference is not None or compared.is_compacted:
        return None
    if compared.is_elsewhere and compared.selectors_changed:  # the client's choice, which perhaps needs a translation
        return None
    assert compared.parent is not None, "it has a difference"
    names = sorted(set(compared.situation.edits) ^ set(compared.parent.conversation.edits)) or sorted(
        set(compared.situation.edits)
    )
    return MissExplanation("edited", ": ".join(filter(None, (" ".join(names), change.at))), compared.most_read(change))


def explain_selected(compared: PromptComparison) -> MissExplanation | None:
    """Explain a miss after the client changed its model, cache key or service tier."""
    if compared.parent is None or not compared.is_elsewhere:
        return None
    changed = compared.selectors_changed
    return MissExplanation(changed[0], None, compared.could) if changed else None


def explain_compacted(compared: PromptComparison) -> MissExplanation | None:
    """Explain a miss after a summary replaced the history."""
    change = compared.change_in_reach
    if change is None or not compared.is_compacted or change.part != "history":
        return None
    return MissExplanation("compacted", None, compared.most_read(change))


def explain_changed(compared: PromptComparison) -> MissExplanation | None:
    """Explain a miss by the first change of the client's prompt."""
    change, own = compared.change_in_reach, compared.client_difference
    if change is None or own is None:
        return None
    return MissExplanation(own.part, own.at, compared.most_read(change))


# Losses of unchanged tokens


def explain_lost_marks(compared: PromptComparison) -> MissExplanation | None:
    """Explain a miss after the gateway removed marks that the provider refuses, or stopped adding marks."""
    if not compared.has_lost_marks or compared.parent is None:
        return None
    changed = set(compared.situation.edits) ^ set(compared.parent.conversation.edits)
    names = [one for one in sorted(changed) if "cache" in one.lower()]
    return MissExplanation("edited", " ".join(names) or "marks", compared.tolerance)


def explain_unmarked(compared: PromptComparison) -> MissExplanation | None:
    """Explain a miss by the client's cache marks: none, too far apart, or with a shorter lifetime than before."""
    if compared.row.needs_marks or compared.prompt.is_explicit:
        if compared.last_boundary is None and compared.parent is not None and not compared.marks_of_parent:
            return MissExplanation("marks", "none in the request before", compared.tolerance)
        if not marks(compared.prompt, compared.row):
            return MissExplanation("marks", "none", compared.tolerance)
    last = compared.deepest_intact
    if last is None:
        return None
    if not compared.is_reached(last):
        return MissExplanation("marks", "no boundary in reach", _readable(compared))
    longest, lifetime = (
        None if compared.parent is None else compared.parent.conversation.longest_ttl,
        compared.lifetime(last),
    )
    if lifetime is None or longest is None or compared.idle is None or not lifetime < compared.idle <= longest:
        return None
    return MissExplanation(
        "marks", f"{_lifetime_words(lifetime)} after {_lifetime_words(longest)}", _readable(compared)
    )


def _lifetime_words(seconds: float) -> str:
    """Return a lifetime in the words of marks."""
    return f"{seconds / 3600:g}h" if seconds >= 3600 else f"{seconds / 60:g}m"


CHANGES: Final[tuple[Rule, ...]] = (
    explain_moved, explain_edited, explain_selected, explain_compacted, explain_changed,
)  # fmt: skip
"""Changes by the gateway, then by the client. The first one that explains the provider's number wins."""


def _is_small(compared: PromptComparison) -> bool:
    """Return whether the prefix is shorter than the provider's minimum."""
    return compared.row.minimum is not None and compared.could < compared.row.minimum


def _is_busy(compared: PromptComparison) -> bool:
    """Return whether there were more requests for this prefix and key than the provider serves from one cache."""
    return compared.row.rate is not None and compared.situation.rate > compared.row.rate


def _readable(compared: PromptComparison) -> float:
    return compared.readable + compared.tolerance


_BUSY: Final = _rule("busy", _is_busy, lambda compared: compared.could)
_PROVIDER: Final = _rule("provider", lambda compared: compared.stated_row is not None, lambda compared: compared.could)

LOSSES: Final[tuple[Rule, ...]] = (
    _rule("small", _is_small, lambda compared: compared.tolerance),
    explain_lost_marks,
    explain_unmarked,
    _rule("early", lambda compared: compared.is_early, _readable),
    _rule("expired", lambda compared: compared.is_expired, _readable),
    _BUSY,
    _PROVIDER,
)
"""Reasons for reading less than is unchanged. The first one that explains the provider's number wins. Without any of
the others it is the provider: nothing changed, and its rules promise a hit."""

KNOWN_LATER: Final[frozenset[Rule]] = frozenset({_BUSY, _PROVIDER})
"""Rules that need the provider's number."""
