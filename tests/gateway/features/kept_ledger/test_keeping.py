"""The task that writes the ledger: one line for each exchange, in batches, even if the database fails."""

import contextlib
import gc
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import attrs
import msgspec
import pytest
import trio

from gateway.allowances.allowances import Allowances
from gateway.allowances.seeds import budgets_of
from gateway.config_files.loading import from_mapping
from gateway.counters.counter_store import SendStep
from gateway.counters.memory import LocalCounters
from gateway.counters.remote import RemoteCounters
from gateway.features.kept_ledger import keeping
from gateway.features.kept_ledger.keeping import Amounts, LinesOfConfig, TableLedgerWriter
from gateway.features.kept_ledger.opening import KeptLedger
from gateway.features.kept_ledger.seeds import seed_budgets
from gateway.features.kept_ledger.table import LedgerTable, ShrinkResult, total
from gateway.ledger.bill import AttemptRecord
from gateway.ledger.ledger import Ledger
from gateway.ledger.record import Record
from gateway.seams.observers import observation_of
from gateway.serving.lifecycle import Lifecycle
from gateway.stores.errors import Unavailable
from gateway.stores.sqlite import SqliteDatabase
from providers.catalog.prices import Price
from streams.events import Usage
from tests.support.asgi_app import eventually
from tests.support.counters import budget, claim
from tests.support.harness import PATIENCE
from tests.support.ledger_lines import AT

EVER = [(0, 2**62)]
PRICE = Price(input=2 * 10**9, output=8 * 10**9, cached=10**9)


class Telling(LedgerTable):
    """A table with events that are set when it has been changed."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.added, self.was_cut, self.was_marked = trio.Event(), trio.Event(), trio.Event()
        self.fails = False

    async def mark(self, *given: Any) -> None:
        await super().mark(*given)
        self.was_marked.set()

    async def add(self, *given: Any) -> None:
        if self.fails:
            raise Unavailable("the disk is full")
        await super().add(*given)
        self.added.set()

    async def shrink(self, *given: Any) -> ShrinkResult:
        gone = await super().shrink(*given)
        self.was_cut.set()
        return gone


OPEN: list[SqliteDatabase] = []
"""The databases that a test has opened."""


@pytest.fixture(autouse=True)
async def _closing() -> AsyncIterator[None]:
    yield
    while OPEN:
        await OPEN.pop().aclose()


def table_in(folder: Any, kind: type[LedgerTable] = LedgerTable) -> Any:
    OPEN.append(SqliteDatabase(folder / "state.sqlite"))
    return kind(OPEN[-1])


def kept_in(table: LedgerTable, **given: Any) -> TableLedgerWriter:
    return TableLedgerWriter(table, **{"keep": 1e9, "most": 10**6, "clock": lambda: AT / 1e6, **given})


def ledger_to(kept: TableLedgerWriter, groups: Mapping[str, str] | None = None) -> Ledger:
    ledger = Ledger()
    observation_of(ledger).hooks += (lambda record, arrival: LinesOfConfig(kept, groups or {}),)
    return ledger


def keeping_in(table: LedgerTable, **given: Any) -> tuple[TableLedgerWriter, Ledger]:
    """Return the writer of the lines in ``table``, and a ledger whose lines it writes."""
    kept = kept_in(table, **given)
    return kept, ledger_to(kept)


async def end(kept: TableLedgerWriter, how: str) -> None:
    """End the process, in order or immediately."""
    if how == "finish":
        await kept.finish()
    else:
        kept.write_blocking()


async def run_until(kept: TableLedgerWriter, event: trio.Event) -> None:
    """Run the task that writes the ledger until ``event``."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        with trio.fail_after(10):
            await event.wait()
        nursery.cancel_scope.cancel()


each_end = pytest.mark.parametrize("how", ["finish", "write_here"])


COMMITTED = (AttemptRecord("gpt", "openai", "chat", "byte", committed=True, model="openai/gpt-5", price=PRICE),)


