"""The verdicts about prompt caches in the kept ledger: their sums are those of the lines, folded or not."""

import contextlib
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, get_args

import attrs
import pytest

from gateway.features.kept_ledger import folding
from gateway.features.kept_ledger.columns import COLUMN_TYPES, LEDGER_TABLES
from gateway.features.kept_ledger.keeping import OverflowSums
from gateway.features.kept_ledger.line import (
    UNPRICED,
    LedgerLine,
    LineAttempt,
    line_of,
    rows_of,
)
from gateway.features.kept_ledger.table import LedgerTable, PromptCacheSum
from gateway.ledger.bill import AttemptRecord
from gateway.ledger.figures import Figures
from gateway.ledger.ledger import Ledger
from gateway.stores.sqlite import SqliteDatabase
from providers.catalog.prices import grade_rank
from tests.support.ledger_lines import AT, attempt, line, random_line_with_verdicts, verdict

verdicts: Any = pytest.importorskip(
    "gateway.features.prompt_caches.interface", reason="the gateway has no feature prompt_caches"
)


CAUSES = get_args(verdicts.CauseName)
EVER = (0, 2**62)
NAME_OF: dict[str, Callable[[LedgerLine, LineAttempt], str | None]] = {
    "key": lambda line, _: line.client,
    "group": lambda line, _: line.group,
    "model": lambda _, one: one.model,
    "target": lambda _, one: one.target,
}
NEW_COLUMNS = [name for name in COLUMN_TYPES if name.startswith(("prompt_cache_", "cause", "second_", "project"))]


SYSTEM = verdict(51_200, 49_280, ("system", 49_280, 170_016_000))


async def sums_of(table: LedgerTable, by: str) -> dict[str | None, PromptCacheSum]:
    (found,) = await table.sums((by,), [EVER])  # type: ignore[arg-type]
    return {one.by[0]: one.prompt_cache for one in found if one.prompt_cache.could or one.prompt_cache.missed}


async def causes_of(table: LedgerTable, by: str) -> dict[tuple[str | None, str], tuple[int, int]]:
    (found,) = await table.causes((by,), [EVER])  # type: ignore[arg-type]
    return {(one.by[0], one.cause): (one.tokens, one.nanos) for one in found}


def added_up(lines: Iterable[LedgerLine], by: str) -> tuple[dict[Any, PromptCacheSum], dict[Any, tuple[int, int]]]:
    amounts: dict[Any, Counter[str]] = {}
    grades: dict[Any, list[int]] = {}
    tokens, nanos = Counter[Any](), Counter[Any]()
    for one in lines:
        for tried in one.attempts:
            if (found := tried.verdict) is None:
                continue
            name, lost = NAME_OF[by](one, tried), tried.loss
            values = {"could": found.could, "read": found.read or 0, "missed": found.missed, "unread": found.unread}
            amounts.setdefault(name, Counter()).update(values, nanos=lost.nanos if lost else 0)
            grade = grade_rank(lost.grade) if lost else UNPRICED if found.missed else None
            grades.setdefault(name, []).extend([] if grade is None else [grade])
            for number, cause in enumerate(found.causes):
                tokens[name, cause.name] += cause.tokens
                nanos[name, cause.name] += lost.shares[number] if lost else 0
    whole = {name: PromptCacheSum(**one, grade=max(grades[name], default=None)) for name, one in amounts.items()}
    return whole, {name: (tokens[name], nanos[name]) for name in tokens}


@pytest.mark.parametrize("by", NAME_OF)
async def test_sums_match_the_verdicts_before_and_after_folding(table, by, monkeypatch):
    draw = random.Random(13)
    lines = [random_line_with_verdicts(draw, days=12) for _ in range(250)]
    await table.add(list(enumerate(lines)))
    expected = added_up(lines, by)
    assert (await sums_of(table, by), await causes_of(table, by)) == expected
    for most in (150, 20):
        await table.shrink(0, most)
        assert (await sums_of(table, by), await causes_of(table, by)) == expected, "sums over quarters of an hour"
    monkeypatch.setattr(folding, "MIN_SUMS", 5)
    await table.shrink(0, 20)
    assert (await sums_of(table, by), await causes_of(table, by)) == expected, "sums over days"


