"""The inventory that a configuration asks for."""

from collections.abc import Sequence
from pathlib import Path

from gateway.config.settings import StateStorage
from gateway.kept_objects.inventory import Inventory, MemoryInventory
from gateway.kept_objects.inventory_table import POSTGRES, SQLITE, Cipher, Clear, InventoryTable

CONNECTIONS = 2


def open_inventory(storage: StateStorage | None, workers_file: str | None, limit: float = 5.0) -> Inventory | None:
    """The inventory, in the database that conversations are kept in; ``None`` where nothing is to be kept.
    ``workers_file`` is the file that the workers of a machine share where that is in memory. It connects on first use;
    ``limit`` are the seconds that a server may take. Raises ``ImportError`` where a package is missing."""
    storage = storage or StateStorage()
    match storage.type:
        case "memory" if workers_file is None:
            return MemoryInventory()
        case "memory" | "sqlite":
            from gateway.stores.sqlite import SqliteDatabase

            path = storage.path if storage.type == "sqlite" else Path(workers_file or "")
            assert path is not None
            return InventoryTable(SqliteDatabase(path), SQLITE, _cipher(storage.encryption_key))
        case "postgres":
            from gateway.stores.postgres import PostgresDatabase

            assert storage.connection_string is not None
            database = PostgresDatabase(storage.connection_string, CONNECTIONS, limit)
            return InventoryTable(database, POSTGRES, _cipher(storage.encryption_key))
        case "none":
            return None


def _cipher(keys: Sequence[bytes]) -> Cipher:
    if not keys:
        return Clear()
    from gateway.stores.encrypted import BodyCipher

    return BodyCipher(keys)
