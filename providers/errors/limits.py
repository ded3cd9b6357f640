"""Readers of rate limit headers: which limits are exhausted, and until when.

APIs count requests and tokens (``x-ratelimit-*``, ``anthropic-ratelimit-*``), plans the used share of a window
(``anthropic-ratelimit-unified-*``, ``x-codex-*``). Times are seconds, durations (``1m2.5s``, ``6ms``), dates, or Unix
seconds or milliseconds.

Rejected credentials that a new one may replace: expired or revoked.
"""

import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, TypeAlias

from streams.events import ErrorInfo, FailureReason

Headers: TypeAlias = tuple[tuple[str, str], ...]
"""Header names, in lower case, and values."""

UNAUTHORIZED: Final = 401
_REFUSED: Final = (400, 403)  # AWS uses these, too

_AWS: Final = frozenset(
    ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException")
)
"""https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html"""
_SENTENCE: Final = re.compile(r"The security token included in the request is (?:expired|invalid)")


def may_accept_new_credential(status: int, error: ErrorInfo, headers: Headers) -> bool:
    """Return whether the provider that sent ``status`` and ``error`` may accept a newer credential."""
    if status == UNAUTHORIZED:
        return True
    if status not in _REFUSED:
        return False
    kind = next((value.partition(":")[0] for name, value in headers if name == "x-amzn-errortype"), error.code)
    return kind in _AWS or _SENTENCE.match(error.message) is not None


MAX_WAIT: Final = 31 * 86400.0
"""The longest cooldown of a target in seconds: the longest window of a plan is a month."""

_MAX_TEXT: Final = 100
_UNIX: Final = 1e9  # larger numbers are points in time, not durations
_UNIX_MS: Final = 1e11
_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d*)?)s)?(?:(\d+(?:\.\d*)?)ms)?")
_UNITS: Final = (86400.0, 3600.0, 60.0, 1.0, 0.001)

_UNIFIED: Final = "anthropic-ratelimit-unified-"
_OVERAGE: Final = f"{_UNIFIED}overage-status"
"""The header whether more than the plan can be bought; it is not a window."""
_CODEX: Final = ("x-codex-primary", "x-codex-secondary")
"""The windows of the plan; headers with longer names belong to other models."""
_CREDITS: Final = ("x-codex-credits-has-credits", "x-codex-credits-unlimited")


def seconds(text: str, now: float) -> float | None:
    """Return the seconds to wait according to ``text``; a point in time counts from ``now`` (Unix seconds).

    Returns ``None`` for no time, or one that has passed.
    """
    text = text.strip()
    if not text or len(text) > _MAX_TEXT:
        return None
    try:
        wait = float(text)
    except ValueError:
        wait = _parse_duration(text) or _seconds_until(text, now)
    else:
        if wait >= _UNIX:
            wait = (wait / 1000 if wait >= _UNIX_MS else wait) - now
    return wait if wait > 0 else None  # NaN fails too


def _parse_duration(text: str) -> float:
    found = _DURATION.fullmatch(text)
    return sum(float(part) * unit for part, unit in zip(found.groups(), _UNITS, strict=True) if part) if found else 0.0


def _seconds_until(text: str, now: float) -> float:
    """Return the seconds until a date in RFC 3339 or HTTP format, or 0 for other text."""
    from email.utils import parsedate_to_datetime  # rarely needed

    try:
        date = datetime.fromisoformat(text) if text[0].isdigit() else parsedate_to_datetime(text)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, OverflowError, OSError):
        return 0.0


def limit_wait(wait: float) -> float:
    """Return ``wait`` limited to ``MAX_WAIT``."""
    return min(wait, MAX_WAIT)


def is_plan_exhausted(headers: Headers) -> bool:
    """Return whether a window of the plan is exhausted, without credits to continue."""
    return any(_exhausted_windows(dict(headers)))


def plan_delays(headers: Headers, now: float) -> Iterator[float]:
    """Yield the seconds until each exhausted window of the plan resets, if stated."""
    values = dict(headers)
    for window in _exhausted_windows(values):
        for end in ("reset", "reset-after-seconds", "reset-at"):
            if (wait := seconds(values.get(f"{window}-{end}", ""), now)) is not None:
                yield wait
                break


def _exhausted_windows(values: Mapping[str, str]) -> Iterator[str]:
    """Yield the exhausted windows, as prefixes of their header names."""
    if values.get(f"{_UNIFIED}status") == "rejected":
        for name, value in values.items():
            if value == "rejected" and name.startswith(_UNIFIED) and name.endswith("status") and name != _OVERAGE:
                yield name.removesuffix("-status")
    if any(values.get(name, "").lower() == "true" for name in _CREDITS):
        return
    for window in _CODEX:
        if _is_full(values.get(f"{window}-used-percent", "")):
            yield window


def _is_full(percent: str) -> bool:
    try:
        return float(percent) >= 100
    except ValueError:
        return False


def reset_delays(headers: Headers, now: float) -> Iterator[float]:
    """Yield the seconds until each exhausted limit resets."""
    values: Mapping[str, str] | None = None
    for name, value in headers:
        if value == "0" and "remaining" in name:
            values = values or dict(headers)
            if (wait := seconds(values.get(name.replace("remaining", "reset"), ""), now)) is not None:
                yield wait


_FULL: Final = frozenset(("0", "100", "100.0", "rejected"))
"""Header values that may mean an exhausted limit."""


def predict_outage(headers: Headers, now: float | None = None) -> tuple[FailureReason, float] | None:
    """Return why a provider will reject the next request after a successful one, and for how many seconds, or ``None``.

    A limit is exhausted and states its reset. The usual case, ``None``, is cheap.
    """
    if not [name for name, value in headers if value in _FULL and ("limit" in name or "used" in name)]:
        return None
    at = time.time() if now is None else now
    if waits := list(plan_delays(headers, at)):
        return "quota", limit_wait(max(waits))
    if waits := list(reset_delays(headers, at)):
        return "rate_limited", limit_wait(max(waits))
    return None
