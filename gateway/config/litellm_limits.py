"""LiteLLM's limits of keys and teams as settings of a client: those of its database, its key endpoints and exports."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from configfile.wording import Wrong
from gateway.config.amounts import read_budget

MOST_AT_ONCE: Final = 10**6
"""The largest number of simultaneous requests that a file can set."""

RATES: Final = (
    ("rpm_limit", "requests", "/m"),
    ("tpm_limit", "tokens", "/m"),
    ("max_parallel_requests", "concurrent", ""),
)
"""Columns with a limit that trigate has, the name of that limit, and its unit."""

_PERIODS: Final[Mapping[str, str]] = {
    "1h": "hour", "1d": "day", "24h": "day", "1mo": "month", "daily": "day", "weekly": "7d", "monthly": "month",
}  # fmt: skip
_ROLLING: Final = re.compile(r"[1-9][0-9]{0,3}[mhd]")
_IN_WEEKS: Final = re.compile(r"([1-9][0-9]{0,2})w")
_IN_SECONDS: Final = re.compile(r"([1-9][0-9]{0,6})s")


def limits_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Convert the limits of a key or a team into members of ``client_keys`` or ``client_groups``."""
    found: dict[str, Any] = {}
    for column, limit, unit in RATES:
        number = _positive_number(row.get(column))
        if number is not None and number == int(number):
            found.setdefault("ratelimits", {})[limit] = (
                f"{int(number)}{unit}" if unit else min(int(number), MOST_AT_ONCE)
            )
    budget, period = _positive_number(row.get("max_budget")), _period_of(str(row.get("budget_duration") or ""))
    if budget is not None and period is not None and _is_budget(text := f"{_decimal_text(budget)} usd/{period}"):
        found["budgets"] = [text]
    return found


def _period_of(duration: str) -> str | None:
    """Return the period of a budget, ``None`` without a counterpart, such as two calendar months."""
    if weeks := _IN_WEEKS.fullmatch(duration):
        return f"{7 * int(weeks[1])}d"
    if (seconds := _IN_SECONDS.fullmatch(duration)) and int(seconds[1]) % 60 == 0:
        duration = f"{int(seconds[1]) // 60}m"
    return _PERIODS.get(duration) or (duration if _ROLLING.fullmatch(duration) else None)


def limited_columns(item: Mapping[str, Any]) -> Iterator[str]:
    """Yield the columns whose limits ``item`` has."""
    yield from (column for column, limit, _ in RATES if limit in item.get("ratelimits", {}))
    if "budgets" in item:
        yield "max_budget"


def _is_budget(text: str) -> bool:
    try:
        read_budget(text)
    except Wrong:
        return False
    return True


def _decimal_text(number: float) -> str:
    """Return ``number`` without an exponent, to nine decimals."""
    return f"{number:.9f}".rstrip("0").rstrip(".")


def _positive_number(value: Any) -> float | None:
    """Return a number above 0 from JSON or CSV, else None."""
    try:
        number = float(value) if not isinstance(value, bool) else 0.0
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 < number < 10**15 else None
