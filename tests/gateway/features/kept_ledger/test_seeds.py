"""Budgets after a restart: they continue exactly from the sums of the kept ledger."""

import itertools
import logging
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
import trio

from gateway.allowances.allowances import Allowances
from gateway.allowances.seeds import budgets_of, raise_to_opening
from gateway.config_files.loading import Config, from_mapping
from gateway.counters.counter import SumCounter
from gateway.counters.memory import LocalCounters
from gateway.features.kept_ledger import folding
from gateway.features.kept_ledger.keeping import TableLedgerWriter
from gateway.features.kept_ledger.line import LedgerLine
from gateway.features.kept_ledger.seeds import seed_budgets
from gateway.features.kept_ledger.table import LedgerTable
from gateway.features.kept_ledger.usage import UsageQuery, read_usage
from gateway.stores.sql import SqlStore
from gateway.stores.sqlite import SqliteDatabase
from streams.events import Usage
from tests.support.asgi_app import eventually
from tests.support.each_row import each_row
from tests.support.in_process import gateway, providers
from tests.support.ledger_lines import attempt, line
from tests.support.levels import limit_level

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 18, 12, tzinfo=BERLIN).timestamp()  # a Wednesday
HOUR, DAY = 3600.0, 86400.0


def config(**more: Any) -> Config:
    entries = [
        {"model": "openai/gpt-5", "name": "gpt", "access_key": "k", "price": {"input": 1, "output": 1}},
        {"model": "groq/*", "access_key": "k"},
    ]
    return from_mapping({"version": "v0.4.0", "timezone": "Europe/Berlin", "model_providers": entries,
                         "unpriced": "allow", **more})  # fmt: skip


def keys(*budgets: str, **more: Any) -> dict[str, Any]:
    return {"client_keys": [{"name": "alice", "key": "k" * 32, "budgets": list(budgets), **more}]}


def at(seconds_ago: float, nanos: int, **given: Any) -> LedgerLine:
    return line(attempt(nanos), began=int((NOW - seconds_ago) * 1e6), **given)


@attrs.define
class Seeded:
    """Budgets after the gateway has read the kept ledger."""

    allowances: Allowances

    def used_amounts(self, run: str | None = None, now: float = NOW) -> dict[str, int]:
        found = {}  # by holder and text of the budget
        for one in budgets_of(self.allowances):
            if (counter := one.counter(now, run)) is not None:
                found[f"{one.holder} {one.text}"] = self.allowances.counters.level(counter).used
        return found


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(NOW + seconds, UTC).isoformat()


def opening_budgets(given: Config) -> Seeded:
    """Return budgets that begin only with ``opening_spend``, without a kept ledger."""
    allowances = Allowances(given, LocalCounters(now=lambda: NOW), now=lambda: NOW)
    for _ in range(2):  # once for each worker
        raise_to_opening(allowances, budgets_of(allowances), given.opening_spend)
    return Seeded(allowances)


def test_opening_spend_counts_in_each_budget_of_its_currency():
    opening = [
        {"client": "alice", "spent": "2 usd", "until": stamp(DAY)},
        {"client": "alice", "spent": "500 tokens", "until": stamp(DAY)},
        {"spent": "3 usd", "until": stamp(DAY)},
        {"group": "team", "spent": "4 usd", "until": stamp(DAY)},
        {"client": "alice", "spent": "9 usd", "until": stamp(-1)},  # its period has ended
    ]
    given = config(
        **keys("9 usd/day", "9 usd/30d", "9 usd/run", "9k tokens/day", group="team"), opening_spend=opening,
        budgets=["9 usd/day"], client_groups=[{"name": "team", "budgets": ["9 usd/month"]}],
    )  # fmt: skip
    found = opening_budgets(given).used_amounts()
    assert found["client_keys.alice 9 usd/day"] == 2 * 10**9
    assert found["client_keys.alice 9k tokens/day"] == 500
    assert found["client_groups.team 9 usd/month"] == 4 * 10**9
    assert found["everybody 9 usd/day"] == 3 * 10**9


