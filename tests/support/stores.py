"""Stores of conversations in a database of their own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.stores.sql import SqlStore
from gateway.stores.sqlite import SqliteDatabase


def sqlite_store(path: Path, ttl: float, max_bytes: int | None, *clock: Callable[[], float]) -> SqlStore:
    return SqlStore(SqliteDatabase(path), ttl, max_bytes, *clock)


def postgres_store(
    connection_string: str, ttl: float, max_bytes: int | None, *clock: Callable[[], float], **limit: Any
) -> SqlStore:
    from gateway.stores.postgres import PostgresDatabase

    return SqlStore(PostgresDatabase(connection_string, **limit), ttl, max_bytes, *clock)
