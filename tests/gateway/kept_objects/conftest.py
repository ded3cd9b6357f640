"""Records of kept objects: in memory, in SQLite, and in a PostgreSQL server of the tests' own."""

import itertools
from collections.abc import Iterator

import pytest

from gateway.kept_objects.inventory import Inventory, MemoryInventory
from gateway.kept_objects.inventory_table import POSTGRES, SQLITE, Clear, InventoryTable
from gateway.stores.encrypted import BodyCipher
from gateway.stores.sqlite import SqliteDatabase
from tests.support import postgres

_SCHEMAS = itertools.count()
MOST, AT_ONCE = 12, 4


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    bin = postgres.binaries()
    if bin is None:
        pytest.skip(postgres.MISSING)
    with postgres.running_server(bin) as running:
        yield running


@pytest.fixture(params=["memory", "sqlite", "encrypted", pytest.param("postgres", marks=pytest.mark.process)])
def inventory(request, tmp_path) -> Inventory:
    if request.param == "memory":
        return MemoryInventory(MOST, at_once=AT_ONCE)
    if request.param != "postgres":
        cipher = BodyCipher([b"k" * 32]) if request.param == "encrypted" else Clear()
        return InventoryTable(SqliteDatabase(tmp_path / "state.sqlite"), SQLITE, cipher, MOST, AT_ONCE)
    from gateway.stores.postgres import PostgresDatabase

    server = request.getfixturevalue("server")
    name = f"objects{next(_SCHEMAS)}"
    server.sql(f"CREATE SCHEMA {name}")
    database = PostgresDatabase(f"{server.url}&options=-csearch_path%3D{name}")
    return InventoryTable(database, POSTGRES, Clear(), MOST, AT_ONCE)
