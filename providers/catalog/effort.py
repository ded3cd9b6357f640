"""Effort of reasoning, translated between those who say it in levels and those who say it in tokens."""

from collections.abc import Mapping

from providers.neutral.draft import Draft
from providers.neutral.edits import Edit
from providers.neutral.request import Reasoning, Request

LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""All levels of effort that any API knows, the lowest first."""

# One table for every direction: the largest budget of thinking tokens that a level stands for.
_LEVEL_OF_BUDGET = ((2048, "low"), (8192, "medium"), (24000, "high"))
_LARGEST = "xhigh"

_BUDGET_OF_LEVEL: Mapping[str, int] = {
    "minimal": 2048, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 32768,
}  # fmt: skip
_USUAL_LEVEL = "high"  # Messages' own when a request says that a model thinks and not how much


def level_of(budget: int) -> str:
    """Return the level that a budget of ``budget`` tokens comes to."""
    return next((level for most, level in _LEVEL_OF_BUDGET if budget <= most), _LARGEST)


def asked_level(reasoning: Reasoning) -> str | None:
    """Return the level that the client asked for, by name or by budget; ``None`` where it left it to the model.

    Who turns thinking off without naming a level gets ``None`` too: not every model knows ``none``."""
    if reasoning.effort is not None:
        return reasoning.effort
    if reasoning.mode != "enabled" or reasoning.budget is None:
        return None
    return level_of(reasoning.budget)


def known_level(level: str, known: tuple[str, ...]) -> str | None:
    """Return ``level`` if the model knows it, else the nearest lower one that it knows, else its lowest. An empty
    ``known`` means that nothing is known of the model: the level as it is. ``None`` for ``none`` where that is not
    known."""
    if not known or level in known or level not in LEVELS:
        return level
    if level == "none":
        return None
    below = [one for one in LEVELS[: LEVELS.index(level)] if one in known and one != "none"]
    above = [one for one in LEVELS[LEVELS.index(level) :] if one in known]
    return below[-1] if below else next(iter(above), None)


def budget_of(reasoning: Reasoning) -> int:
    """Return the thinking tokens that the client asked for, by number or by level."""
    if reasoning.budget is not None:
        return reasoning.budget
    return _BUDGET_OF_LEVEL.get(reasoning.effort or _USUAL_LEVEL, _BUDGET_OF_LEVEL[_USUAL_LEVEL])


def leaves_thinking(request: Request) -> bool:
    """Return whether a Messages client named an effort and no ``thinking``: an effort alone turns no thinking on."""
    alone = request.reasoning is not None and request.reasoning.mode == "adaptive"
    return alone and request.api == "messages" and request.source.get("thinking") is None


def lower_effort(draft: Draft, member: str, known: tuple[str, ...]) -> str | None:
    """Lower ``effort`` inside of ``member`` to a level that is known; return it, ``None`` where none goes out."""
    holder = draft.value(member)
    asked = holder.get("effort") if isinstance(holder, dict) else None
    if not isinstance(holder, dict) or not isinstance(asked, str):
        return None
    level = known_level(asked, known)
    if level != asked:
        rest = {name: value for name, value in holder.items() if name != "effort"}
        draft.put(member, rest | ({} if level is None else {"effort": level}) or None)
        draft.note(Edit(f"{member}.effort", form="" if level is None else f"={level}"))
    return level