def settle(ledger: Ledger, output: int = 10, **given: Any) -> Record:
    record = ledger.open("req", "chat")
    record.requested_model, record.client = "best", "alice"
    record.bill.is_complete, record.bill.usage = True, Usage(7, 3, output=output)
    record.bill.attempt_records = COMMITTED
    for name, value in given.items():
        setattr(record.bill if hasattr(record.bill, name) else record, name, value)
    ledger.settle(record, disconnected=False)
    return record


async def nanos(table: LedgerTable) -> int:
    (found,) = await table.sums((), EVER)
    return total(found).nanos


async def test_the_kept_ledger_has_the_costs_of_the_records(tmp_path):
    kept, ledger = keeping_in(table := table_in(tmp_path))
    records = [settle(ledger, output) for output in range(50)]
    await kept.flush()
    assert await nanos(table) == sum(cost.nanos for record in records if (cost := record.bill.cost()) is not None) > 0
    await kept.finish()


async def test_a_line_has_the_client_and_the_provider(tmp_path):
    kept = kept_in(table := table_in(tmp_path))
    ledger = ledger_to(kept, {"alice": "search"})
    settle(ledger, run="a-run")
    settle(ledger, client="ben")
    await kept.flush()
    (found,) = await table.sums(("key", "group", "model", "target", "run"), EVER)
    assert sorted(one.by for one in found) == [
        ("alice", "search", "openai/gpt-5", "gpt", "a-run"), ("ben", None, "openai/gpt-5", "gpt", None),
    ]  # fmt: skip
    await kept.finish()


async def test_a_cached_response_is_a_request_of_its_client_but_no_attempt(tmp_path):
    """Sums by target and comparisons with invoices had it as a request, although the provider did not receive it."""
    kept, ledger = keeping_in(table := table_in(tmp_path))
    settle(ledger)
    failed = AttemptRecord("other", "openai", "chat", "byte", reason="server_error", model="openai/gpt-4o", price=PRICE)
    cached = attrs.evolve(COMMITTED[0], requests=0)
    for before in ((), (failed,)):
        settle(ledger, attempt_records=(*before, cached), from_cache=True)
    settle(ledger, attempt_records=(attrs.evolve(cached, committed=False, reason="connection"),), from_cache=True)
    await kept.flush()
    (by_key,), (by_target,) = [await table.sums((name,), EVER) for name in ("key", "target")]
    assert [(one.by, one.requests) for one in by_key] == [(("alice",), 4)]
    assert sorted((one.by, one.requests) for one in by_target) == [(("gpt",), 1), (("other",), 1)]
    await kept.finish()


async def test_an_exchange_without_model_and_attempt_is_not_stored_in_the_kept_ledger(tmp_path):
    """Otherwise, requests that reach no model could displace the bills of other clients."""
    kept = kept_in(table_in(tmp_path))
    settle(ledger_to(kept), requested_model=None, attempt_records=())
    await kept.finish()
    assert await table_in(tmp_path).time_bounds() is None


async def test_lines_are_written_regularly_and_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "WRITE_SECONDS", 0.01)
    kept, ledger = keeping_in(table := table_in(tmp_path, Telling))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        settle(ledger)
        with trio.fail_after(10):
            await table.added.wait()
        settle(ledger)
        nursery.cancel_scope.cancel()
    await kept.finish()
    assert await nanos(table_in(tmp_path)) == 2 * 97 * 1000


async def test_lines_that_cannot_be_stored_are_stored_later(tmp_path, caplog):
    caplog.set_level(logging.INFO, "trigate.ledger")
    kept, ledger = keeping_in(table := table_in(tmp_path / "away"))
    settle(ledger)
    await kept.flush()
    settle(ledger)
    await kept.flush()
    (tmp_path / "away").mkdir()
    await kept.flush()
    await kept.flush()
    assert await nanos(table) == 2 * 97 * 1000
    assert [record.message.partition(":")[0] for record in caplog.records if record.name == "trigate.ledger"] == [
        "lines of the ledger are waiting to be stored", "the ledger is stored again",
    ]  # fmt: skip
    assert not kept.figures.take()[0]
    await kept.finish()


