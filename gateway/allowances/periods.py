"""Calendar periods in a time zone, and slices of rolling periods. Pure: no function here reads the clock.

Days begin at local midnight and have 23 or 25 hours when clocks change; months vary in length; no period is aligned to
1970 (wso2/api-platform#2936, agentgateway/website#962)."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Final

import attrs

from gateway.config.allowances import Calendar

SLICES: Final = 30
"""Slices of a rolling period: the effective period is up to one slice longer than configured, never shorter."""

_STEP: Final = 900.0
"""Seconds: no time zone has ever changed its clocks twice within a shorter time."""


@attrs.frozen(repr=False)
class CalendarPeriod:
    """The hour, day, week or month called ``name``, from ``start`` up to, but not including, ``end`` (Unix seconds)."""

    name: str
    start: float
    end: float

    def __contains__(self, at: float) -> bool:
        return self.start <= at < self.end


def calendar_period(calendar: Calendar, at: float, zone: tzinfo) -> CalendarPeriod:
    """Return the period that contains ``at``, by the clocks of ``zone``."""
    return _PERIODS[calendar](math.floor(at), zone)  # `datetime` rounds up to the next microsecond


def slice_of(at: float, seconds: float) -> int:
    """Return the number of the slice that contains ``at``, for a rolling period of ``seconds``."""
    return int(at // (seconds / SLICES))


def slice_end(number: int, seconds: float) -> float:
    """Return the Unix time at which a slice ends and the oldest counted slice expires."""
    return (number + 1) * (seconds / SLICES)


def _hour(at: float, zone: tzinfo) -> CalendarPeriod:
    local = datetime.fromtimestamp(at, zone).replace(minute=0, second=0, microsecond=0)
    start = end = local.timestamp()
    while end == start or (end - start < 2 * 3600 and _hour_start(end, zone) == start):
        end += _STEP
    return CalendarPeriod(local.strftime("%Y-%m-%dT%H%z"), start, end)  # an hour occurs twice when clocks go back


def _hour_start(at: float, zone: tzinfo) -> float:
    return datetime.fromtimestamp(at, zone).replace(minute=0, second=0, microsecond=0).timestamp()


def _day(at: float, zone: tzinfo) -> CalendarPeriod:
    day = _midnight(at, zone)
    return _period_between(day.strftime("%Y-%m-%d"), day, day + timedelta(days=1))


def _week(at: float, zone: tzinfo) -> CalendarPeriod:
    day = _midnight(at, zone)
    monday = day - timedelta(days=day.weekday())
    return _period_between(monday.strftime("%G-W%V"), monday, monday + timedelta(days=7))


def _month(at: float, zone: tzinfo) -> CalendarPeriod:
    first = _midnight(at, zone).replace(day=1)
    return _period_between(first.strftime("%Y-%m"), first, (first + timedelta(days=31)).replace(day=1))


_PERIODS: Final[Mapping[Calendar, Callable[[float, tzinfo], CalendarPeriod]]] = {
    "hour": _hour,
    "day": _day,
    "week": _week,
    "month": _month,
}


def _midnight(at: float, zone: tzinfo) -> datetime:
    """Return the first moment of the day, also where clocks skip or repeat midnight."""
    return datetime.fromtimestamp(at, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)


def _period_between(name: str, start: datetime, end: datetime) -> CalendarPeriod:
    """Return the period between two midnights, computed in local time, so its length follows clock changes."""
    return CalendarPeriod(name, start.timestamp(), end.timestamp())
