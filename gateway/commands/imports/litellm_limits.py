"""LiteLLM's limits of keys and teams as settings of a client: those of its database, its key endpoints and exports."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from configfile.wording import Wrong
from gateway.commands.imports.litellm_rows import read_number
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
_IN_WEEKS: Final = re.compile(r"([1-9][0-9]{0,2})w")
_IN_SECONDS: Final = re.compile(r"([1-9][0-9]{0,6})s")


def read_limits(row: Mapping[str, Any]) -> tuple[dict[str, Any], set[str]]:
    """Return the limits of a key or a team as members of ``client_keys`` or ``client_groups``, and their columns.

    A column whose limit trigate lacks in part is not among them."""
    found: dict[str, Any] = {}
    columns: set[str] = set()
    for column, limit, unit in RATES:
        number = _positive_number(row.get(column))
        if number is not None and number == int(number):
            text = f"{int(number)}{unit}" if unit else min(int(number), MOST_AT_ONCE)
            found.setdefault("ratelimits", {})[limit] = text
            columns.add(column)
    budget, windows = _budget_in(row), [*_windows_of(row)]
    columns |= {"max_budget"} if budget is not None else set()
    columns |= {"budget_limits"} if all(windows) else set()
    amounts: dict[str, float] = {}
    for amount, period in filter(None, (budget, *windows)):
        amounts[period] = min(amount, amounts.get(period, amount))  # all of them apply
    if amounts:
        found["budgets"] = [_budget_text(amount, period) for period, amount in amounts.items()]
    return found, columns


def _budget_in(row: Mapping[str, Any]) -> tuple[float, str] | None:
    """Return the amount and the period of a budget, ``None`` if trigate has no such budget."""
    amount, period = _positive_number(row.get("max_budget")), _period_of(str(row.get("budget_duration") or ""))
    if amount is None or not _is_budget(_budget_text(amount, period)):
        return None
    return amount, period


def budget_windows(row: Mapping[str, Any]) -> Sequence[Any]:
    """Return the items of ``budget_limits``, each with a budget and its period, which apply in addition.

    An item without a finite amount limits nothing, so it is left out (``litellm/proxy/auth/auth_checks.py``)."""
    value = row.get("budget_limits")
    try:
        value = json.loads(value) if isinstance(value, str) and value.strip() else value
    except (ValueError, RecursionError):
        return (value,)
    return [one for one in value if not _is_unlimited(one)] if isinstance(value, list) else (value,) if value else ()


def _is_unlimited(window: Any) -> bool:
    amount = window.get("max_budget") if isinstance(window, Mapping) else None
    return isinstance(amount, float) and not math.isfinite(amount)


def _windows_of(row: Mapping[str, Any]) -> Iterator[tuple[float, str] | None]:
    for window in budget_windows(row):
        yield _budget_in(window) if isinstance(window, Mapping) else None


def _budget_text(amount: float, period: str) -> str:
    """Return a budget without an exponent, to nine decimals."""
    number = f"{amount:.9f}".rstrip("0").rstrip(".")
    return f"{number} usd/{period}"


def _period_of(duration: str) -> str:
    """Return the period of a budget, which may have no counterpart, such as two calendar months."""
    if weeks := _IN_WEEKS.fullmatch(duration):
        return f"{7 * int(weeks[1])}d"
    if (seconds := _IN_SECONDS.fullmatch(duration)) and int(seconds[1]) % 60 == 0:
        duration = f"{int(seconds[1]) // 60}m"
    return _PERIODS.get(duration, duration)


def _is_budget(text: str) -> bool:
    try:
        read_budget(text)
    except Wrong:
        return False
    return True


def _positive_number(value: Any) -> float | None:
    """Return a number above 0 from JSON or CSV, else None."""
    number = read_number(value)
    return number if number is not None and 0 < number < 10**15 else None