@pytest.mark.parametrize("most", [keeping.MAX_WAITING, 0])
async def test_lines_are_stored_before_each_sum_that_a_reload_needs(tmp_path, monkeypatch, most):
    """The changes of twenty stored keys kept lines in memory for as long as twenty sums over the ledger took."""
    monkeypatch.setattr(keeping, "MAX_WAITING", most)  # without room for lines, there are sums of them
    kept, ledger = keeping_in(table_in(tmp_path))
    found = []

    async def add_up(table: LedgerTable, settled: Amounts) -> None:
        found.append(await nanos(table))
        found.append(await nanos(kept.table))
        assert [run.sum.nanos for run in await table.runs("key", EVER[0])] == [97_000] * (most > 0)
        settle(ledger, run="a-run")

    settle(ledger, run="a-run")
    for _ in range(3):
        kept.schedule(add_up)
    await kept.begin()
    assert found == [97_000, 97_000, 97_000, 2 * 97_000, 97_000, 3 * 97_000]
    await kept.finish()


async def test_requests_that_cost_nothing_leave_nothing_in_memory_while_a_sum_waits(tmp_path):
    """Each may name a run of its own, and an outage of the database may last for hours."""
    kept, found = kept_in(table_in(tmp_path)), []

    async def note(table: LedgerTable, settled: Amounts) -> None:
        found.append(dict(settled))

    kept.schedule(note)
    for name, used in (("free", 0), ("paid", 5)):
        kept.note_settled(claim((budget(name), 1)), [used])
    await kept.begin()
    assert found == [{budget("paid").key: 5}]
    await kept.finish()


async def test_requests_and_their_lines_do_not_wait_for_long_sums_at_the_start(tmp_path, monkeypatch, caplog):
    """Kubernetes' startup probe ended each gateway whose database added up its lines for more than 30 seconds."""
    monkeypatch.setattr(keeping, "START_SECONDS", 0.05)
    caplog.set_level(logging.INFO, "trigate.ledger")
    kept, ledger = keeping_in(table := table_in(tmp_path, Telling))
    has_sums, ending = trio.Event(), trio.Event()

    async def add_up(table: LedgerTable, settled: Amounts) -> None:
        await has_sums.wait()

    kept.schedule(add_up)
    given = from_mapping({"version": "v0.4.0", "model_providers": [{"model": "openai/gpt-5", "access_key": "k"}]})
    async with trio.open_nursery() as nursery:
        with trio.fail_after(PATIENCE):
            await nursery.start(KeptLedger(kept, given, Allowances(given), None, Lifecycle()).run, ending)
            assert "its sums take more than" in caplog.text
            settle(ledger)
            await table.added.wait()
            has_sums.set()
            await eventually(lambda: "budgets count their earlier spending again" in caplog.text)
            ending.set()


@pytest.mark.server
async def test_spending_during_the_sum_of_a_budget_counts_once(database):
    """A budget lost the spending while a slow database added up its lines."""
    import psycopg

    from gateway.stores.postgres import PostgresDatabase

    entry = {"model": "openai/gpt-5", "access_key": "k"}
    key = {"name": "alice", "key": "k" * 32, "budgets": ["9 usd/day"]}
    given = from_mapping({"version": "v0.4.0", "model_providers": [entry], "client_keys": [key]})
    counters = LocalCounters(now=lambda: AT / 1e6)
    (budget,) = budgets_of(allowances := Allowances(given, counters))
    counter = budget.counter(AT / 1e6, None)
    kept, ledger = keeping_in(table := LedgerTable(PostgresDatabase(database)))
    counters.on_settled(kept.note_settled)
    earlier, its_ledger = keeping_in(table)
    settle(its_ledger)
    await earlier.finish()

    def schedule() -> None:
        kept.schedule(partial(seed_budgets, allowances, (budget,), given.entries))

    schedule()
    with psycopg.connect(database) as other, psycopg.connect(database, autocommit=True) as watcher:
        other.execute("LOCK TABLE trigate_ledger IN ACCESS EXCLUSIVE MODE")
        waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%SUM(nanos)%'"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kept.begin)
            await eventually(lambda: watcher.execute(waiting).fetchone() is not None)
            taken = claim((counter, 1))
            assert not await counters.reserve([taken])
            counters.settle(taken, [97_000])
            settle(ledger)
            other.commit()
    assert counters.level(counter).used == 2 * 97_000
    schedule()
    await kept.begin()
    assert counters.level(counter).used == 2 * 97_000, "the line is in the table now"
    await kept.finish()
    await table.database.aclose()


