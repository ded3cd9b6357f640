"""Reasoning effort, converted between levels and token budgets; Claude's thinking, shared by Messages and Converse; and
the sampling settings that depend on both."""

from collections.abc import Mapping
from typing import Any, Final, assert_never

from providers.neutral.draft import Draft, Edit
from providers.neutral.fields import Drops
from providers.neutral.levels import LEVELS, known_level
from providers.neutral.quirks import Quirks
from providers.neutral.request import Reasoning, Request

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


def accepts_sampling(quirks: Quirks, effort: str | None) -> bool:
    """Return whether a request with ``effort`` may carry sampling parameters.

    ``effort`` is the level in the outgoing request, ``none`` for no thinking, ``None`` for the model's default. Only
    the outgoing request counts, not the client's, because the provider judges that one (truefoundry/models#2122,
    Soju06/codex-lb#538).
    """
    match quirks.sampling:
        case "free":
            return True
        case "never":
            return False
        case "only_effort_none":
            return effort == "none"
        case "unless_thinking":
            return effort is None or effort == "none"
        case _:
            assert_never(quirks.sampling)


MIN_BUDGET: Final = 1024
CLAUDE_LEVELS: Final = ("low", "medium", "high", "xhigh", "max")  # Anthropic's levels; OpenAI's `minimal` becomes `low`


def effort_level(reasoning: Reasoning, quirks: Quirks, drops: Drops) -> str | None:
    """Return the level of effort for the model, or ``None`` if the client sent none. A lowered level is reported as
    dropped."""
    requested = requested_level(reasoning)
    level = known_level(requested, CLAUDE_LEVELS) if requested is not None else None
    if level is None:
        return None
    known = known_level(level, quirks.efforts)
    if known != level:
        drops.add(*reasoning.places)
    return known


def add_budget(reasoning: Reasoning, quirks: Quirks, limit: int, drops: Drops) -> tuple[dict[str, Any], int]:
    """Return ``thinking`` with a budget, and the limit of the answer's tokens.

    The budget is part of the limit and must be smaller, so the client's ``limit`` is added to it as far as the model's
    maximum allows.
    """
    budget, answer = max(budget_of(reasoning), MIN_BUDGET), limit
    if answer <= budget:
        maximum = max(quirks.default_max_tokens, answer, 2 * MIN_BUDGET)
        limit = min(budget + answer, maximum)
        budget = min(budget, limit - min(answer, maximum // 2))
    if has_unknown_level(reasoning) if reasoning.budget is None else budget < reasoning.budget:
        drops.add(*reasoning.places)
    return show_summary({"type": "enabled", "budget_tokens": budget}, reasoning), limit


def show_summary(thinking: dict[str, Any], reasoning: Reasoning) -> dict[str, Any]:
    """Return ``thinking``, with a visible summary if the client requested one."""
    return {**thinking, "display": "summarized"} if reasoning.summary else thinking


def accepts_sampling_with(thinking: Mapping[str, Any], reasoning: Reasoning | None, quirks: Quirks) -> bool:
    """Return whether the model accepts sampling settings in a request with this ``thinking``."""
    if thinking.get("type") in ("enabled", "adaptive"):
        return accepts_sampling(quirks, "any")
    return accepts_sampling(quirks, "none" if reasoning is not None and reasoning.mode == "disabled" else None)
