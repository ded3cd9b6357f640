"""The writer of the kept ledger: exchanges leave lines in memory, and a task writes them in batches.

No exchange waits for the database. While it is unavailable, lines wait in memory, or beyond a limit
only their sums."""

import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, tzinfo
from itertools import islice
from typing import Any, Final, TypeAlias, TypeVar

import attrs
import trio

from gateway.allowances.allowances import Allowances
from gateway.config.kinds import zone_of
from gateway.config.settings import Config
from gateway.counters.counter import Claim, ServerCounters, SumCounter, bounded_amount
from gateway.features.kept_ledger.columns import (
    AMOUNTS,
    CAUSE_AMOUNTS,
    DAY,
    GROUP_BY,
    LOST_COUNT,
    MARK_SECONDS,
    OTHER_NAME,
    PROMPT_CACHE_AMOUNTS,
    QUARTER,
    QUARTER_SUM,
    empty_sum,
)
from gateway.features.kept_ledger.line import UNPRICED, LedgerLine, line_of, rows_of
from gateway.features.kept_ledger.table import LedgerTable
from gateway.ledger.figures import Figures
from gateway.ledger.record import Record
from gateway.seams.observe import ExchangeObserver
from gateway.stores.errors import Unavailable

log = logging.getLogger("trigate.ledger")

T = TypeVar("T")

Amounts: TypeAlias = Mapping[bytes, int]
"""Amounts by the keys of counters."""

NOTHING: Final[Amounts] = {}

Step: TypeAlias = Callable[[LedgerTable, Amounts], Awaitable[None]]
"""An operation on the table, without the lines of this process since it was scheduled, whose amounts it also gets. If
it raises ``Unavailable``, it is repeated."""

LOST: Final = "trigate_ledger_lines_lost_total"
FOLDED: Final = "trigate_ledger_lines_folded_total"
"""The metrics of exchanges that are in no line and no sum, and of lines that sums replaced."""

WRITE_SECONDS: Final = 1.0
"""Seconds between batches: the most that a killed process loses."""

BATCH_LINES: Final = 2000
"""Lines per batch."""

MAX_WAITING: Final = 50_000
"""Lines that may wait in memory, about 20 MB."""

SHRINK_SECONDS: Final = 3600.0
START_SECONDS: Final = 10.0
"""Seconds that requests wait for the sums of budgets. The startup probes in ``deploy`` end a process after 30."""

FINISH_SECONDS: Final = 3.0
"""Seconds that an exiting process waits for the last batch."""


@attrs.frozen(eq=False)
class _ScheduledStep:
    """A step, the number of the last line from before it was scheduled, and the amounts ``settled`` since then."""

    run: Step
    number: int
    settled: dict[bytes, int] = attrs.field(factory=dict)


@attrs.frozen(eq=False)
class LinesOfConfig(ExchangeObserver):
    """Observes the exchanges that begin under one configuration, whose ``groups`` by client pay for them: a client may
    be moved or removed before its exchange ends. They count in its ``allowances`` alone."""

    writer: "TableLedgerWriter"
    groups: Mapping[str, str]
    allowances: Allowances | None = None

    def note_end(self, record: Record, line: Mapping[str, Any]) -> None:
        self.writer.add(record, line, None if record.client is None else self.groups.get(record.client))
        if self.allowances is not None:
            self.writer.ended_allowances.add(self.allowances)