@pytest.mark.parametrize("by", NAME_OF)
async def test_lines_that_overflow_keep_their_verdicts_in_sums(table, by):
    draw = random.Random(17)
    lines = [random_line_with_verdicts(draw) for _ in range(200)]
    overflow = OverflowSums(Figures())
    for one in lines:
        overflow.add(one)
    await table.add_rows(overflow.take_rows(1 << 40))
    assert (await sums_of(table, by), await causes_of(table, by)) == added_up(lines, by)


async def test_lines_without_a_verdict_are_in_no_sum(table):
    await table.add([(1, line(attempt(5)))])
    assert (await sums_of(table, "key"), await causes_of(table, "key")) == ({}, {})


async def test_a_verdict_of_every_attempt_counts(table):
    """A fallback missed the cache of the second target, after the first one had failed."""
    moved = verdict(40_000, 40_000, ("moved", 40_000, 5))
    first = attempt(1, "gpt", **SYSTEM)
    await table.add([(1, line(first, attempt(1, "claude", **moved)))])
    assert await causes_of(table, "target") == {
        ("gpt", "system"): (49_280, 170_016_000),
        ("claude", "moved"): (40_000, 5),
    }


async def test_an_earlier_database_gains_the_columns_when_it_is_opened(tmp_path):
    file = tmp_path / "state.sqlite"
    await _use(file, lambda table: table.add([(1, line(attempt(7)))]))
    _remove_columns(file)
    table = LedgerTable(SqliteDatabase(file))
    await table.add([(2, line(attempt(3, **SYSTEM)))])
    assert await sums_of(table, "key") == {"alice": PromptCacheSum(51_200, 1920, 49_280, 170_016_000, 0)}
    (found,) = await table.sums((), [EVER])
    assert (found[0].nanos, found[0].requests) == (10, 2)
    await table.database.aclose()


async def test_a_database_with_the_first_columns_gains_the_others(tmp_path):
    """Lines in such a database have no price of unread entries."""
    file = tmp_path / "state.sqlite"
    await _use(file, lambda table: table.add([(1, line(attempt(7, **SYSTEM)))]))
    with contextlib.closing(sqlite3.connect(file)) as database:
        for name in ("prompt_cache_unread", "prompt_cache_unkeyed", "project"):
            database.execute(f"ALTER TABLE ledger DROP COLUMN {name}")
        database.execute("UPDATE added_tables SET version = 1 WHERE name = ?", (LEDGER_TABLES.name,))
        database.commit()
    table = LedgerTable(SqliteDatabase(file))
    await table.add([(2, line(attempt(3, **verdict(51_200, 49_280, unread=900))))])
    (found,) = (await sums_of(table, "key")).values()
    assert (found.missed, found.unread) == (2 * 49_280, 900)
    await table.database.aclose()


async def test_an_earlier_version_still_writes_and_reads_a_ledger_with_the_columns(tmp_path):
    """The earlier version names its columns in each statement, and the schema version is unchanged."""
    file = tmp_path / "state.sqlite"
    await _use(file, lambda table: table.add([(1, line(attempt(7, **SYSTEM)))]))
    old = [name for name in COLUMN_TYPES if name not in NEW_COLUMNS]
    (row,) = rows_of(line(attempt(5), began=AT + 1), 2)
    with contextlib.closing(sqlite3.connect(file)) as database:
        places = ", ".join(f":{name}" for name in old)
        values = {name: row.get(name) for name in old}
        database.execute(f"INSERT INTO ledger ({', '.join(old)}) VALUES ({places})", values)
        database.commit()
    table = LedgerTable(SqliteDatabase(file))
    (found,) = await table.sums((), [EVER])
    assert (found[0].nanos, found[0].prompt_cache.missed) == (12, 49_280)
    await table.database.aclose()


