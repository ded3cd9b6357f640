"""Cached responses in one SQLite file, which the workers of a machine may share."""

import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from gateway.features.answer_cache.store import AnswerStoreUnavailable
from gateway.stores.errors import Unavailable
from gateway.stores.pool import ConnectionPool
from gateway.stores.private_file import create_private_file

T = TypeVar("T")

ROW: Final = 300
"""The overhead of an entry in bytes."""
TOUCH_INTERVAL: Final = 60.0
"""Seconds between updates of an entry's last use."""
BUSY_TIMEOUT: Final = 1.0
"""Seconds that a write waits for other processes."""
OPERATION_TIMEOUT: Final = 2.0
"""Seconds for a whole operation."""
DELETED_PER_STEP: Final = 200
"""Expired entries deleted in one step, so that writes stay short."""

_SCHEMA: Final = """
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
PRAGMA journal_size_limit = 33554432;
CREATE TABLE IF NOT EXISTS answers (
    key BLOB PRIMARY KEY, owner TEXT NOT NULL, size INTEGER NOT NULL, used REAL NOT NULL, until REAL NOT NULL,
    value BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS answers_used ON answers (used);
CREATE INDEX IF NOT EXISTS answers_owner ON answers (owner, used);
CREATE INDEX IF NOT EXISTS answers_until ON answers (until);
CREATE TABLE IF NOT EXISTS owners (owner TEXT PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS answers_added AFTER INSERT ON answers BEGIN
    INSERT INTO owners VALUES (new.owner, new.size) ON CONFLICT (owner) DO UPDATE SET bytes = bytes + excluded.bytes;
END;
CREATE TRIGGER IF NOT EXISTS answers_removed AFTER DELETE ON answers BEGIN
    UPDATE owners SET bytes = bytes - old.size WHERE owner = old.owner;
    DELETE FROM owners WHERE owner = old.owner AND bytes <= 0;
END;
"""
"""Durability is unnecessary: a lost response is requested again."""


class SqliteAnswers:
    """A response store of ``max_bytes`` bytes in the file ``path``, opened on first use."""

    def __init__(self, path: Path, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._writer = ConnectionPool(
            partial(_AnswersFile, path), 1, OPERATION_TIMEOUT
        )  # SQLite allows one writer at a time
        self._readers = ConnectionPool(partial(_AnswersFile, path), 4, OPERATION_TIMEOUT)

    async def run(self) -> None:
        return

    async def get(self, key: bytes) -> bytes | None:
        now = self._clock()
        found = await self._run(self._readers, lambda file: file.get(key, now))
        if found is None:
            return None
        value, used = found
        if used < now - TOUCH_INTERVAL:
            await self._run(self._writer, lambda file: file.touch(key, now))
        return value

    async def put(self, key: bytes, owner: str, value: bytes, ttl: float) -> None:
        now, size = self._clock(), len(value) + ROW
        if size <= self._max_bytes // 2:
            row = (key, owner, size, now, now + ttl, value)
            await self._run(self._writer, lambda file: file.put(row, now, self._max_bytes))

    async def aclose(self) -> None:
        await self._writer.aclose()
        await self._readers.aclose()

    async def _run(self, pool: "ConnectionPool[_AnswersFile]", work: "Callable[[_AnswersFile], T]") -> T:
        try:
            return await pool.run(work)
        except (sqlite3.Error, Unavailable, OSError) as error:
            raise AnswerStoreUnavailable(f"{type(error).__name__}: {error}") from error


class _AnswersFile:
    """A connection to the file, used by one thread at a time: a ``BlockingConnection``."""

    def __init__(self, path: Path) -> None:
        create_private_file(path)
        self._path = path
        self._inode = path.stat().st_ino
        self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)

    def prepare(self) -> None:
        self._db.executescript(_SCHEMA)

    def is_good(self) -> bool:
        """Return false once the file was deleted or replaced, so that it is opened anew."""
        try:
            return self._path.stat().st_ino == self._inode
        except OSError:
            return False

    def interrupt(self) -> None:
        self._db.interrupt()

    def close(self) -> None:
        self._db.close()

    def get(self, key: bytes, now: float) -> tuple[bytes, float] | None:
        row: tuple[bytes, float] | None = self._db.execute(
            "SELECT value, used FROM answers WHERE key = ? AND until > ?", (key, now)
        ).fetchone()
        return row

    def touch(self, key: bytes, now: float) -> None:
        self._db.execute("UPDATE answers SET used = ? WHERE key = ?", (now, key))

    def put(self, row: tuple[bytes, str, int, float, float, bytes], now: float, most: int) -> None:
        key, owner, size = row[:3]
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:  # commits, or rolls back after an exception
            self._db.execute("DELETE FROM answers WHERE key = ?", (key,))
            self._delete(f"until <= ? LIMIT {DELETED_PER_STEP}", now)
            while self._bytes("WHERE owner = ?", owner) + size > most // 2:
                self._delete("owner = ? ORDER BY used LIMIT 1", owner)
            while self._bytes("") + size > most:
                self._delete("1 ORDER BY used LIMIT 1")
            self._db.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?)", row)
        self._db.execute("PRAGMA incremental_vacuum(1000)")

    def _bytes(self, condition: str, *values: object) -> int:
        (found,) = self._db.execute(f"SELECT coalesce(sum(bytes), 0) FROM owners {condition}", values).fetchone()
        return int(found)

    def _delete(self, condition: str, *values: object) -> None:
        self._db.execute(f"DELETE FROM answers WHERE key IN (SELECT key FROM answers WHERE {condition})", values)
