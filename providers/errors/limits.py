"""What headers say of a provider's limits: which are used up, and until when.

APIs count requests and tokens (``x-ratelimit-*``, ``anthropic-ratelimit-*``), plans the share of a window that has been
used (``anthropic-ratelimit-unified-*``, ``x-codex-*``). Moments are told as seconds, durations (``1m2.5s``, ``6ms``),
dates, and Unix seconds or milliseconds.
"""

import email.utils
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, TypeAlias

from streams.events import FailureReason

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Names in lower case."""

LONGEST: Final = 31 * 86400.0
"""Seconds that a target may be told to be of no use: the longest window of a plan is a month."""

_LONGEST_TEXT: Final = 100
_UNIX: Final = 1e9  # numbers from here on are moments, no durations
_UNIX_MS: Final = 1e11
_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d*)?)s)?(?:(\d+(?:\.\d*)?)ms)?")
_UNITS: Final = (86400.0, 3600.0, 60.0, 1.0, 0.001)

_UNIFIED: Final = "anthropic-ratelimit-unified-"
_OVERAGE: Final = f"{_UNIFIED}overage-status"
"""Whether more than the plan can be bought: no window of it."""
_CODEX: Final = ("x-codex-primary", "x-codex-secondary")
"""The windows of the plan; names with more in them are of other models than the one that has answered."""
_CREDITS: Final = ("x-codex-credits-has-credits", "x-codex-credits-unlimited")


def seconds(text: str, now: float) -> float | None:
    """Return the seconds that ``text`` tells to wait, a moment counted from ``now`` (Unix seconds); ``None`` if it
    tells none, or a moment that has passed."""
    text = text.strip()
    if not text or len(text) > _LONGEST_TEXT:
        return None
    try:
        wait = float(text)
    except ValueError:
        wait = _duration(text) or _until(text, now)
    else:
        if wait >= _UNIX:
            wait = (wait / 1000 if wait >= _UNIX_MS else wait) - now
    return wait if wait > 0 else None  # NaN is not, either


def _duration(text: str) -> float:
    found = _DURATION.fullmatch(text)
    return sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS, strict=True) if part) if found else 0.0


def _until(text: str, now: float) -> float:
    """Seconds to a date as RFC 3339 or HTTP writes it; 0 if it is none."""
    try:
        date = datetime.fromisoformat(text) if text[0].isdigit() else email.utils.parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError, OSError):
        return 0.0


def bounded(wait: float) -> float:
    """Return ``wait`` within ``LONGEST``."""
    return min(wait, LONGEST)


def used_up_plan(headers: Headers) -> bool:
    """Return whether a window of the plan is used up, and nothing is left to go on with."""
    return any(_windows(dict(headers)))


def plan_waits(headers: Headers, now: float) -> Iterator[float]:
    """Return the seconds until each used-up window of the plan begins anew, as far as that is told."""
    told = dict(headers)
    for window in _windows(told):
        for end in ("reset", "reset-after-seconds", "reset-at"):
            if (wait := seconds(told.get(f"{window}-{end}", ""), now)) is not None:
                yield wait
                break


def _windows(told: Mapping[str, str]) -> Iterator[str]:
    """Yield the windows that are used up, by the beginning of their headers' names."""
    if told.get(f"{_UNIFIED}status") == "rejected":
        for name, value in told.items():
            if value == "rejected" and name.startswith(_UNIFIED) and name.endswith("status") and name != _OVERAGE:
                yield name.removesuffix("-status")
    if any(told.get(name, "").lower() == "true" for name in _CREDITS):
        return
    for window in _CODEX:
        if _is_full(told.get(f"{window}-used-percent", "")):
            yield window


def _is_full(percent: str) -> bool:
    try:
        return float(percent) >= 100
    except ValueError:
        return False


def resets(headers: Headers, now: float) -> Iterator[float]:
    """Yield the seconds until each limit of which nothing is left is full again."""
    told: Mapping[str, str] | None = None
    for name, value in headers:
        if value == "0" and "remaining" in name:
            told = told or dict(headers)
            if (wait := seconds(told.get(name.replace("remaining", "reset"), ""), now)) is not None:
                yield wait


_FULL: Final = frozenset(("0", "100", "100.0", "rejected"))
"""The values of headers that may say that nothing is left."""


def told_outage(headers: Headers, now: float | None = None) -> tuple[FailureReason, float] | None:
    """Why a provider that has answered well is going to refuse the next request, and for how many seconds: nothing is
    left of a limit, of which it says when it ends. ``None`` otherwise, which is found out at little cost."""
    if not [name for name, value in headers if value in _FULL and ("limit" in name or "used" in name)]:
        return None
    at = time.time() if now is None else now
    if waits := list(plan_waits(headers, at)):
        return "quota", bounded(max(waits))
    if waits := list(resets(headers, at)):
        return "rate_limited", bounded(max(waits))
    return None
