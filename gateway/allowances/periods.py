"""Periods of the calendar in a time zone, and slices of time that rolls. Pure: nothing here asks for the time.

A day has 23 or 25 hours where clocks are changed, and begins when people's clocks say so; a month is not thirty days,
and no period is aligned to 1970 (wso2/api-platform#2936, agentgateway/website#962).
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Final

import attrs

from gateway.config.allowances import Calendar

SLICES: Final = 30
"""Parts of a time that rolls: it is longer than it should be by up to one of them, and never shorter."""

_STEP: Final = 900.0
"""Seconds: no time zone's clocks have ever been changed within a shorter time."""


@attrs.frozen
class CalendarPeriod:
    """The hour, day, week or month called ``name``, from ``start`` until ``end`` (Unix seconds), the latter not in
    it."""

    name: str
    start: float
    end: float

    def __contains__(self, at: float) -> bool:
        return self.start <= at < self.end


def calendar_period(calendar: Calendar, at: float, zone: tzinfo) -> CalendarPeriod:
    """The one that a moment is in, by the clocks of ``zone``."""
    return _PERIODS[calendar](at, zone)


def slice_of(at: float, seconds: float) -> int:
    """The number of the slice that a moment is in, of a time of ``seconds`` that rolls."""
    return int(at // (seconds / SLICES))


def slice_end(number: int, seconds: float) -> float:
    """The moment at which a slice ends, and the oldest one that still counted no longer does."""
    return (number + 1) * (seconds / SLICES)


def _hour(at: float, zone: tzinfo) -> CalendarPeriod:
    local = datetime.fromtimestamp(at, zone).replace(minute=0, second=0, microsecond=0)
    start = end = local.timestamp()
    while end == start or (end - start < 2 * 3600 and _hour_start(end, zone) == start):
        end += _STEP
    return CalendarPeriod(local.strftime("%Y-%m-%dT%H%z"), start, end)  # an hour comes twice when clocks go back


def _hour_start(at: float, zone: tzinfo) -> float:
    return datetime.fromtimestamp(at, zone).replace(minute=0, second=0, microsecond=0).timestamp()


def _day(at: float, zone: tzinfo) -> CalendarPeriod:
    day = _midnight(at, zone)
    return _between(day.strftime("%Y-%m-%d"), day, day + timedelta(days=1))


def _week(at: float, zone: tzinfo) -> CalendarPeriod:
    day = _midnight(at, zone)
    monday = day - timedelta(days=day.weekday())
    return _between(monday.strftime("%G-W%V"), monday, monday + timedelta(days=7))


def _month(at: float, zone: tzinfo) -> CalendarPeriod:
    first = _midnight(at, zone).replace(day=1)
    return _between(first.strftime("%Y-%m"), first, (first + timedelta(days=31)).replace(day=1))


_PERIODS: Final[Mapping[Calendar, Callable[[float, tzinfo], CalendarPeriod]]] = {
    "hour": _hour,
    "day": _day,
    "week": _week,
    "month": _month,
}


def _midnight(at: float, zone: tzinfo) -> datetime:
    """The beginning of the day. Where clocks skip midnight it is the moment at which they do; where it comes twice, the
    first."""
    return datetime.fromtimestamp(at, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)


def _between(name: str, start: datetime, end: datetime) -> CalendarPeriod:
    """Of two midnights: adding days to a time with a zone moves the hands of its clock, and no seconds."""
    return CalendarPeriod(name, start.timestamp(), end.timestamp())
