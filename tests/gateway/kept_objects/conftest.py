"""Records of kept objects: in memory, in SQLite, and in a PostgreSQL server of the tests' own."""

from collections.abc import AsyncIterator

import pytest

from gateway.kept_objects.inventory import Inventory, MemoryInventory
from gateway.kept_objects.inventory_table import InventoryTable, NoCipher
from gateway.stores.encrypted import BodyCipher
from gateway.stores.sqlite import SqliteDatabase

MOST, PAGE_SIZE = 12, 4


@pytest.fixture(
    params=[
        "memory",
        pytest.param("sqlite", marks=pytest.mark.soak),
        "encrypted",
        pytest.param("postgres", marks=pytest.mark.server),
    ]
)
def empty_inventory(request, tmp_path) -> Inventory:
    if request.param == "memory":
        return MemoryInventory(MOST, page_size=PAGE_SIZE)
    if request.param != "postgres":
        cipher = BodyCipher([b"k" * 32]) if request.param == "encrypted" else NoCipher()
        return InventoryTable(SqliteDatabase(tmp_path / "state.sqlite"), cipher, MOST, PAGE_SIZE)
    from gateway.stores.postgres import PostgresDatabase

    return InventoryTable(PostgresDatabase(request.getfixturevalue("database")), NoCipher(), MOST, PAGE_SIZE)


@pytest.fixture
async def inventory(empty_inventory) -> AsyncIterator[Inventory]:
    yield empty_inventory
    if isinstance(empty_inventory, InventoryTable):
        await empty_inventory.database.aclose()
