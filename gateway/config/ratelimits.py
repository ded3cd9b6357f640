"""The rates that a client, a group or an entry is held to, how many of its requests may be under way, and the queue
before it."""

from typing import Any, Final, Literal

from configfile.document import Path, spell
from configfile.wording import describe
from gateway.config.allowances import QueueSettings, Rate, RateLimits, RootLimit
from gateway.config.findings import Findings
from gateway.config.names import Names
from gateway.config.schema import RawConfig, RawQueue, RawRateLimits, RawRootLimit, given
from streams.errors import GatewayError

_SLOW: Final = {"requests": 1, "tokens": 1000, "input_tokens": 1000, "output_tokens": 1000}
"""Rates that come to less in a minute are slower than who writes ``50k/d`` may think."""

_UNITS: Final = {"second": (1.0, "s"), "minute": (60.0, "m"), "hour": (3600.0, "h"), "day": (86400.0, "d")}

QUEUE_WAIT: Final = 5.0
"""Seconds that a request waits in a queue for which the file gives no ``wait``."""


def build_ratelimits(
    raw: RawRateLimits | None, path: Path, findings: Findings, *, counts_cached: bool = False
) -> RateLimits:
    """What the file gives; nothing is limited where that is nothing. ``counts_cached``: so does the provider itself
    (BerriAI/litellm#18728)."""
    made: dict[str, Any] = given(raw)
    if counts_cached and made.keys() & {"tokens", "input_tokens"}:
        made.setdefault("count_cached", True)
    if made.get("count_cached") and not made.keys() & {"tokens", "input_tokens"}:
        findings.warn(f"{spell(path)}: count_cached has no effect: neither tokens nor input_tokens is limited")
    for measure, least in _SLOW.items():
        rate: Rate | None = made.get(measure)
        if rate is not None and rate.amount * 60 < least * rate.seconds:
            findings.warn(f"{spell((*path, measure))}: {rate.text} refills evenly, {_pace(rate, measure)}")
    return RateLimits(**made)


def build_rates_of_all(raw: RawConfig, findings: Findings) -> RateLimits:
    """Return the rates that all clients share, which the root gives as a mapping."""
    given_rates = raw.ratelimits if isinstance(raw.ratelimits, RawRateLimits) else None
    return build_ratelimits(given_rates, ("ratelimits",), findings)


def build_header_limits(raw: RawConfig, names: Names, findings: Findings) -> tuple[RootLimit, ...]:
    """Return Plano's limits by a header, which the root gives as a list."""
    items = raw.ratelimits if isinstance(raw.ratelimits, tuple) else ()
    return tuple(
        found
        for i, item in enumerate(items)
        if (found := _root_limit(item, ("ratelimits", i), raw, names, findings)) is not None
    )


def _root_limit(item: RawRootLimit, path: Path, raw: RawConfig, names: Names, findings: Findings) -> RootLimit | None:
    seconds, unit = _UNITS[item.limit.unit]
    if not item.limit.tokens:
        findings.wrong((*path, "limit", "tokens"), "0", "with this nothing would ever pass: take the item out")
        return None
    if item.model not in raw.model_aliases and not _is_model(item.model, names):
        findings.warn(f"{spell(path)}: {describe(item.model)} is no model of this file: nobody is limited by it")
    value = None if item.selector.value in (None, "", "*") else item.selector.value
    rate = Rate(item.limit.tokens, seconds, f"{item.limit.tokens}/{unit}")
    return RootLimit(item.model, item.selector.key, value, rate)


def _is_model(name: str, names: Names) -> bool:
    try:
        return names.direct(name) is not None
    except GatewayError:  # several have it
        return True


def _pace(rate: Rate, measure: str) -> str:
    if measure == "requests":
        return f"so that one request passes every {rate.seconds / rate.amount:.0f} s, and never several at once"
    return f"{max(1, int(rate.amount * 60 / rate.seconds))} a minute: for all of it at any time write a budget"


def build_queue(raw: Literal[0] | RawQueue | None, name: str, limits: RateLimits, findings: Findings) -> QueueSettings:
    if not raw:
        return QueueSettings()
    if limits == RateLimits():
        findings.warn(f"{name}: nobody ever waits in its queue: it has no ratelimits")
    return QueueSettings(raw.size, QUEUE_WAIT if raw.wait is None else raw.wait)
