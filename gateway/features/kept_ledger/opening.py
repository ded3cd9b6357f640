"""Opens the kept ledger of a configuration."""

from collections.abc import Sequence
from functools import partial

import trio

from gateway.allowances.allowances import Allowances
from gateway.allowances.budgets import BudgetAllowance
from gateway.allowances.seeds import budgets_of
from gateway.config.clients import name_of_group
from gateway.config.settings import Config
from gateway.features.kept_ledger.keeping import LinesOfConfig, TableLedgerWriter
from gateway.features.kept_ledger.seeds import seed_budgets
from gateway.features.kept_ledger.settings import ledger_in
from gateway.features.kept_ledger.table import ROW_BYTES, LedgerTable
from gateway.seams.hooks import Hooks
from gateway.seams.running import Ports, Running, running_tasks
from gateway.serving.lifecycle import Lifecycle


class KeptLedger(Running):
    """The kept ledger for a configuration. Its ``writer`` outlives configurations."""

    has_tasks = True

    def __init__(
        self, writer: TableLedgerWriter, config: Config, allowances: Allowances, before: Allowances | None,
        lifecycle: Lifecycle,
    ) -> None:  # fmt: skip
        self.writer = writer
        self.allowances = allowances
        lines = LinesOfConfig(writer, config.by_client(name_of_group), allowances)
        self.hooks = Hooks(observe=(lambda record, arrival: lines,), records_run=(True,))
        self._config = config
        self._budgets = budgets_of(allowances, before)
        self._lifecycle = lifecycle

    @property
    def lasting(self) -> TableLedgerWriter:
        return self.writer

    def use(self) -> None:
        self.writer.use_config(self._config, self._schedule_late)
        self._schedule(self._budgets)

    def _schedule_late(self, ended: set[Allowances]) -> None:
        """Schedule the sums of the budgets in which exchanges with ``ended`` allowances could not count."""
        for before in ended - {self.allowances}:
            self._schedule(budgets_of(self.allowances, before))

    def _schedule(self, budgets: Sequence[BudgetAllowance]) -> None:
        if budgets:
            entries, opening = self._config.entries, self._config.opening_spend
            self.writer.schedule(partial(seed_budgets, self.allowances, budgets, entries, opening=opening))

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        self._lifecycle.on_flush(self.writer.write_blocking)  # after the log's own, which settles open exchanges
        async with running_tasks(self.writer.run):
            await self.writer.wait_until_begun()
            task_status.started()
            await ending.wait()
        await self.writer.finish()  # if it is cancelled, the flush writes the rest


def open_kept_ledger(config: Config, ports: Ports, before: Running | None) -> Running:
    """Return the kept ledger for ``config``; it keeps nothing without a store of turns."""
    if isinstance(before, KeptLedger):
        return KeptLedger(before.writer, config, ports.allowances, before.allowances, ports.lifecycle)
    storage, database, ledger = config.state_storage, ports.database, ports.ledger
    if storage is None or database is None:
        return Running()
    table = LedgerTable(database)
    kept = ledger_in(storage)
    most = kept.max_bytes // ROW_BYTES
    counters = ports.allowances.counters.remote
    writer = TableLedgerWriter(table, kept.keep, most, ledger.mask, figures=ledger.figures, counters=counters)
    ports.allowances.counters.on_settled(writer.note_settled)
    return KeptLedger(writer, config, ports.allowances, None, ports.lifecycle)
