"""A database for the kept ledger: SQLite, or a PostgreSQL server of the tests' own."""

import itertools
from collections.abc import Iterator

import pytest

from gateway.kept_ledger.table import POSTGRES, SQLITE, LedgerTable
from gateway.stores.sqlite import SqliteDatabase
from tests.support import postgres

_SCHEMAS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    bin = postgres.binaries()
    if bin is None:
        pytest.skip(postgres.MISSING)
    with postgres.running_server(bin) as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.process)])
def table(request, tmp_path) -> LedgerTable:
    if request.param == "sqlite":
        return LedgerTable(SqliteDatabase(tmp_path / "state.sqlite"), SQLITE)
    from gateway.stores.postgres import PostgresDatabase

    server = request.getfixturevalue("server")
    name = f"ledger{next(_SCHEMAS)}"
    server.sql(f"CREATE SCHEMA {name}")
    return LedgerTable(PostgresDatabase(f"{server.url}&options=-csearch_path%3D{name}"), POSTGRES)
