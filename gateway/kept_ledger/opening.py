"""The kept ledger that a configuration asks for."""

from typing import Final

from gateway.config.settings import StateStorage
from gateway.kept_ledger.table import POSTGRES, SQLITE, LedgerTable

CONNECTIONS: Final = 2
"""To PostgreSQL: one writes, and one for sums."""


def open_table(storage: StateStorage | None, limit: float = 5.0) -> LedgerTable | None:
    """The table of the ledger, in the database that conversations are kept in, too; ``None`` where there is none, or
    nothing is to be kept. It connects on first use. ``limit`` are the seconds that a server may take. Raises
    ``ImportError`` where the driver is missing."""
    if storage is None or not storage.ledger.keep:
        return None
    match storage.type:
        case "sqlite":
            from gateway.stores.sqlite import SqliteDatabase

            assert storage.path is not None
            return LedgerTable(SqliteDatabase(storage.path), SQLITE)
        case "postgres":
            from gateway.stores.postgres import PostgresDatabase

            assert storage.connection_string is not None
            return LedgerTable(PostgresDatabase(storage.connection_string, CONNECTIONS, limit), POSTGRES)
        case "memory" | "none":
            return None
