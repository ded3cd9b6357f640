"""The interface of writers of the kept ledger, which keeps nothing itself."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from gateway.config.settings import Config
from gateway.ledger.figures import Figures

if TYPE_CHECKING:
    from gateway.features.kept_ledger.table import LedgerTable

Step: TypeAlias = Callable[["LedgerTable"], Awaitable[None]]
"""An operation on the table that never raises."""


class LedgerWriter:
    """A writer of a process's ledger lines. This base class keeps nothing, for a process without a database."""

    keeps_lines = False
    """True if lines are kept."""

    table: "LedgerTable | None" = None
    """The table of the lines, for queries."""

    def report(self, figures: Figures) -> None:
        """Count the exchanges since the last call that are in no line and no sum, and the lines that were replaced by
        sums."""

    def use_config(self, config: Config) -> None:
        """Use the time zone, clients and groups of ``config`` from now on."""

    def schedule(self, step: Step) -> None:
        """Schedule ``step`` to run on the table in ``begin``, or in ``run`` after the current lines are written."""

    async def begin(self) -> None:
        """Run the scheduled steps before the first request."""

    async def run(self) -> None:
        """Write new lines until cancelled."""

    async def finish(self) -> None:
        """Write the remaining lines, and close."""
