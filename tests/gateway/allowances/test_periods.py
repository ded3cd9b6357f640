"""Calendar periods in a time zone, and the slices of rolling periods."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.allowances.periods import SLICES, calendar_period, slice_end, slice_of
from tests.support.each_row import each_row

BERLIN = ZoneInfo("Europe/Berlin")
HOUR, DAY = 3600.0, 86400.0


def at(text: str) -> float:
    """Return the timestamp of a local time with its offset."""
    return datetime.fromisoformat(text).timestamp()


@each_row(
    ("calendar", "moment", "name", "start", "end"),
    [
        ("hour", "2026-11-21T14:59:59+01:00", "2026-11-21T14+0100", "2026-11-21T14:00+01:00", "2026-11-21T15:00+01:00"),
        ("day", "2026-11-21T00:00+01:00", "2026-11-21", "2026-11-21T00:00+01:00", "2026-11-22T00:00+01:00"),
        ("day", "2026-11-20T23:30+00:00", "2026-11-21", "2026-11-21T00:00+01:00", "2026-11-22T00:00+01:00"),
        ("week", "2026-11-22T23:59+01:00", "2026-W47", "2026-11-16T00:00+01:00", "2026-11-23T00:00+01:00"),
        ("week", "2027-01-01T12:00+01:00", "2026-W53", "2026-12-28T00:00+01:00", "2027-01-04T00:00+01:00"),
        ("month", "2026-11-30T23:59+01:00", "2026-11", "2026-11-01T00:00+01:00", "2026-12-01T00:00+01:00"),
        ("month", "2026-12-31T23:30+00:00", "2027-01", "2027-01-01T00:00+01:00", "2027-02-01T00:00+01:00"),
        # where clocks are changed
        ("day", "2026-03-29T12:00+02:00", "2026-03-29", "2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00"),
        ("day", "2026-10-25T12:00+01:00", "2026-10-25", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"),
        ("hour", "2026-03-29T01:30+01:00", "2026-03-29T01+0100", "2026-03-29T01:00+01:00", "2026-03-29T03:00+02:00"),
        ("hour", "2026-10-25T02:30+02:00", "2026-10-25T02+0200", "2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00"),
        ("hour", "2026-10-25T02:30+01:00", "2026-10-25T02+0100", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00"),
        ("month", "2026-03-30T12:00+02:00", "2026-03", "2026-03-01T00:00+01:00", "2026-04-01T00:00+02:00"),
    ],
)  # fmt: skip
def test_periods_follow_the_calendar(calendar, moment, name, start, end):
    # Windows aligned to 1970 instead of the month: wso2/api-platform#2936.
    found = calendar_period(calendar, at(moment), BERLIN)
    assert (found.name, found.start, found.end) == (name, at(start), at(end))


def test_days_with_clock_changes_have_23_or_25_hours():
    lengths = {
        day: calendar_period("day", at(f"{day}T12:00+00:00"), BERLIN)
        for day in ("2026-03-29", "2026-07-01", "2026-10-25")
    }
    assert [(found.end - found.start) / HOUR for found in lengths.values()] == [23, 24, 25]


@pytest.mark.parametrize(
    ("zone", "moment", "start"),
    [
        ("Africa/Cairo", "2026-04-24T12:00+03:00", "2026-04-24T01:00+03:00"),  # 00:00 is skipped
        ("America/Havana", "2026-11-01T12:00-05:00", "2026-11-01T00:00-04:00"),  # 00:00 comes twice
        ("Asia/Kolkata", "2026-11-21T04:00+05:30", "2026-11-21T00:00+05:30"),
    ],
)
def test_a_day_begins_at_local_midnight(zone, moment, start):
    assert calendar_period("day", at(moment), ZoneInfo(zone)).start == at(start)


MOMENTS = st.floats(min_value=at("2026-01-01T00:00+00:00"), max_value=at("2028-01-01T00:00+00:00"))
ZONES = st.sampled_from(
    [UTC, BERLIN, *map(ZoneInfo, ("Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu", "Africa/Cairo",
                                  "America/Havana", "Pacific/Apia"))]
)  # fmt: skip


@given(at=MOMENTS, zone=ZONES, calendar=st.sampled_from(["hour", "day", "week", "month"]))
@example(at=at("2028-01-01T00:00+00:00") - 2e-7, zone=UTC, calendar="hour")
def test_periods_follow_one_another_without_gap_and_overlap(at, zone, calendar):
    here = calendar_period(calendar, at, zone)
    assert at in here
    assert calendar_period(calendar, here.start, zone) == here
    after = calendar_period(calendar, here.end, zone)
    assert after.start == here.end
    assert after.name != here.name


@given(at=MOMENTS, seconds=st.sampled_from([HOUR, 12 * HOUR, 30 * DAY]))
def test_slices_cover_the_whole_rolling_period(at, seconds):
    number = slice_of(at, seconds)
    oldest = slice_end(number - SLICES - 1, seconds)
    assert at - seconds * (SLICES + 1) / SLICES <= oldest + 1e-3
    assert oldest <= at - seconds + 1e-3
    assert number * seconds / SLICES <= at < slice_end(number, seconds)
