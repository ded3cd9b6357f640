"""Remarks on prompts that a server had in its cache, and on answers that are not as long as was asked for."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from loadtest.figures.result import RunResult

CACHED: Final = 0.01
"""From this share of the input on, what came from a cache of prompts makes the figures better than they are."""


def _shares_prompts(scenario: Mapping[str, Any]) -> bool:
    """It was asked that prompts have something in common: prefixes, blocks of a trace, turns of conversations."""
    requests = [one for one in scenario.get("requests") or () if isinstance(one, Mapping)]
    return bool(scenario.get("trace")) or any(one.get("prefix") for one in requests)


def _cached(run: RunResult) -> str | None:
    cached, asked = run.tally.measures["cached_tokens"], run.tally.input_tokens
    share = cached.mean * cached.count / asked if asked and cached.count else 0.0
    if share < CACHED or _shares_prompts(run.scenario) or set(run.turns) - {1}:
        return None
    same = run.scenario.get("same_prompts")
    files = any(isinstance(one, Mapping) and one.get("requests") for one in run.scenario.get("requests") or ())
    why = "the same prompts were sent before" if same else "requests of a file are sent as they are" if files else ""
    return (
        f"{100 * share:.0f} % of the input came from the server's cache of prompts, which nobody asked for"
        f"{f' ({why})' if why else ''}: new prompts take longer."
    )


def _short(run: RunResult) -> str | None:
    short = run.tally.counts["short"]
    if not short:
        return None
    return (
        f"{short} answers are shorter than asked for (--exact), and are not good: the server does not know ignore_eos "
        "and min_tokens, or does not let everybody set them."
    )


PROMPT_NOTES: Final[tuple[Callable[[RunResult], str | None], ...]] = (_cached, _short)