@pytest.mark.server
async def test_the_end_does_not_wait_for_the_sum_of_a_budget(database, monkeypatch):
    """A slow server delayed the end of the process by half a minute."""
    import psycopg

    from gateway.stores.postgres import PostgresDatabase

    monkeypatch.setattr(keeping, "START_SECONDS", 0.05)
    given = from_mapping({
        "version": "v0.4.0", "model_providers": [{"model": "openai/gpt-5", "access_key": "k"}],
        "client_keys": [{"name": "alice", "key": "k" * 32, "budgets": ["9 usd/day"]}],
    })  # fmt: skip
    kept, ledger = keeping_in(table := LedgerTable(PostgresDatabase(database)))
    settle(ledger)
    await kept.flush()
    allowances = Allowances(given, LocalCounters(now=lambda: AT / 1e6))
    running, ending = KeptLedger(kept, given, allowances, None, Lifecycle()), trio.Event()
    with psycopg.connect(database, autocommit=True) as db:
        db.execute("ALTER TABLE trigate_ledger RENAME TO lines")
        is_quick = "current_query() NOT LIKE '%SUM(nanos)%' OR pg_sleep(300) IS NOT NULL"
        db.execute(f"CREATE VIEW trigate_ledger AS SELECT * FROM lines WHERE {is_quick}")
        is_summing = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        running.use()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(running.run, ending, task_status=trio.TASK_STATUS_IGNORED))
            await eventually(lambda: db.execute(is_summing).fetchone() is not None)
            with trio.fail_after(15):
                ending.set()
                await eventually(lambda: not nursery.child_tasks)
    await table.database.aclose()


@pytest.mark.server
async def test_the_log_has_the_reason_why_postgresql_takes_no_lines(server, caplog):
    """A server with too many connections looked like one that is down."""
    from gateway.stores.postgres import PostgresDatabase

    kept, ledger = keeping_in(table := LedgerTable(PostgresDatabase(server.url.replace("/postgres?", "/missing?"))))
    settle(ledger)
    await kept.flush()
    assert "is unreachable: connection failed" in caplog.text
    assert 'database "missing" does not exist' in caplog.text
    await table.database.aclose()


async def test_lines_beyond_the_queue_limit_are_kept_as_sums(tmp_path, caplog, monkeypatch):
    """If the database is unavailable for long, single lines are lost, but no costs."""
    monkeypatch.setattr(keeping, "MAX_WAITING", 3)
    kept, ledger = keeping_in(table := table_in(tmp_path / "away"))
    for place in range(9):
        settle(ledger, client=("alice", "ben")[place % 2], run="a-run")
    assert kept.figures.take()[0] == {(keeping.FOLDED,): 6}
    await kept.flush()
    (tmp_path / "away").mkdir()
    await kept.flush()
    settle(ledger)
    await kept.flush()
    assert "it has only sums for some exchanges" in caplog.text
    (found,) = await table.sums(("key", "target"), EVER)
    assert {one.by: (one.requests, one.nanos) for one in found} == {
        ("alice", "gpt"): (6, 6 * 97_000), ("ben", "gpt"): (4, 4 * 97_000),
    }  # fmt: skip
    (runs,) = await table.sums(("run",), EVER)
    assert {one.by: one.requests for one in runs} == {("a-run",): 3, (None,): 7}
    await kept.finish()