@each_row("left", [1.0, HOUR, 3 * DAY, 29 * DAY, 90 * DAY])
def test_opening_spend_leaves_a_rolling_period_when_the_old_period_ends(left):
    """It may count up to a thirtieth of the period too long, but never too short."""
    until = min(left, 30 * DAY)  # of the longest period that can count it
    found = opening_budgets(
        config(**keys("9 usd/30d"), opening_spend=[{"client": "alice", "spent": "2 usd", "until": stamp(left)}])
    )
    (budget,) = budgets_of(found.allowances)

    def total(now: float) -> int:
        counter = budget.counter(now, None)
        assert counter is not None
        return found.allowances.counters.level(counter).used

    assert total(NOW) == 2 * 10**9
    assert total(NOW + until - 0.5) == 2 * 10**9
    assert total(NOW + until + DAY + 1) == 0


def test_the_lines_of_the_ledger_are_added_to_the_opening_spend(tmp_path):
    opening = [{"client": "alice", "spent": "2 usd", "until": stamp(DAY)}]
    given = config(**keys("9 usd/day", "9 usd/30d"), opening_spend=opening)
    found = start_budgets(tmp_path, given, at(HOUR, 10**9)).used_amounts()
    assert found["client_keys.alice 9 usd/day"] == 3 * 10**9


def start_budgets(folder: Path, given: Config, *lines: LedgerLine, most: int | None = None) -> Seeded:
    """Start budgets from a ledger with ``lines``. If ``most`` is set, only so many remain, and sums have the others."""

    async def begin() -> Seeded:
        table = LedgerTable(SqliteDatabase(folder / "state.sqlite"))
        await table.add(list(enumerate(lines)))
        if most is not None:
            await table.shrink(0, most, BERLIN)
        allowances = Allowances(given, LocalCounters(now=lambda: NOW), now=lambda: NOW)
        for _ in range(2):  # the second time must add nothing
            await seed_budgets(allowances, budgets_of(allowances), given.entries, table, opening=given.opening_spend)
        await table.database.aclose()
        return Seeded(allowances)

    return trio.run(begin)


def test_a_budget_begins_with_the_lines_of_its_period(tmp_path):
    """A restart lost or multiplied the spending: BerriAI/litellm#28247, #30684."""
    given = config(**keys("9 usd/hour", "9 usd/day", "9 usd/week", "9 usd/month"))
    ages = (0.0, 1.0, HOUR, 11 * HOUR, 13 * HOUR, 2.4 * DAY, 3 * DAY, 17 * DAY, 18 * DAY)
    found = start_budgets(tmp_path, given, *(at(age, 10**place) for place, age in enumerate(ages)))
    assert found.used_amounts() == {
        "client_keys.alice 9 usd/hour": 1,
        "client_keys.alice 9 usd/day": 1111,
        "client_keys.alice 9 usd/week": 111_111,
        "client_keys.alice 9 usd/month": 11_111_111,
    }


@pytest.mark.parametrize("most", [0, 1, 3])
def test_a_budget_is_the_same_however_few_lines_are_left(tmp_path, most):
    """The money of deleted lines was lost: 0.1452 became 0.0484 after a restart."""
    budgets = keys("9 usd/hour", "9 usd/day", "9 usd/week", "9 usd/month", "9 usd/30d", "9 usd/run")
    ages = (0.0, HOUR, 11 * HOUR, 13 * HOUR, 2.4 * DAY, 3 * DAY, 9 * DAY, 17 * DAY)
    lines = [at(age, 10**place, run=f"alice/{place // 2}") for place, age in enumerate(ages)]
    (tmp_path / "all").mkdir()
    (tmp_path / "few").mkdir()
    every, few = (
        start_budgets(tmp_path / "all", config(**budgets), *lines),
        start_budgets(tmp_path / "few", config(**budgets), *lines, most=most),
    )
    for run in ("alice/0", "alice/1", "alice/2"):
        assert few.used_amounts(run) == every.used_amounts(run)
    assert every.used_amounts("alice/0")["client_keys.alice 9 usd/run"] == 11
    assert every.used_amounts()["client_keys.alice 9 usd/30d"] == 11_111_111


