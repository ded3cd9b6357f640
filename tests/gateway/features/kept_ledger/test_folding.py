"""A ledger that exceeds its size: its oldest lines become sums, and the money in reports and budgets stays the same."""

import contextlib
import random
import sqlite3
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.features.kept_ledger import folding
from gateway.features.kept_ledger.columns import DAY_SUM, OTHER_NAME, QUARTER, QUARTER_SUM
from gateway.features.kept_ledger.folding import day_bounds
from gateway.features.kept_ledger.table import FoldedPart, LedgerSum, LedgerTable
from gateway.stores.schema import SCHEMA
from gateway.stores.sqlite import SqliteDatabase
from streams.events import Usage
from tests.support.examples import examples
from tests.support.ledger_lines import AT, DAY, attempt, line, random_line

EVER = (0, 2**62)
LEDGER_SUMS = next(number for number, script in enumerate(SCHEMA, 1) if "ledger_sums" in script)
EVERY_WAY = (("key",), ("group",), ("model",), ("target",), ("endpoint",), ("run",), ("key", "model"), ())
MIDNIGHT = AT - AT % DAY


async def sums_of(table: LedgerTable, by: Any, *periods: tuple[int, int], **more: Any) -> list[dict[Any, LedgerSum]]:
    found = await table.sums(by, periods or (EVER,), **more)
    return [{one.by: one for one in sums} for sums in found]


