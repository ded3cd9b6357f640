"""Rates of clients, groups and entries: warnings, and Plano's header limits."""

from collections.abc import Collection
from typing import Final

import attrs

from configfile.document import Path, spell
from configfile.wording import describe
from gateway.config.allowances import HeaderLimit, QueueSettings, Rate, RateLimits, RatesOrHeaderLimits, RootLimit
from gateway.config.findings import Findings
from gateway.config.names import Names

_SLOW: Final = {"requests": 1, "tokens": 1000, "input_tokens": 1000, "output_tokens": 1000}
"""Rates below these numbers per minute are slower than ``50k/d`` suggests."""

_UNITS: Final = {"second": (1.0, "s"), "minute": (60.0, "m"), "hour": (3600.0, "h"), "day": (86400.0, "d")}

_COUNTING: Final = ("tokens", "input_tokens")
"""The measures for which cached tokens may count."""


def build_ratelimits(limits: RateLimits, path: Path, findings: Findings, *, counts_cached: bool = False) -> RateLimits:
    """Return a holder's ``limits``, and warn of those that are probably mistakes.

    ``counts_cached`` means that the provider counts cached tokens, too (BerriAI/litellm#18728)."""
    counting = any(getattr(limits, measure) is not None for measure in _COUNTING)
    if limits.count_cached and not counting:
        findings.warn(f"{spell(path)}: count_cached has no effect without a limit for tokens or input_tokens")
    for measure, least in _SLOW.items():
        rate: Rate | None = getattr(limits, measure)
        if rate is not None and rate.amount * 60 < least * rate.seconds:
            findings.warn(f"{spell((*path, measure))}: {rate.text} refills evenly, {_pace_text(rate, measure)}")
    follows = "count_cached" not in findings.given_attributes(path) and counts_cached and counting
    return attrs.evolve(limits, count_cached=True) if follows else limits


def build_header_limits(
    items: RatesOrHeaderLimits | None, aliases: Collection[str], names: Names, findings: Findings
) -> tuple[RootLimit, ...]:
    """Return Plano's header limits, a list at the root."""
    limits = items if isinstance(items, tuple) else ()
    found = (_build_root_limit(item, ("ratelimits", i), aliases, names, findings) for i, item in enumerate(limits))
    return tuple(limit for limit in found if limit is not None)


def _build_root_limit(
    item: HeaderLimit, path: Path, aliases: Collection[str], names: Names, findings: Findings
) -> RootLimit | None:
    seconds, unit = _UNITS[item.limit.unit]
    if not item.limit.tokens:
        findings.wrong((*path, "limit", "tokens"), "0", "this would reject every request: remove the item")
        return None
    if item.model not in aliases and not names.has(item.model):
        findings.warn(f"{spell(path)}: {describe(item.model)} is not a model of this file, so the limit has no effect")
    value = None if item.selector.value in (None, "", "*") else item.selector.value
    rate = Rate(item.limit.tokens, seconds, f"{item.limit.tokens}/{unit}")
    return RootLimit(item.model, item.selector.key, value, rate)


def _pace_text(rate: Rate, measure: str) -> str:
    if measure == "requests":
        return f"so one request passes every {rate.seconds / rate.amount:.0f} s, and never several together"
    return (
        f"{max(1, int(rate.amount * 60 / rate.seconds))} per minute: to allow the whole amount at any time, use a "
        "budget"
    )


def check_queue(queue: QueueSettings, name: str, limits: RateLimits, findings: Findings) -> None:
    """Warn of a queue at an entry without limits."""
    if queue.size and limits == RateLimits():
        findings.warn(f"{name}: its queue has no effect without ratelimits")
