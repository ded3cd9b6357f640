"""The row of the kept ledger, with costs and invoices."""

from typing import TYPE_CHECKING, Any, Final

from gateway.config.settings import Config
from gateway.config.state_storage import KEEPING_KEYS, StateStorage
from gateway.features.kept_ledger.settings import LedgerKeys, ledger_in
from gateway.seams.feature import Feature, Keys

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.features.kept_ledger.table import LedgerTable
    from gateway.seams.running import Running


def is_wanted(config: Config) -> bool:
    """Return whether the state storage of ``config`` is a database that keeps the ledger."""
    storage = config.state_storage
    return storage is not None and storage.type in KEEPING_KEYS and bool(ledger_in(storage).keep)


def table_of(opened: "Mapping[str, Running]") -> "LedgerTable | None":
    """Return the table of the ledger's lines, ``None`` if the open features have none."""
    from gateway.features.kept_ledger.opening import KeptLedger  # imported only where it is needed

    found = opened.get(FEATURE.name)
    return found.writer.table if isinstance(found, KeptLedger) else None


async def answer_usage(
    table: "LedgerTable", config: Config, query: "Mapping[str, str]", only: "Mapping[str, tuple[str | None, ...]]",
    default: tuple[str, ...],
) -> "Callable[[], str | dict[str, Any]]":  # fmt: skip
    """Read the usage in ``table`` that a ``query`` of the HTTP API selects, of lines that have one of the values in
    ``only``, grouped by ``default`` unless the query wants another grouping.

    Return the function that writes it as CSV or as an object, which takes long. Raises ``GatewayError`` (400)."""
    from gateway.http.late_imports import load_module  # which ``trigate check`` does not need

    module = await load_module("gateway.features.kept_ledger.admin_usage")
    found: Callable[[], str | dict[str, Any]] = await module.answer_usage(table, config, query, only, default)
    return found


FEATURE: Final = Feature(
    "kept_ledger",
    "gateway.features.kept_ledger.opening:open_kept_ledger",
    is_wanted,
    keys=(Keys(StateStorage, LedgerKeys),),
    build="gateway.features.kept_ledger.settings:build_ledger",
    advice="gateway.features.kept_ledger.settings:ADVICE",
    status="gateway.features.kept_ledger.commands.costs:spending_today",
)
