"""Databases by what names them. Only the driver that is used is imported: each takes memory that few processes need."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.stores.sql import AddedTables, Database


def sqlite_database(path: Path, added: "AddedTables | None" = None) -> "Database":
    """Return the database in the file ``path``, with the tables ``added``."""
    from gateway.stores.sqlite import SqliteDatabase

    return SqliteDatabase(path, added)


def postgres_database(
    connection_string: str, most: int, limit: float | None = None, added: "AddedTables | None" = None
) -> "Database":
    """Return the database of a server, with at most ``most`` connections and the tables ``added``.

    ``limit`` is the time limit in seconds. Raises ``ImportError`` for a missing driver."""
    from gateway.stores.postgres import LIMIT, PostgresDatabase

    return PostgresDatabase(connection_string, most, LIMIT if limit is None else limit, added)
