"""The keeping of ledger lines in a process without a database."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias

from gateway.config.settings import Config

if TYPE_CHECKING:
    from gateway.kept_ledger.table import LedgerTable

Step: TypeAlias = Callable[["LedgerTable"], Awaitable[None]]
"""An operation on the table that never raises."""


class LedgerKeeping:
    """The writer of a process's lines. This base class is for a process without a database and keeps nothing."""

    keeps = False
    """Whether lines are kept."""

    def take_lost(self) -> int:
        """Return how many exchanges since the last call are in no line and no sum."""
        return 0

    def take_folded(self) -> int:
        """Return how many lines since the last call were replaced by sums."""
        return 0

    def follow(self, config: Config) -> None:
        """Use the clients and groups of ``config``."""

    def schedule(self, step: Step) -> None:
        """Schedule ``step`` for ``begin``, or for ``run`` after the current lines are written."""

    async def begin(self) -> None:
        """Run the scheduled steps before the first request."""

    async def run(self) -> None:
        """Write new lines until cancelled."""

    async def finish(self) -> None:
        """Write the remaining lines, and close."""
