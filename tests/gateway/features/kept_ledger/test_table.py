"""The table of the kept ledger: the sums of its lines are exact in every database."""

import random
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import attrs
import pytest

from gateway.features.kept_ledger.line import LedgerLine
from gateway.features.kept_ledger.table import LedgerSum, LedgerTable, ShrinkResult, sorted_by_cost, total
from streams.events import Usage
from tests.support.ledger_lines import AT, DAY, attempt, line, random_line

EVER = [(0, 2**62)]


async def add(table: LedgerTable, *lines: LedgerLine) -> None:
    await table.add(list(enumerate(lines)))


async def sums(table: LedgerTable, *by: Any) -> dict[tuple[str | None, ...], LedgerSum]:
    (found,) = await table.sums(by, EVER)
    return {one.by: one for one in found}


async def test_sums_match_the_lines_to_the_nano_dollar(table):
    draw = random.Random(7)
    lines = [random_line(draw) for _ in range(400)]
    await add(table, *lines)
    for by, of in {"key": lambda one: one.client, "group": lambda one: one.group, "run": lambda one: one.run}.items():
        assert await sums(table, by) == _added_up(lines, of)


def _added_up(lines: list[LedgerLine], of: Callable[[LedgerLine], str | None]) -> dict[tuple[str | None], LedgerSum]:
    groups = defaultdict(list)
    for one in lines:
        groups[of(one),].append(one)
    return {by: _sum(by, group) for by, group in groups.items()}


def _sum(by: tuple[str | None], lines: list[LedgerLine]) -> LedgerSum:
    attempts = [one for line in lines for one in line.attempts]
    usage = Usage(
        sum(one.usage.input for one in attempts),
        sum(one.usage.cache_read for one in attempts),
        sum(one.usage.cache_write for one in attempts),
        output=sum(one.usage.output for one in attempts),
    )
    failed = [one for one in lines if one.ended not in ("complete", "client_disconnected")]
    grades = [one.grade for one in attempts if one.grade is not None]
    nanos = sum(one.nanos for one in attempts)
    return LedgerSum(by, len(lines), len(failed), usage, nanos, max(grades, default=None))


async def test_by_target_and_model_attempts_are_counted(table):
    first = line(attempt(3, "gpt", reason="overloaded", usage=Usage(2)), attempt(5, "claude"))
    await add(table, first, line(attempt(8, "gpt")), line(ended="refused"))
    assert await sums(table, "target") == {
        ("gpt",): LedgerSum(("gpt",), 2, 1, Usage(12, 5, 1, output=7), 11, 0),
        ("claude",): LedgerSum(("claude",), 1, 0, Usage(10, 5, 1, output=7), 5, 0),
    }
    found = await sums(table, "key", "model")
    assert {by: one.nanos for by, one in found.items()} == {("alice", "openai/gpt"): 11, ("alice", "openai/claude"): 5}


async def test_a_period_begins_with_its_first_moment_and_ends_before_the_next_one(table):
    await add(table, *(line(attempt(1), began=AT + after) for after in (-1, 0, DAY - 1, DAY)))
    first, second = await table.sums((), [(AT, AT + DAY), (AT + DAY, AT + 2 * DAY)])
    assert (total(first).requests, total(second).requests) == (2, 1)
    assert await table.time_bounds() == (AT - 1, AT + DAY)


async def test_an_empty_ledger_has_no_bounds_and_no_sums(table):
    assert await table.time_bounds() is None
    assert await table.sums(("key",), EVER) == [[]]
    assert total((await table.sums((), EVER))[0]).requests == 0


async def test_lines_can_be_written_in_the_same_thread(table):
    table.add_blocking([(1, line(attempt(3)))])
    table.add_blocking([(1, line(attempt(3)))])
    assert (await sums(table))[()].nanos == 3


async def test_a_ledger_line_stored_twice_counts_once(table):
    """A database that fails may or may not have received the end of a transaction."""
    await table.add([(1, line(attempt(3)))])
    await table.add([(1, line(attempt(3))), (2, line(attempt(4)))])
    assert (await sums(table))[()].nanos == 7


async def test_old_lines_are_deleted_and_the_oldest_excess_lines_become_sums(table):
    await add(table, *(line(attempt(10**place), began=AT + place) for place in range(6)))
    assert await table.shrink(AT + 2, 100) == ShrinkResult(removed=2, folded=0)
    assert (await sums(table))[()].nanos == 111_100
    assert await table.shrink(0, 3) == ShrinkResult(removed=0, folded=1)
    assert await table.shrink(0, 3) == ShrinkResult(removed=0, folded=0)
    assert (await sums(table))[()].nanos == 111_100


async def test_texts_of_clients_are_stored_without_keys_in_a_form_for_every_database(table):
    await table.add(
        [(1, line(attempt(1), requested_model="a\0b\ud800", run="sk-secret" + "x" * 900))], lambda text: "masked"
    )
    assert list(await sums(table, "run")) == [("masked",)]


@pytest.mark.parametrize("nanos", [2**53 + 1, 9 * 10**18 - 2])
async def test_large_sums_are_exact(table, nanos):
    """Numbers above 2^53 are no floats."""
    await add(table, line(attempt(nanos - 1)), line(attempt(1)))
    assert (await sums(table))[()].nanos == nanos


def test_the_most_expensive_sums_come_first():
    found = [LedgerSum((name,), 1, 0, Usage(), nanos, 0) for name, nanos in (("a", 1), ("b", 3), ("c", 3), (None, 2))]
    assert [one.by[0] for one in sorted_by_cost(found)] == ["b", "c", None, "a"]


async def test_sums_can_exclude_undelivered_attempts(table):
    await add(table, line(attempt(1)), line(attempt(2), delivered=False))
    ((found,),) = await table.sums((), EVER, delivered_only=True)
    assert found.nanos == 1


async def test_units_other_than_tokens_are_summed_by_unit(table):
    """Two makers call a search differently; tokens of sounds are among the tokens."""
    units = (("image", 2), ("second", 30), ("query", 1), ("search", 2), ("input_audio_token", 9))
    drawn = attempt(3, "a", usage=Usage(units=units[:2]))
    ranked = [attempt(1, "b", usage=Usage(input=9, units=(one,))) for one in units[2:]]
    lines = [attrs.evolve(line(drawn), endpoint="image_edits"), *(line(one) for one in ranked)]
    await add(table, *lines)
    found = await sums(table, "endpoint")
    assert found["image_edits",].usage.units == units[:2]
    assert found[None,].usage.units == (("search", 3),)
    assert total(list(found.values())).usage.units == (("image", 2), ("second", 30), ("search", 3))