@pytest.mark.parametrize("delivered_only", [False, True])
async def test_sums_are_the_same_however_few_lines_are_left(table, delivered_only, monkeypatch):
    """After a restart a budget had a third of its spending, because its other lines had been deleted."""
    draw = random.Random(11)
    await table.add(list(enumerate(random_line(draw, days=1) for _ in range(150))))
    days = [(MIDNIGHT + place * DAY, MIDNIGHT + (place + 1) * DAY) for place in range(2)]
    hours = [(MIDNIGHT + place * DAY // 24, MIDNIGHT + (place + 1) * DAY // 24) for place in range(2 * 24)]
    before = [await sums_of(table, by, *days, *hours, delivered_only=delivered_only) for by in EVERY_WAY]
    for most in (125, 40):
        await table.shrink(0, most)
        after = [await sums_of(table, by, *days, *hours, delivered_only=delivered_only) for by in EVERY_WAY]
        assert after == before, "each hour is exact"
    monkeypatch.setattr(folding, "MIN_SUMS", 20)
    await table.shrink(0, 40)
    for by, was in zip(EVERY_WAY, before, strict=True):
        if "run" not in by:
            found = await sums_of(table, by, *days, delivered_only=delivered_only)
            assert list(map(_money, found)) == list(map(_money, was[:2]))


def _money(found: dict[Any, LedgerSum]) -> dict[Any, Any]:
    return {by: (one.nanos, one.usage, one.grade) for by, one in found.items() if one.nanos or one.grade is not None}


async def test_a_sum_keeps_its_runs_for_a_week_and_its_days_for_ever(table):
    lines = [line(attempt(1), began=AT + place * DAY // 4, run=f"run {place}") for place in range(60)]
    await table.add(list(enumerate(lines)))
    await table.shrink(0, 20)
    quarters, days = await table.folded_parts(EVER)
    assert (quarters.level, days.level) == (QUARTER_SUM, DAY_SUM)
    assert quarters.exchanges + days.exchanges == 40
    newest = lines[-1].began
    assert newest - 8.1 * DAY < days.last < newest - 7 * DAY < quarters.last
    (found,) = await sums_of(table, ("run",))
    assert found[None,].requests == days.exchanges
    assert len(found) == 1 + 60 - days.exchanges


async def test_runs_continue_from_stored_sums(table):
    lines = [line(attempt(10**place), began=AT + place * QUARTER // 3, run="alice/one") for place in range(9)]
    await table.add(list(enumerate(lines)))
    (before,) = await table.runs("key", EVER)
    await table.shrink(0, 4)
    assert await table.runs("key", EVER) == [before]
    assert (before.first, before.last, before.sum.nanos) == (AT, AT + 8 * QUARTER // 3, 111_111_111)


async def test_sums_that_many_runs_have_made_take_no_more_rows_than_a_quarter_of_the_lines(table, monkeypatch):
    """A client that sends a new run with each request does not add a row with each."""
    monkeypatch.setattr(folding, "MIN_SUMS", 10)
    lines = [line(attempt(1), began=AT + place * 1000, run=f"run {place}") for place in range(400)]
    await table.add(list(enumerate(lines)))
    await table.shrink(0, 40)
    quarters, days = await table.folded_parts(EVER)
    assert (quarters.exchanges, days.exchanges) == (10, 350)
    (found,) = await sums_of(table, ("run",))
    assert found[None,] == LedgerSum((None,), 350, 0, Usage(3500, 1750, 350, output=2450), 350, 0)


async def test_unknown_model_names_share_one_row_a_day(table):
    """With a wildcard a client may request any model name."""
    good = [line(attempt(1), began=AT), line(attempt(0, reason="overloaded", grade=None, usage=Usage()), began=AT)]
    made_up = [
        line(attempt(0, f"groq/{place}", reason="not_found", grade=None, usage=Usage()), began=AT + 1)
        for place in range(100)
    ]
    late = line(attempt(1), began=AT + 20 * DAY)
    await table.add(list(enumerate((*good, *made_up, late))))
    await table.shrink(0, 1)
    (found,) = await sums_of(table, ("target",))
    assert {by: (one.requests, one.failed) for by, one in found.items()} == {
        ("gpt",): (3, 1),
        (OTHER_NAME,): (100, 100),
    }


async def test_made_up_projects_share_one_row_a_day(table, monkeypatch):
    """A client that sends a new project with each billed request removes no other project from the sums."""
    monkeypatch.setattr(folding, "MOST_NAMES", 2)
    names = [*["shop"] * 3, None, *(f"project {place}" for place in range(100))]
    lines = [line(attempt(1), began=AT + place, project=name) for place, name in enumerate(names)]
    await table.add(list(enumerate((*lines, line(attempt(1), began=AT + 20 * DAY)))))
    await table.shrink(0, 1)
    (found,) = await sums_of(table, ("project",))
    assert {by: one.requests for by, one in found.items()} == {
        ("shop",): 3, (None,): 2, ("project 0",): 1, (OTHER_NAME,): 99,
    }  # fmt: skip


async def test_old_sums_are_deleted(table):
    await table.add(list(enumerate(line(attempt(1), began=AT + place * DAY) for place in range(30))))
    await table.shrink(0, 3)
    await table.shrink(AT + 20 * DAY, 3)
    assert (await sums_of(table, ()))[0][()].nanos == 10
    assert (await table.time_bounds()) == (AT + 20 * DAY, AT + 29 * DAY)


async def test_processes_that_shorten_and_write_simultaneously_count_each_line_once(table):
    """The two processes are gateways with the same database."""
    lines = list(enumerate(line(attempt(1), began=AT + place) for place in range(600)))

    async def write() -> None:
        for first in range(0, 600, 100):
            await table.add(lines[first : first + 100])
            await table.add(lines[first : first + 100])

    async def shrink() -> None:
        for _ in range(10):
            await table.shrink(0, 200)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        nursery.start_soon(shrink)
        nursery.start_soon(shrink)
    await table.shrink(0, 200)
    (found,) = await sums_of(table, ())
    assert (found[()].requests, found[()].nanos) == (600, 600)


async def test_a_sum_that_crosses_a_bound_belongs_to_its_end(table):
    """Otherwise, a budget with a rolling period would drop it too early."""
    await table.add(list(enumerate(line(attempt(1), began=MIDNIGHT + place * DAY // 8) for place in range(8))))
    await table.add([(9, line(attempt(1), began=MIDNIGHT + 30 * DAY))])
    await table.shrink(0, 1)
    noon = MIDNIGHT + DAY // 2
    first, second = await sums_of(table, (), (MIDNIGHT, noon), (noon, MIDNIGHT + DAY))
    assert (first[()].nanos, second[()].nanos) == (0, 8)
    assert await table.folded_parts((noon, MIDNIGHT + DAY)) == [
        FoldedPart(DAY_SUM, 8, MIDNIGHT, MIDNIGHT + 7 * DAY // 8)
    ]


ZONES = (UTC, ZoneInfo("Europe/Berlin"), ZoneInfo("Asia/Kathmandu"), timezone(timedelta(hours=-9, minutes=-30)))


@given(st.lists(st.tuples(st.integers(0, 40 * DAY), st.integers(0, 10**12)), min_size=1, max_size=40),
       st.integers(1, 20), st.sampled_from(ZONES))  # fmt: skip
@settings(max_examples=examples(40))
def test_days_of_every_zone_keep_their_money(tmp_path_factory, drawn, most, zone):
    lines = [line(attempt(nanos), began=AT + after) for after, nanos in drawn]
    file = tmp_path_factory.mktemp("ledger") / "state.sqlite"

    async def days() -> tuple[list[int], list[int]]:
        table = LedgerTable(SqliteDatabase(file))
        await table.add(list(enumerate(lines)))
        periods = list(dict.fromkeys(day_bounds(one.began, zone) for one in lines))
        before = [sum(one.nanos for one in found) for found in await table.sums((), periods)]
        await table.shrink(0, most, zone)
        after = [sum(one.nanos for one in found) for found in await table.sums((), periods)]
        await table.database.aclose()
        return before, after

    before, after = trio.run(days)
    assert before == after
    assert sum(before) == sum(one.attempts[0].nanos for one in lines)


def test_a_day_has_the_hours_of_its_zone():
    def hours(day: str) -> float:
        since, until = day_bounds(int(datetime.fromisoformat(day).timestamp() * 1e6), ZoneInfo("Europe/Berlin"))
        return (until - since) / 3600e6

    assert [hours(f"{day}T12:00+01:00") for day in ("2026-03-29", "2026-10-25", "2026-11-20")] == [23, 25, 24]


async def test_lines_of_an_earlier_version_become_sums_too(tmp_path):
    """Earlier versions wrote files without sums."""
    file = tmp_path / "state.sqlite"
    table = LedgerTable(SqliteDatabase(file))
    await table.add(list(enumerate(line(attempt(10**place), began=AT + place) for place in range(6))))
    await table.database.aclose()
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("DROP INDEX ledger_sums")
        for column in ("last", "level", "exchanges", "failures", "attempts", "attempt_failures"):
            database.execute(f"ALTER TABLE ledger DROP COLUMN {column}")
        database.execute(f"PRAGMA user_version = {LEDGER_SUMS - 1}")
        database.commit()
    table = LedgerTable(SqliteDatabase(file))
    await table.shrink(0, 2)
    (found,) = await sums_of(table, ("key",))
    assert (found["alice",].nanos, found["alice",].requests) == (111_111, 6)
    await table.database.aclose()