async def test_sums_that_may_have_been_written_count_once(tmp_path, monkeypatch):
    """The connection breaks after the database has stored them."""

    class Breaking(LedgerTable):
        async def add_rows(self, rows: Any) -> None:
            await super().add_rows(rows)
            monkeypatch.setattr(Breaking, "add_rows", LedgerTable.add_rows)
            raise Unavailable("the connection broke")

    monkeypatch.setattr(keeping, "MAX_WAITING", 0)
    kept, ledger = keeping_in(table := table_in(tmp_path, Breaking))
    settle(ledger)
    await kept.flush()
    settle(ledger)
    await kept.flush()
    assert await nanos(table) == 2 * 97_000
    await kept.finish()


async def test_sums_in_memory_are_bounded_and_lost_ones_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "MAX_WAITING", 0)
    monkeypatch.setattr(keeping, "MAX_SUMS", 2)
    kept, ledger = keeping_in(table := table_in(tmp_path))
    for place in range(8):
        name = f"groq/{place}"
        settle(
            ledger,
            client=f"c{place % 4}",
            attempt_records=(AttemptRecord(name, "groq", "chat", "byte", committed=True, model=name),),
        )
    assert kept.figures.take()[0][keeping.LOST,] == 2
    await kept.flush()
    (found,) = await table.sums(("key", "target"), EVER)
    assert {one.by: one.requests for one in found} == {
        ("c0", "groq/0"): 1, ("c1", "groq/1"): 1, ("c2", "(other)"): 2, ("c3", "(other)"): 2,
        (None, None): 0,  # of unknown cost, which marks the total
    }  # fmt: skip
    await kept.finish()


@each_end
async def test_a_process_that_ends_writes_its_sums(tmp_path, monkeypatch, how):
    monkeypatch.setattr(keeping, "MAX_WAITING", 1)
    kept, ledger = keeping_in(table_in(tmp_path))
    for _ in range(3):
        settle(ledger)
    await end(kept, how)
    assert await nanos(table_in(tmp_path)) == 3 * 97_000


@each_end
async def test_a_process_that_has_written_all_of_its_lines_leaves_no_mark(tmp_path, how):
    kept = kept_in(table := table_in(tmp_path, Telling))
    await run_until(kept, table.was_marked)
    assert await table_in(tmp_path).gap_starts(EVER[0], 2**62) == [AT]
    settle(ledger_to(kept))
    await end(kept, how)
    assert await table_in(tmp_path).gap_starts(EVER[0], 2**62) == []
    assert await nanos(table_in(tmp_path)) == 97_000


async def test_a_process_that_could_not_write_its_last_lines_leaves_its_mark(tmp_path, caplog):
    """A full disk cannot store a row about the loss at the end."""
    kept = kept_in(table := table_in(tmp_path, Telling))
    await run_until(kept, table.was_marked)
    settle(ledger_to(kept))
    table.fails = True
    await kept.finish()
    assert "could not store 1 lines of the ledger" in caplog.text
    found = table_in(tmp_path)
    assert await found.gap_starts(EVER[0], 2**62) == [AT]
    assert await found.gap_starts(EVER[0], AT) == [], "a mark that is fresh is no gap"
    assert (await found.sums(("key",), EVER), await found.folded_parts(EVER[0])) == ([[]], []), "a mark is no line"


async def test_lines_beyond_the_size_are_counted_and_their_money_stays(tmp_path, caplog):
    kept, ledger = keeping_in(table := table_in(tmp_path, Telling), most=2)
    for age in range(5):
        settle(ledger, reservation=Reserved(AT / 1e6 - age))
    await kept.flush()
    await run_until(kept, table.was_cut)
    assert kept.figures.take()[0][keeping.FOLDED,] == 3
    assert "more lines than ledger.max_bytes" in caplog.text
    assert await nanos(table) == 5 * 97_000
    await kept.finish()


async def test_a_process_that_exits_immediately_writes_its_remaining_lines_once(tmp_path):
    kept, ledger = keeping_in(table := table_in(tmp_path))
    settle(ledger)
    kept.write_blocking()
    assert await nanos(table) == 97 * 1000
    settle(ledger)
    await kept.finish()
    assert await nanos(table_in(tmp_path)) == 2 * 97 * 1000