class TableLedgerWriter:
    """A writer of a process's lines to ``table``, which keeps ``most`` rows for ``keep`` seconds.

    It is used from the trio thread only. ``figures`` are for metrics. A process that starts raises budgets to the sums
    of ``table``, so a line is written after the server of ``counters`` has its amounts: otherwise these would count
    twice."""

    def __init__(
        self,
        table: LedgerTable,
        keep: float,
        most: int,
        mask: Callable[[str], str] = str,
        clock: Callable[[], float] = time.time,
        figures: Figures | None = None,
        counters: ServerCounters | None = None,
    ) -> None:
        self.table = self._table = table
        self._counters = counters
        self.figures = Figures() if figures is None else figures
        self._overflow = OverflowSums(self.figures)
        self._sums: deque[Mapping[str, Any]] = deque()
        self._zone: tzinfo = UTC
        self._keep = keep
        self._most = most
        self._mask = mask
        self._clock = clock
        self._writing = trio.Lock()
        self._number = int.from_bytes(os.urandom(4)) >> 1 << 32  # unique to this process
        self._own_mark, self._began = self._number, int(clock() * 1e6)
        self._waiting: deque[tuple[int, LedgerLine]] = deque()
        self._steps: deque[_ScheduledStep] = deque()
        self._is_unavailable = self._is_late = self._has_folded = False
        self._has_begun = trio.Event()
        self.ended_allowances: set[Allowances] = set()
        """The allowances in which exchanges have counted since ``schedule_late`` was last called."""
        self._schedule_late: Callable[[set[Allowances]], None] = set.clear

    def use_config(self, config: Config, schedule_late: Callable[[set[Allowances]], None] = set.clear) -> None:
        """Use the time zone of ``config`` from now on. ``schedule_late`` gets the allowances of ended exchanges: those
        of an earlier configuration do not count in the budgets of ``config``."""
        self._zone, self._schedule_late = zone_of(config.timezone), schedule_late

    def add(self, record: Record, line: Mapping[str, Any], group: str | None) -> None:
        """Queue a line of ``record``, which ``group`` pays for, to be written.

        Exchanges without a model are left out: they cost nothing, and rejected clients must not displace other
        lines."""
        if record.requested_model is None and not record.bill.attempt_records:
            return
        reserved = record.reservation
        began = self._clock() - (time.perf_counter() - record.began) if reserved is None else reserved.at
        kept = line_of(record, line, began, group)
        if len(self._waiting) >= MAX_WAITING:
            self._overflow.add(kept)
            self.figures.add(FOLDED)
            return
        self._number += 1
        self._waiting.append((self._number, kept))

    def schedule(self, step: Step) -> None:
        """Schedule ``step`` to run before the first request, or after the current lines are written."""
        self._number_overflow()
        self._steps.append(_ScheduledStep(step, self._number))

    def note_settled(self, claim: Claim, used: Sequence[int]) -> None:
        """Note the amounts ``used`` of a ``claim`` for the scheduled steps, which leave its line out."""
        for step in self._steps:
            for debit, amount in zip(claim.debits, used, strict=True):
                if amount and isinstance(debit.counter, SumCounter):
                    key = debit.counter.key
                    step.settled[key] = step.settled.get(key, 0) + bounded_amount(amount)

    async def begin(self) -> None:
        """Run the scheduled steps while the database is available; the others stay scheduled."""
        while self._steps and await self.flush():  # otherwise the table lacks lines that the counters have
            try:
                step = self._steps[0]
                await step.run(self._table.without_later_lines(step.number), step.settled)
            except Unavailable as error:
                self._note_late(error.with_cause())
                return
            self._steps.popleft()
        if self._is_late and not self._steps:
            log.info("budgets count their earlier spending again")
            self._is_late = False

    async def wait_until_begun(self) -> None:
        """Wait until ``run`` has tried the scheduled steps, but not longer than a start may take."""
        with trio.move_on_after(START_SECONDS) as waiting:
            await self._has_begun.wait()
        if waiting.cancelled_caught:
            self._note_late(f"its sums take more than {START_SECONDS:g} s")

    def _note_late(self, why: str) -> None:
        if not self._is_late:
            log.warning("budgets count no earlier spending until the ledger can be read: %s", why)
        self._is_late = True

    async def run(self) -> None:
        """Run the scheduled steps, and write new lines until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._begin_periodically)
            nursery.start_soon(self._shrink_periodically)
            nursery.start_soon(self._mark_periodically)
            while True:
                await trio.sleep(WRITE_SECONDS)
                await self.flush()

    async def finish(self) -> None:
        """Write the remaining lines."""
        with trio.move_on_after(FINISH_SECONDS, shield=True):
            await self.flush()
            if not self._count_unwritten():
                with contextlib.suppress(Unavailable):  # the mark then stays, and reports show a false gap
                    await self._table.unmark(self._own_mark)
        self._number_overflow()
        if missing := self._count_unwritten():
            log.error("could not store %d lines of the ledger: their costs are only in the log", missing)

    def write_blocking(self) -> None:
        """Write waiting lines in this thread, because the process ends immediately.

        A batch may be in progress in another thread, but lines written twice count once."""
        self._number_overflow()
        try:
            self._table.add_blocking(tuple(self._waiting), self._mask, tuple(self._sums), self._own_mark)
        except Unavailable as error:
            if missing := self._count_unwritten():
                log.error("could not store %d lines of the ledger: %s", missing, error)

    async def flush(self) -> bool:
        """Write waiting lines, as far as the database accepts them, and return whether it accepted all."""
        async with self._writing:
            if not await self._drain(self._waiting, lambda lines: self._table.add(lines, self._mask)):
                return False
            self._number_overflow()
            return await self._drain(self._sums, self._table.add_rows)

    async def _drain(self, queue: deque[T], write: Callable[[Sequence[T]], Awaitable[None]]) -> bool:
        """Write ``queue`` in batches, and return whether the database accepted all of it."""
        while queue:
            batch = list(islice(queue, BATCH_LINES))
            if self._counters is not None:
                await self._counters.wait_until_confirmed()
            try:
                await write(batch)
            except Unavailable as error:
                self._log_unavailable(error)
                return False
            for _ in batch:
                queue.popleft()
            self._log_available()
        return True

    def _count_unwritten(self) -> int:
        """Return the number of exchanges that wait to be written."""
        return len(self._waiting) + sum([int(row["exchanges"]) for row in self._sums])

    def _number_overflow(self) -> None:
        """Queue the sums of overflowing lines with numbers, so that a sum written twice counts once."""
        rows = self._overflow.take_rows(self._number)
        self._number += len(rows)
        self._sums.extend(rows)

    async def _begin_periodically(self) -> None:
        while True:
            began = trio.current_time()
            ended, self.ended_allowances = self.ended_allowances, set()
            self._schedule_late(ended)
            await self.begin()
            self._has_begun.set()
            took = trio.current_time() - began
            await trio.sleep(max(WRITE_SECONDS, 10 * took))  # an overloaded server gets long pauses

    async def _shrink_periodically(self) -> None:
        await self._has_begun.wait()
        while True:
            try:
                shrunk = await self._table.shrink(int((self._clock() - self._keep) * 1e6), self._most, self._zone)
                self._log_folded(shrunk.folded)
            except Unavailable as error:
                log.warning("could not delete old lines of the ledger: %s", error)
            await trio.sleep(SHRINK_SECONDS)

    async def _mark_periodically(self) -> None:
        """Update the process's mark in the table while its lines can be written.

        A mark that remains shows when a process ended without writing its last lines."""
        while True:
            if not self._is_unavailable:
                try:
                    await self._table.mark(self._own_mark, self._began, int(self._clock() * 1e6))
                except Unavailable as error:
                    self._log_unavailable(error)
            await trio.sleep(MARK_SECONDS)

    def _log_unavailable(self, error: Unavailable) -> None:
        if not self._is_unavailable:
            log.warning("lines of the ledger are waiting to be stored: %s", error.with_cause())
        self._is_unavailable = True

    def _log_available(self) -> None:
        if self._overflow:
            log.error("the ledger is stored again: it has only sums for some exchanges, their lines are in the log")
        elif self._is_unavailable:
            log.info("the ledger is stored again")
        self._is_unavailable = False

    def _log_folded(self, rows: int) -> None:
        """Count rows replaced by sums, and log a warning the first time."""
        if rows and not self._has_folded:
            self._has_folded = True
            log.warning(
                "the ledger has more lines than ledger.max_bytes: the oldest %d became sums by day, key, group, model "
                "and target. Raise state_storage.ledger.max_bytes to keep more lines",
                rows,
            )
        if rows:
            self.figures.add(FOLDED, by=rows)


MAX_SUMS: Final = 10_000
"""The most sums with names of targets and models in a process, and as many again without."""

_SUCCESSFUL_ENDS: Final = ("complete", "client_disconnected")
_SUCCESSFUL_REASONS: Final = ("ok", "hedge_lost", "client_left", "refused")


class OverflowSums:
    """Sums of lines over quarters of an hour, without runs, in bounded memory."""

    def __init__(self, figures: Figures) -> None:
        self._sums: dict[tuple[Any, ...], dict[str, Any]] = {}
        self._figures = figures

    def __bool__(self) -> bool:
        return bool(self._sums)

    def add(self, line: LedgerLine) -> None:
        """Add the tokens and costs of ``line`` to a sum, or count it as lost if there is no room for another sum."""
        for row in rows_of(line, 0):
            row["run"] = None
            if (found := self._sum_for(row)) is not None:
                _add_row(found, row)
            elif row["attempt"] == 0:
                self.count_lost(line)

    def take_rows(self, number: int) -> list[Mapping[str, Any]]:
        """Return and remove the sums as table rows numbered after ``number``."""
        rows: list[Mapping[str, Any]] = [
            {**row, "line": number + place} for place, row in enumerate(self._sums.values(), 1)
        ]
        self._sums = {}
        return rows

    def _sum_for(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Return the sum to which ``row`` belongs, a new one if there is room, else ``None``."""
        if _sum_key(row) not in self._sums and len(self._sums) >= MAX_SUMS:
            for name in ("target", "model", "project"):
                row[name] = row[name] and OTHER_NAME
        key = _sum_key(row)
        if key not in self._sums:
            if len(self._sums) >= 2 * MAX_SUMS:
                return None
            self._sums[key] = empty_sum(QUARTER_SUM, row["began"], row)
        return self._sums[key]

    def count_lost(self, line: LedgerLine) -> None:
        """Count ``line`` among the exchanges of its day with unknown usage."""
        self._figures.add(LOST)
        began, key = line.began, (line.began // DAY,)
        if key not in self._sums:
            self._sums[key] = {**empty_sum(LOST_COUNT, began, {}), "grade": UNPRICED}
        found = self._sums[key]
        found["exchanges"] += 1
        found["began"], found["last"] = min(found["began"], began), max(found["last"], began)


def _sum_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (row["began"] // QUARTER, *[row.get(name) for name in GROUP_BY])


def _add_row(found: dict[str, Any], row: Mapping[str, Any]) -> None:
    for name in AMOUNTS:
        found[name] += row[name]
    for name in (*PROMPT_CACHE_AMOUNTS, *CAUSE_AMOUNTS):
        if row.get(name) is not None:
            found[name] = (found[name] or 0) + row[name]
    first, attempted = row["attempt"] == 0, row["target"] is not None
    found["exchanges"] += first
    found["failures"] += first and row["ended"] not in _SUCCESSFUL_ENDS
    found["attempts"] += attempted
    found["attempt_failures"] += attempted and row["reason"] not in _SUCCESSFUL_REASONS
    found["estimated"] |= row["estimated"]
    for name in ("grade", "prompt_cache_grade"):
        found[name] = max((one for one in (found[name], row.get(name)) if one is not None), default=None)
    found["began"], found["last"] = min(found["began"], row["began"]), max(found["last"], row["began"])
