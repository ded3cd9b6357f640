"""The row of the kept ledger, with costs and invoices."""

from typing import TYPE_CHECKING, Final

from gateway.config.settings import Config
from gateway.config.state_storage import KEEPING_KEYS
from gateway.seams.feature import Feature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.features.kept_ledger.table import LedgerTable
    from gateway.seams.running import Running


def is_wanted(config: Config) -> bool:
    """Return whether the state storage of ``config`` is a database that keeps the ledger."""
    storage = config.state_storage
    return storage is not None and storage.type in KEEPING_KEYS and bool(storage.ledger.keep)


def table_of(opened: "Mapping[str, Running]") -> "LedgerTable | None":
    """Return the table of the ledger's lines, ``None`` if the open features have none."""
    from gateway.features.kept_ledger.opening import KeptLedger  # imported only where it is needed

    found = opened.get(FEATURE.name)
    return found.writer.table if isinstance(found, KeptLedger) else None


FEATURE: Final = Feature(
    "kept_ledger",
    "after the observers that may hold an exchange: it stores what is settled",
    "gateway.features.kept_ledger.opening:open_kept_ledger",
    is_wanted,
)
