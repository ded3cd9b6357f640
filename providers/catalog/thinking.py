"""Claude's thinking and the sampling settings that depend on it, shared by Messages and Converse."""

from collections.abc import Mapping
from typing import Any, Final

from providers.catalog.effort import budget_of, has_unknown_level, known_level, requested_level
from providers.catalog.sampling import accepts_sampling
from providers.neutral.fields import Drops
from providers.neutral.quirks import Quirks
from providers.neutral.request import Reasoning

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
