"""Reasoning effort, converted between levels and token budgets."""

from collections.abc import Mapping

from providers.neutral.draft import Draft
from providers.neutral.edits import Edit
from providers.neutral.request import Reasoning, Request

LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All levels of effort of any API, the lowest first."""

# The largest budget of thinking tokens for each level.
_LEVEL_OF_BUDGET = ((2048, "low"), (8192, "medium"), (24000, "high"))
_LARGEST = "xhigh"

_BUDGET_OF_LEVEL: Mapping[str, int] = {
    "minimal": 2048, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 32768,
}  # fmt: skip
_USUAL_LEVEL = "high"  # Messages' default for a request that enables thinking without an effort


def level_of(budget: int) -> str:
    """Return the level for a budget of ``budget`` tokens."""
    return next((level for most, level in _LEVEL_OF_BUDGET if budget <= most), _LARGEST)


def largest_budget(level: str) -> int | None:
    """Return the largest budget of thinking tokens that does not exceed ``level``, or ``None`` if it has no limit."""
    if level in ("none", "minimal"):
        return 0 if level == "none" else _BUDGET_OF_LEVEL[level]
    return next((most for most, name in _LEVEL_OF_BUDGET if name == level), None)


def requested_level(reasoning: Reasoning) -> str | None:
    """Return the level that the client requested, by name or budget, or ``None`` if it left the choice to the model.

    Disabled thinking without a level is ``None`` too, because not every model accepts ``none``.
    """
    if reasoning.effort is not None:
        return reasoning.effort
    if reasoning.mode != "enabled" or reasoning.budget is None:
        return None
    return level_of(reasoning.budget)


def has_unknown_level(reasoning: Reasoning) -> bool:
    """Return whether the client requested a level of effort that no known API has."""
    return reasoning.effort is not None and reasoning.effort not in LEVELS


def known_level(level: str, known: tuple[str, ...]) -> str | None:
    """Return ``level`` if the model knows it, else its nearest lower level, else its lowest.

    An empty ``known`` means unknown levels: ``level`` is returned unchanged. Returns ``None`` for an unknown ``none``.
    """
    if not known or level in known or level not in LEVELS:
        return level
    if level == "none":
        return None
    below = [one for one in LEVELS[: LEVELS.index(level)] if one in known and one != "none"]
    above = [one for one in LEVELS[LEVELS.index(level) :] if one in known]
    return below[-1] if below else next(iter(above), None)


def budget_of(reasoning: Reasoning) -> int:
    """Return the thinking tokens that the client requested, by number or level."""
    if reasoning.budget is not None:
        return reasoning.budget
    return _BUDGET_OF_LEVEL.get(reasoning.effort or _USUAL_LEVEL, _BUDGET_OF_LEVEL[_USUAL_LEVEL])


def omits_thinking(request: Request) -> bool:
    """Return whether a Messages client sent an effort without ``thinking``; an effort alone does not enable
    thinking."""
    alone = request.reasoning is not None and request.reasoning.mode == "adaptive"
    return alone and request.api == "messages" and request.source.get("thinking") is None


def lower_effort(draft: Draft, member: str, known: tuple[str, ...]) -> str | None:
    """Lower ``effort`` inside ``member`` to a level in ``known``; return the level, or ``None`` if none is sent."""
    holder = draft.value(member)
    requested = holder.get("effort") if isinstance(holder, dict) else None
    if not isinstance(holder, dict) or not isinstance(requested, str):
        return None
    level = known_level(requested, known)
    if level != requested:
        rest = {name: value for name, value in holder.items() if name != "effort"}
        draft.put(member, rest | ({} if level is None else {"effort": level}) or None)
        draft.note(Edit(f"{member}.effort", form="" if level is None else f"={level}"))
    return level
