"""Claude's thinking and the settings that depend on it, in the words that Messages and Converse share."""

from collections.abc import Mapping
from typing import Any, Final

from providers.catalog.effort import asked_level, budget_of, known_level
from providers.catalog.sampling import takes_sampling
from providers.neutral.fields import Drops
from providers.neutral.quirks import Quirks
from providers.neutral.request import Parameter, Reasoning

MIN_BUDGET: Final = 1024
LEVELS: Final = ("low", "medium", "high", "xhigh", "max")  # the API's own; OpenAI's `minimal` is `low` here


def effort_level(reasoning: Reasoning, quirks: Quirks, drops: Drops) -> str | None:
    """Return the level of effort that the model knows, ``None`` if the client states none. A lower level is reported
    as a loss."""
    asked = asked_level(reasoning)
    level = known_level(asked, LEVELS) if asked is not None else None
    if level is None:
        return None
    known = known_level(level, quirks.efforts)
    if known != level:
        drops.add(reasoning.at)
    return known


def budgeted(reasoning: Reasoning, quirks: Quirks, limit: int, drops: Drops) -> tuple[dict[str, Any], int]:
    """Return ``thinking`` with a budget, and the limit of the answer's tokens.

    The budget is part of the limit and must be smaller: the answer keeps the client's ``limit`` in addition, as far as
    the model's maximum allows."""
    budget, answer = max(budget_of(reasoning), MIN_BUDGET), limit
    if answer <= budget:
        most = max(quirks.default_max_tokens, answer, 2 * MIN_BUDGET)
        limit = min(budget + answer, most)
        budget = min(budget, limit - min(answer, most // 2))
    if reasoning.budget is not None and budget < reasoning.budget:
        drops.add(reasoning.at)
    return shown({"type": "enabled", "budget_tokens": budget}, reasoning), limit


def shown(thinking: dict[str, Any], reasoning: Reasoning) -> dict[str, Any]:
    """Return ``thinking`` with a summary, if the client wants to see one."""
    return {**thinking, "display": "summarized"} if reasoning.summary else thinking


def takes_sampling_beside(thinking: Mapping[str, Any], reasoning: Reasoning | None, quirks: Quirks) -> bool:
    """Return whether the model takes sampling settings next to ``thinking``, as it is written in the request."""
    if thinking.get("type") in ("enabled", "adaptive"):
        return takes_sampling(quirks, "any")
    return takes_sampling(quirks, "none" if reasoning is not None and reasoning.mode == "disabled" else None)


def stop_strings(stop: Parameter, drops: Drops) -> list[str]:
    """Return the stop strings that the API takes; white space alone is a 400, and is reported."""
    stops = [text for text in stop.value if isinstance(text, str) and text.strip()]
    if len(stops) < len(stop.value):
        drops.add(stop.at)
    return stops
