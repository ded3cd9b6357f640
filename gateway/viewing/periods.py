"""Periods of usage reports: their parser, and their days and months in a time zone."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final, TypeAlias

from streams.errors import invalid

Period: TypeAlias = tuple[int, int]
"""A start and an exclusive end, in microseconds since 1970."""

_AGO: Final = re.compile(r"([0-9]{1,5})\s*([mhdw])")
_DATE: Final = re.compile(r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}")
_MONTH: Final = re.compile(r"([0-9]{4})-([0-9]{2})")
_SPANS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def parse_moment(text: str, now: datetime, *, end: bool = False) -> datetime:
    """Parse ``today``, a date, a date with a time, or a duration before ``now``.

    The result is in the time zone of ``now``. Durations in days and weeks start at midnight: ``7d`` is today and the
    six days before. With ``end``, a date means its end. Raises ``ValueError`` with the expected forms."""
    text = text.strip()
    if text.lower() == "today":
        text = now.date().isoformat()
    if match := _AGO.fullmatch(text):
        return _time_ago(int(match[1]), match[2], now)
    try:
        found = datetime.fromisoformat(text)
        if _DATE.fullmatch(text):
            return midnight(found.date() + timedelta(days=1 if end else 0), now.tzinfo)
        return found.replace(tzinfo=now.tzinfo) if found.tzinfo is None else found.astimezone(now.tzinfo)
    except (ValueError, OverflowError):
        raise ValueError("expected today, a duration such as 7d, 24h or 4w, or a date such as 2026-11-01") from None


def read_time(text: str, now: datetime, name: str, *, end: bool = False) -> datetime:
    """Return a time in a query: a date, a time, or a duration before ``now``. Raises ``GatewayError`` (400)."""
    try:
        return parse_moment(text.replace(" ", "+") if "T" in text else text, now, end=end)  # "+" in a query is a space
    except ValueError as error:
        raise invalid(f"{name} {text[:40]!r}: {error}", name) from None


def parse_month(text: str, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the start and the exclusive end in ``zone`` of a month such as ``2026-10``. Raises ``ValueError``."""
    if match := _MONTH.fullmatch(text.strip()):
        year, month = int(match[1]), int(match[2])
        if 1 <= month <= 12 and 1970 <= year < 9999:
            return month_bounds(date(year, month, 1), zone)
    raise ValueError("expected a month such as 2026-10")


def month_bounds(day: date, zone: tzinfo) -> tuple[datetime, datetime]:
    """Return the start and the exclusive end in ``zone`` of the month that contains ``day``."""
    first = day.replace(day=1)
    return midnight(first, zone), midnight((first + timedelta(days=32)).replace(day=1), zone)


def _time_ago(number: int, unit: str, now: datetime) -> datetime:
    if unit in "mh":
        return (now.astimezone(UTC) - number * _SPANS[unit]).astimezone(now.tzinfo)  # clocks may have changed
    return midnight(now.date() - number * _SPANS[unit] + timedelta(days=1), now.tzinfo)


def midnight(day: date, zone: tzinfo | None) -> datetime:
    """Return the start of ``day`` in ``zone``."""
    return datetime.combine(day, time(), zone)


def days_between(since: datetime, until: datetime, zone: tzinfo) -> Iterator[tuple[str, Period]]:
    """Yield each day of ``zone`` between ``since`` and ``until``, with its part of that period."""
    for day, period in _parts(since, until, zone, lambda day: midnight(day + timedelta(days=1), zone)):
        yield day.isoformat(), period


def months_between(since: datetime, until: datetime, zone: tzinfo) -> Iterator[tuple[str, Period]]:
    """Yield each month of ``zone`` between ``since`` and ``until``, such as ``2026-10``, with its part of that
    period."""
    for day, period in _parts(since, until, zone, lambda day: month_bounds(day, zone)[1]):
        yield f"{day:%Y-%m}", period


def _parts(
    since: datetime, until: datetime, zone: tzinfo, end_of: Callable[[date], datetime]
) -> Iterator[tuple[date, Period]]:
    """Yield the parts of a period, each with its first day. ``end_of(day)`` is the end of the part with that day."""
    begin, last, day = since.astimezone(UTC), until.astimezone(UTC), since.astimezone(zone).date()
    while begin < last:
        following = end_of(day)
        end = min(following.astimezone(UTC), last)
        yield day, (microseconds(begin), microseconds(end))
        begin, day = end, following.date()


def microseconds(at: datetime) -> int:
    """Return the time in microseconds since 1970."""
    return round(at.timestamp() * 1e6)
