"""Writing the kept ledger: exchanges leave lines in memory, and a task writes them in batches.

No exchange waits for it. Lines that cannot be written wait while memory permits; beyond that, only their sums do."""

import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, tzinfo
from itertools import islice
from typing import Any, Final

import trio

from gateway.config.settings import Config
from gateway.config.zones import zone_of
from gateway.kept_ledger.columns import MARK_EVERY
from gateway.kept_ledger.ledger_keeping import LedgerKeeping, Step
from gateway.kept_ledger.line import LedgerLine, line_of
from gateway.kept_ledger.overflow import OverflowSums
from gateway.kept_ledger.table import LedgerTable
from gateway.ledger.record import Record
from gateway.stores.store import Unavailable

log = logging.getLogger("trigate.ledger")

EVERY: Final = 1.0
"""Seconds between batches: the most that a killed process loses."""

AT_ONCE: Final = 2000
"""Lines per batch."""

MOST: Final = 50_000
"""Lines in memory, about twenty megabytes."""

CUT_EVERY: Final = 3600.0
FINISH: Final = 3.0
"""Seconds that an exiting process waits for the last batch."""


class KeptLedger(LedgerKeeping):
    """The writer of a process's lines to ``table``, which keeps ``most`` rows for ``keep`` seconds.

    An observer of the ledger; used from the trio thread only."""

    keeps = True

    def __init__(
        self,
        table: LedgerTable,
        keep: float,
        most: int,
        mask: Callable[[str], str] = str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._overflow = OverflowSums()
        self._sums: deque[Mapping[str, Any]] = deque()
        self._zone: tzinfo = UTC
        self._folded = 0
        self._keep = keep
        self._most = most
        self._mask = mask
        self._clock = clock
        self._groups: Mapping[str, str] = {}
        self._writing = trio.Lock()
        self._number = int.from_bytes(os.urandom(4)) >> 1 << 32  # unique to this process
        self._own_mark, self._began = self._number, int(clock() * 1e6)
        self._waiting: deque[tuple[int, LedgerLine]] = deque()
        self._steps: deque[Step] = deque()
        self._taken_lost = 0
        self._is_away = self._has_folded = False

    def take_lost(self) -> int:
        found, self._taken_lost = self._overflow.lost - self._taken_lost, self._overflow.lost
        return found

    def take_folded(self) -> int:
        found, self._folded = self._folded, 0
        return found

    def follow(self, config: Config) -> None:
        self._zone = zone_of(config.timezone)
        self._groups = {key.name: key.group.name for key in config.client_keys if key.group is not None}

    def opened(self, record: Record) -> None:
        pass

    def settled(self, record: Record, line: Mapping[str, Any]) -> None:
        """Keep a line of ``record``.

        Exchanges without a model are left out: they cost nothing, and rejected clients must not push out real lines."""
        if record.requested_model is None and not record.bill.attempt_records:
            return
        reserved = record.reservation
        began = self._clock() - (time.perf_counter() - record.began) if reserved is None else reserved.at
        group = None if record.client is None else self._groups.get(record.client)
        kept = line_of(record, line, began, group)
        if len(self._waiting) >= MOST:
            self._overflow.add(kept)
            self._folded += 1
            return
        self._number += 1
        self._waiting.append((self._number, kept))

    def schedule(self, step: Step) -> None:
        self._steps.append(step)

    async def begin(self) -> None:
        while self._steps:
            await self._steps.popleft()(self._table)

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cut_periodically)
            nursery.start_soon(self._mark_periodically)
            while True:
                await trio.sleep(EVERY)
                await self.flush()
                await self.begin()

    async def finish(self) -> None:
        with trio.move_on_after(FINISH, shield=True):
            await self.flush()
            if not self._unwritten():
                with contextlib.suppress(Unavailable):  # the mark then stays, and reports show a false gap
                    await self._table.unmark(self._own_mark)
        self._take_overflow()
        if missing := self._unwritten():
            log.error("could not store %d lines of the ledger: their costs are only in the log", missing)
        with trio.CancelScope(shield=True):
            await self._table.aclose()

    def write_blocking(self) -> None:
        """Write waiting lines in this thread, because a second signal ends the process immediately.

        Lines stay in memory, because a batch may be in progress; lines written twice count once."""
        self._take_overflow()
        try:
            self._table.add_here(tuple(self._waiting), self._mask, tuple(self._sums), self._own_mark)
        except Unavailable as error:
            if missing := self._unwritten():
                log.error("could not store %d lines of the ledger: %s", missing, error)

    async def flush(self) -> None:
        """Write waiting lines as far as possible. On cancellation, unwritten lines keep waiting."""
        async with self._writing:
            await self._flush()

    async def _flush(self) -> None:
        while self._waiting:
            batch = list(islice(self._waiting, AT_ONCE))
            try:
                await self._table.add(batch, self._mask)
            except Unavailable as error:
                self._log_unavailable(error)
                return
            for _ in batch:
                self._waiting.popleft()
            self._log_available()
        self._take_overflow()
        while self._sums:
            rows = list(islice(self._sums, AT_ONCE))
            try:
                await self._table.add_rows(rows)
            except Unavailable as error:
                self._log_unavailable(error)
                return
            for _ in rows:
                self._sums.popleft()

    def _unwritten(self) -> int:
        """Return how many exchanges wait to be written."""
        return len(self._waiting) + sum([int(row["exchanges"]) for row in self._sums])

    def _take_overflow(self) -> None:
        """Assign numbers to the sums of overflowing lines, which fixes them: a sum written twice must count once."""
        rows = self._overflow.take_rows(self._number)
        self._number += len(rows)
        self._sums.extend(rows)

    async def _cut_periodically(self) -> None:
        while True:
            try:
                gone = await self._table.cut(int((self._clock() - self._keep) * 1e6), self._most, self._zone)
                self._log_folded(gone.folded)
            except Unavailable as error:
                log.warning("could not delete old lines of the ledger: %s", error)
            await trio.sleep(CUT_EVERY)

    async def _mark_periodically(self) -> None:
        """Update the process's mark while all lines are written.

        A leftover mark shows where a process ended without writing its last lines; a full disk would not take another
        row."""
        while True:
            if not self._is_away:
                try:
                    await self._table.mark(self._own_mark, self._began, int(self._clock() * 1e6))
                except Unavailable as error:
                    self._log_unavailable(error)
            await trio.sleep(MARK_EVERY)

    def _log_unavailable(self, error: Unavailable) -> None:
        if not self._is_away:
            log.warning("lines of the ledger are waiting to be stored: %s", error)
        self._is_away = True

    def _log_available(self) -> None:
        if self._overflow:
            log.error("the ledger is stored again: it has only sums for some exchanges, their lines are in the log")
        elif self._is_away:
            log.info("the ledger is stored again")
        self._is_away = False

    def _log_folded(self, rows: int) -> None:
        """Log folding once: a full ledger stays full."""
        if rows and not self._has_folded:
            self._has_folded = True
            log.warning(
                "the ledger has more lines than ledger.max_bytes: the oldest %d became sums by day, key, group, model "
                "and target. Raise state_storage.ledger.max_bytes to keep more lines",
                rows,
            )
        self._folded += rows