async def test_a_newer_version_may_have_added_more_columns(tmp_path):
    """Columns that may be empty are no reason to refuse a database."""
    file = tmp_path / "state.sqlite"
    await _use(file, lambda table: table.add([(1, line(attempt(7)))]))
    with contextlib.closing(sqlite3.connect(file)) as database:
        database.execute("ALTER TABLE ledger ADD COLUMN of_a_newer_version text")
        database.execute("UPDATE added_tables SET version = 99 WHERE name = ?", (LEDGER_TABLES.name,))
        database.commit()
    await _use(file, lambda table: table.add([(2, line(attempt(7)))]))
    with contextlib.closing(sqlite3.connect(file)) as database:
        (version,) = database.execute("SELECT version FROM added_tables WHERE name = 'ledger_columns'").fetchone()
    assert version == 99


async def _use(file: Any, work: Callable[[LedgerTable], Any]) -> None:
    table = LedgerTable(SqliteDatabase(file))
    await work(table)
    await table.database.aclose()


def _remove_columns(file: Any) -> None:
    """Make ``file`` a database of the version before the columns."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        for name in NEW_COLUMNS:
            database.execute(f"ALTER TABLE ledger DROP COLUMN {name}")
        database.execute("DROP TABLE added_tables")
        database.commit()


def settled_line(verdict: Any, loss: Any) -> LedgerLine:
    """Return the line of an exchange with one attempt."""
    ledger = Ledger()
    record = ledger.open("r", "messages")
    tried = AttemptRecord("sonnet", "anthropic", "messages", "byte", committed=True, model="anthropic/m")
    record.bill.attempt_records = (attrs.evolve(tried, notes={verdicts.NOTE: verdicts.JudgedAttempt(verdict, loss)}),)
    return line_of(record, {"ended": "complete", "status": 200}, AT / 10**6)


def random_settled(draw: random.Random) -> tuple[Any, Any]:
    shares = tuple(
        verdicts.CauseShare(name, None, draw.randrange(10**6)) for name in draw.sample(CAUSES, draw.randrange(3))
    )
    missed = sum(one.tokens for one in shares) + draw.choice((0, 1999))
    read = draw.choice((None, draw.randrange(10**6)))
    nanos = tuple(draw.randrange(10**12) for _ in shares)
    found = verdicts.CacheVerdict(could=missed + (read or 0), read=read, missed=missed, causes=shares)
    return found, draw.choice((None, verdicts.CacheLoss(sum(nanos), nanos, "estimated")))


async def test_the_ledger_has_the_tokens_and_nano_dollars_of_each_verdict(table):
    draw = random.Random(19)
    judged = [random_settled(draw) for _ in range(200)]
    await table.add([(number, settled_line(*one)) for number, one in enumerate(judged)])
    ((found,),) = await table.sums((), [EVER])
    assert found.prompt_cache.could == sum(one.could for one, _ in judged)
    assert found.prompt_cache.read == sum(one.read or 0 for one, _ in judged)
    assert found.prompt_cache.missed == sum(one.missed for one, _ in judged)
    assert found.prompt_cache.nanos == sum(lost.nanos for _, lost in judged if lost is not None)
    (causes,) = await table.causes((), [EVER])
    assert sum(one.tokens for one in causes) == sum(cause.tokens for one, _ in judged for cause in one.causes)
    assert sum(one.nanos for one in causes) == found.prompt_cache.nanos


@pytest.mark.parametrize(
    ("loss", "grade"),
    [(verdicts.CacheLoss(5, (5,), "exact"), 0), (verdicts.CacheLoss(5, (5,), "estimated"), 1), (None, UNPRICED)],
)
def test_a_loss_has_the_same_grades_as_costs(loss, grade):
    missed = verdicts.CacheVerdict(
        could=9000, read=0, missed=9000, causes=(verdicts.CauseShare("expired", None, 9000),), idle=400.4
    )
    (row,) = rows_of(settled_line(missed, loss), 1)
    assert (row["prompt_cache_grade"], row["prompt_cache_idle"], row["cause"]) == (grade, 400, "expired")
