"""A database for the kept ledger: SQLite, or a PostgreSQL server of the tests' own."""

from collections.abc import AsyncIterator, Callable

import pytest

from gateway.features.kept_ledger.table import LedgerTable
from gateway.stores.database import Database
from gateway.stores.sqlite import SqliteDatabase

OpenDatabase = Callable[[], Database]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def open_database(request, tmp_path) -> OpenDatabase:
    """Open the database of one test."""
    if request.param == "sqlite":
        return lambda: SqliteDatabase(tmp_path / "state.sqlite")
    from gateway.stores.postgres import PostgresDatabase

    connection_string = request.getfixturevalue("database")
    return lambda: PostgresDatabase(connection_string)


@pytest.fixture
async def table(open_database) -> AsyncIterator[LedgerTable]:
    table = LedgerTable(open_database())
    yield table
    await table.database.aclose()