def test_runs_of_which_only_sums_by_day_are_left_are_a_warning(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(folding, "MIN_SUMS", 0)
    lines = [at(place, 10, run=f"alice/{place}") for place in range(9)]
    start_budgets(tmp_path, config(**keys("9 usd/run")), *lines, most=1)
    assert "budgets of runs start without some of the earlier spending" in caplog.text


def test_a_rolling_budget_begins_with_the_sums_of_its_slices(tmp_path):
    found = start_budgets(tmp_path, config(**keys("9 usd/30d")), *(at(age * DAY, 10**age) for age in (0, 1, 12, 13)))
    ((name, used),) = found.used_amounts().items()
    assert (name, used) == ("client_keys.alice 9 usd/30d", 1 + 10 + 10**12 + 10**13)
    assert found.used_amounts(now=NOW + 18.5 * DAY) == {name: 1 + 10 + 10**12}, "older spending no longer counts"


def test_tokens_count_as_they_do_when_an_answer_ends(tmp_path):
    spent = line(attempt(5, usage=Usage(100, 7000, 20, output=3)), began=int(NOW * 1e6))
    assert start_budgets(tmp_path, config(**keys("1M tokens/day")), spent).used_amounts() == {
        "client_keys.alice 1M tokens/day": 123  # cached tokens do not count
    }


def test_each_holder_has_its_own_lines(tmp_path):
    given = config(client_groups=[{"name": "search", "budgets": ["9 usd/day"]}], **keys("8 usd/day", group="search"))
    first, second = given.entries
    budget = given.client_keys[0].budgets[:1]
    given = attrs.evolve(given, entries=(attrs.evolve(first, budgets=budget), attrs.evolve(second, budgets=budget)))
    lines = (
        line(attempt(1, "gpt"), began=int(NOW * 1e6), client="alice", group="search"),
        line(attempt(10, "gpt"), attempt(100, "groq/llama"), began=int(NOW * 1e6), client="ben", group="search"),
        line(attempt(1000, "elsewhere"), began=int(NOW * 1e6), client=None),
    )
    assert start_budgets(tmp_path, given, *lines).used_amounts() == {
        "client_keys.alice 8 usd/day": 1,
        "client_groups.search 9 usd/day": 111,
        "model_providers.gpt 8 usd/day": 11,
        "model_providers.groq/* 8 usd/day": 100,
    }


def test_a_budget_of_the_root_begins_with_the_lines_of_all_clients(tmp_path):
    given = config(budgets=["9 usd/day", "9 usd/run"], **keys("8 usd/day"))
    lines = (
        at(0, 1, client="alice", run="alice/r"),
        at(0, 10, client="ben", run="ben/r"),
        at(0, 100, client=None),
        at(2 * DAY, 1000, client=None),
    )
    found = start_budgets(tmp_path, given, *lines)
    assert found.used_amounts() == {"everybody 9 usd/day": 111, "client_keys.alice 8 usd/day": 1}
    assert found.used_amounts("ben/r")["everybody 9 usd/run"] == 10


def test_a_run_continues_until_a_pause_ends_it(tmp_path):
    """The sum spans all days of the run, not only the last one: LMNTL-AI/openclaw-agents#21."""
    long = [at(age * HOUR, 10**place, run="alice/long") for place, age in enumerate((2, 20, 40, 60, 85, 100))]
    ended = [at(25 * HOUR, 7, run="alice/ended"), at(30 * HOUR, 7, run="alice/ended")]
    found = start_budgets(tmp_path, config(**keys("9 usd/run")), *long, *ended)
    assert found.used_amounts("alice/long") == {"client_keys.alice 9 usd/run": 1111}, "it paused for 25 hours before"
    assert found.used_amounts("alice/ended") == {"client_keys.alice 9 usd/run": 0}
    assert found.used_amounts("alice/never") == {"client_keys.alice 9 usd/run": 0}


def test_a_request_that_was_refused_does_not_prolong_a_run(tmp_path):
    refused = line(began=int((NOW - HOUR) * 1e6), run="alice/one", ended="refused")
    found = start_budgets(tmp_path, config(**keys("9 usd/run")), at(25 * HOUR, 7, run="alice/one"), refused)
    assert found.used_amounts("alice/one") == {"client_keys.alice 9 usd/run": 0}


@pytest.mark.parametrize(("charged", "used"), [(True, 11), (False, 1)])
def test_undelivered_responses_count_if_they_are_charged(tmp_path, charged, used):
    given = config(charge_undelivered=charged, **keys("9 usd/day"))
    found = start_budgets(tmp_path, given, at(0, 1), at(0, 10, delivered=False))
    assert found.used_amounts() == {"client_keys.alice 9 usd/day": used}


def test_a_reload_reads_the_ledger_only_for_new_budgets():
    before, after = config(**keys("9 usd/day")), config(**keys("9 usd/day", "1 usd/hour"))
    allowances = Allowances(before)
    assert [one.text for one in budgets_of(allowances.next(after), allowances)] == ["1 usd/hour"]


@pytest.mark.parametrize("earlier", [(), ("9 usd/week",)])  # a request without any limits reserves nothing
async def test_a_request_in_progress_counts_in_a_budget_that_a_reload_adds(tmp_path, earlier):
    path = tmp_path / "state.sqlite"
    store = SqlStore(SqliteDatabase(path), DAY, None)
    async with providers(1) as [place]:
        entry = {"model": "vllm/a", "base_url": place.url, "access_key": "k", "price": {"input": 1, "output": 1}}
        storage = {"type": "sqlite", "path": str(path)}
        given = {"version": "v0.4.0", "model_providers": [entry], "state_storage": storage}
        async with gateway({**given, **keys(*earlier)}, store=store) as running, trio.open_nursery() as nursery:
            ask = partial(running.ask, "vllm/a", headers=[("authorization", f"Bearer {'k' * 32}")])

            def used_amount() -> int:
                allowances = running.service.allowances
                counters = [one.counter(time.time(), None) for one in budgets_of(allowances) if one.text == "9 usd/day"]
                levels = [allowances.counters.level(one) for one in counters if one is not None]
                return sum(one.used for one in levels if not one.held)

            with place.hold_answers():
                nursery.start_soon(ask)
                await eventually(lambda: bool(place.asked))
                running.reload({**given, **keys(*earlier, "9 usd/day")})
            await eventually(lambda: used_amount() > 0)
            cost = used_amount()
            await ask()
            await eventually(lambda: used_amount() == 2 * cost)
    await store.aclose()


async def test_budgets_get_their_earlier_spending_once_the_ledger_can_be_read(tmp_path, caplog):
    """A gateway that started during an outage of its database let clients spend their budgets twice."""
    given = config(**keys("9 usd/day"))
    found = Seeded(Allowances(given, LocalCounters(now=lambda: NOW), now=lambda: NOW))
    caplog.set_level(logging.WARNING, "trigate.ledger")
    table = LedgerTable(SqliteDatabase(tmp_path / "later" / "state.sqlite"))
    writer = TableLedgerWriter(table, keep=DAY, most=1000)
    writer.schedule(partial(seed_budgets, found.allowances, budgets_of(found.allowances), given.entries))
    for _ in range(2):
        await writer.begin()
    assert caplog.text.count("budgets count no earlier spending until the ledger can be read") == 1
    assert found.used_amounts() == {"client_keys.alice 9 usd/day": 0}
    (tmp_path / "later").mkdir()
    await table.add([(1, at(0, 7))], str)
    await writer.begin()
    assert found.used_amounts() == {"client_keys.alice 9 usd/day": 7}
    await table.database.aclose()


async def test_spending_counts_once_if_the_ledger_can_only_be_read_later(tmp_path):
    """The sums leave out the lines of this process, so the gateway must note what it settles meanwhile."""
    made, path = tmp_path / "made", tmp_path / "later" / "state.sqlite"
    made.mkdir()
    table = LedgerTable(SqliteDatabase(made / path.name))
    await table.add([(1, line(attempt(7), began=int(time.time() * 1e6)))])
    await table.database.aclose()
    store = SqlStore(SqliteDatabase(path), DAY, None)
    async with providers(1) as [place]:
        entry = {"model": "vllm/a", "base_url": place.url, "access_key": "k", "price": {"input": 1, "output": 1}}
        storage = {"type": "sqlite", "path": str(path)}
        given = {"version": "v0.4.0", "model_providers": [entry], "state_storage": storage, **keys("9 usd/30d")}
        async with gateway(given, store=store) as running:
            reply = await running.ask("vllm/a", headers=[("authorization", f"Bearer {'k' * 32}")])
            assert reply.status_code == 200
            level = partial(limit_level, running.service.allowances)
            await eventually(lambda: level().used > 0 and not level().held)
            spent = level().used
            made.rename(path.parent)
            await eventually(lambda: level().used > spent)
            assert level().used == spent + 7
    await store.aclose()


@pytest.mark.server
async def test_a_server_may_need_longer_for_sums_than_for_a_request(database):
    """PostgreSQL stopped sums over millions of lines after four seconds, so budgets started at zero, and the page of
    usage failed."""
    import psycopg

    from gateway.stores.postgres import PostgresDatabase

    given = config(**keys("9 usd/day"))
    found = Seeded(Allowances(given, LocalCounters(now=lambda: NOW), now=lambda: NOW))
    filled, table = LedgerTable(PostgresDatabase(database)), LedgerTable(PostgresDatabase(database, limit=3.0))
    await filled.add([(1, at(0, 7))], str)
    with psycopg.connect(database) as db:
        db.execute("ALTER TABLE trigate_ledger RENAME TO lines")
        is_quick = "current_query() NOT LIKE '%SUM(nanos)%' OR pg_sleep(2.5) IS NOT NULL"
        db.execute(f"CREATE VIEW trigate_ledger AS SELECT * FROM lines WHERE {is_quick}")
    await seed_budgets(found.allowances, budgets_of(found.allowances), given.entries, table)
    assert found.used_amounts() == {"client_keys.alice 9 usd/day": 7}
    now = datetime.fromtimestamp(NOW, UTC)
    report = await read_usage(table, UsageQuery(since=now, until=now + timedelta(days=1)))
    assert report.total.sum.nanos == 7
    for one in (filled, table):
        await one.database.aclose()


async def test_a_hundred_budgets_of_one_period_take_one_query(tmp_path):
    class Counting(LedgerTable):
        looks = itertools.count()

        async def sums(self, *given: Any, **more: Any) -> Any:
            next(self.looks)
            return await super().sums(*given, **more)

    many = [{"name": f"n{place}", "key": f"{place:032}", "budgets": ["9 usd/day"]} for place in range(100)]
    allowances = Allowances(given := config(client_keys=many))
    table = Counting(SqliteDatabase(tmp_path / "state.sqlite"))
    await seed_budgets(allowances, budgets_of(allowances), given.entries, table)
    assert next(table.looks) == 1
    await table.database.aclose()


async def test_requests_continue_while_many_budgets_are_raised(tmp_path):
    """The event loop stood still while the budgets of thousands of clients were raised."""
    is_done = trio.Event()
    raised: list[int] = []

    class Noting(LocalCounters):
        turn = 0

        def raise_to(self, counter: SumCounter, used: int) -> None:
            raised.append(self.turn)
            super().raise_to(counter, used)

    counters = Noting(now=lambda: NOW)

    async def take_turns() -> None:
        while not is_done.is_set():
            counters.turn += 1
            await trio.lowlevel.checkpoint()

    many = [{"name": f"n{place}", "key": f"{place:032}", "budgets": ["9 usd/30d"]} for place in range(20)]
    allowances = Allowances(given := config(client_keys=many), counters, now=lambda: NOW)
    table = LedgerTable(SqliteDatabase(tmp_path / "state.sqlite"))
    await table.add([(place, at(0, 7, client=f"n{place}")) for place in range(20)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        await seed_budgets(allowances, budgets_of(allowances), given.entries, table)
        is_done.set()
    assert len(raised) == 20
    assert max(map(raised.count, raised)) <= 2
    await table.database.aclose()