@each_end
async def test_the_end_neither_fails_nor_waits_if_the_database_is_unavailable(tmp_path, caplog, how):
    kept, ledger = keeping_in(table_in(tmp_path / "away"))
    settle(ledger)
    await end(kept, how)
    assert "could not store 1 lines of the ledger" in caplog.text


@attrs.frozen
class Reserved:
    """A reservation of a request that began then."""

    at: float
    wait_seconds: float = 0.0

    def settle(self, *, delivered: bool) -> None:
        return


async def test_a_line_has_the_start_time_of_its_request_and_is_deleted_by_that_time(tmp_path):
    kept, ledger = keeping_in(table := table_in(tmp_path, Telling), keep=60.0)
    for age in (61.0, 59.0):
        settle(ledger, reservation=Reserved(AT / 1e6 - age))
    await kept.flush()
    assert await table.time_bounds() == (AT - 61_000_000, AT - 59_000_000)
    await run_until(kept, table.was_cut)
    assert await table.time_bounds() == (AT - 59_000_000, AT - 59_000_000)
    await kept.finish()


async def test_queued_lines_contain_no_names_of_megabytes(tmp_path):
    kept = kept_in(table_in(tmp_path))
    name = "openai/" + "m" * 10_000
    before = sys.getrefcount(name)
    settle(
        ledger_to(kept),
        requested_model=name,
        attempt_records=(AttemptRecord(name, "openai", "chat", "byte", committed=True, model=name),),
    )
    gc.collect()
    assert sys.getrefcount(name) == before
    await kept.finish()


class SlowStore:
    """A store of counters that calls ``before_reply`` with each step's added amounts, and stores nothing."""

    title = "a store"

    def __init__(self, before_reply: Callable[[list[int]], Awaitable[None]]) -> None:
        self._before_reply = before_reply

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[SendStep]:
        yield self._perform

    async def _perform(self, text: bytes, limit: float) -> bytes:
        step = msgspec.json.decode(text)
        await self._before_reply([int(one[5]) for one in step["added"]])
        reserved = [(1, [(0, 0, 0, 0) for _, debits in claims for _ in debits]) for claims in step["reserved"]]
        states = {name: [(0, 0, 0, 0)] * len(step[name]) for name in ("added", "looked")}
        return msgspec.json.encode({"time": AT / 1e6, "reserved": reserved, **states})


async def test_a_line_is_stored_after_the_shared_counters_have_its_cost(tmp_path, nursery):
    """A process that started in between raised its budgets by the line, and then the cost was added once more."""
    table, written, before_reply = table_in(tmp_path), trio.Event(), {}

    async def note_stored(added: list[int]) -> None:
        for amount in added:
            with trio.move_on_after(0.1):
                await written.wait()
            before_reply[amount] = await nanos(table)

    counters = RemoteCounters(SlowStore(note_stored))
    kept, ledger = keeping_in(table, counters=counters)
    nursery.start_soon(counters.run)
    taken = claim((budget("b", 10**9), 500))
    assert not await counters.reserve([taken])
    counters.settle(taken, [400])
    settle(ledger)
    await kept.flush()
    written.set()
    assert before_reply == {400: 0}
    assert await nanos(table) > 0


async def test_lines_are_stored_while_the_store_of_the_counters_is_unavailable(tmp_path, nursery):
    async def hang(added: list[int]) -> None:
        await trio.sleep_forever()

    counters = RemoteCounters(SlowStore(hang))
    kept, ledger = keeping_in(table := table_in(tmp_path), counters=counters)
    nursery.start_soon(counters.run)
    settle(ledger)
    with trio.fail_after(10):
        await kept.flush()  # it does not reply
        first = await nanos(table)
        assert not await counters.reserve([claim((budget("b", 10**9), 500))])
        assert counters.is_away
        settle(ledger)
        await kept.flush()
    assert await nanos(table) == 2 * first > 0
