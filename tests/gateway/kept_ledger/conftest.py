"""A database for the kept ledger: SQLite, or a PostgreSQL server of the tests' own."""

import pytest

from gateway.kept_ledger.table import LedgerTable
from gateway.stores.sqlite import SqliteDatabase


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
def table(request, tmp_path) -> LedgerTable:
    if request.param == "sqlite":
        return LedgerTable(SqliteDatabase(tmp_path / "state.sqlite"))
    from gateway.stores.postgres import PostgresDatabase

    return LedgerTable(PostgresDatabase(request.getfixturevalue("database")))
