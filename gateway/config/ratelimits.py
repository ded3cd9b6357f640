"""The rates that a client, a group or an entry is held to, how many of its requests may be under way, and the queue
before it."""

from typing import Any, Final, Literal

from gateway.config.allowances import QueueSettings, Rate, RateLimits
from gateway.config.document import Path, spell
from gateway.config.findings import Findings
from gateway.config.schema import RawQueue, RawRateLimits, given

_SLOW: Final = {"requests": 1, "tokens": 1000, "input_tokens": 1000, "output_tokens": 1000}
"""Rates that come to less in a minute are slower than who writes ``50k/d`` may think."""

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
