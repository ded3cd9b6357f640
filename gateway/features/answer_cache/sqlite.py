"""Cached responses in one SQLite file, which the workers of a machine may share."""

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.features.answer_cache.store import AnswerStoreUnavailable
from gateway.stores.database import Session
from gateway.stores.errors import Unavailable
from gateway.stores.sqlite import SqliteDatabase

T = TypeVar("T")

ROW: Final = 300
"""The overhead of an entry in bytes."""
TOUCH_INTERVAL: Final = 60.0
"""Seconds between updates of an entry's last use."""
OPERATION_TIMEOUT: Final = 2.0
"""Seconds for a whole operation."""
DELETED_PER_STEP: Final = 200
"""Expired entries deleted in one step, so that writes stay short."""

_SETTINGS: Final = """
PRAGMA auto_vacuum = INCREMENTAL;
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
        self._database = SqliteDatabase(path, settings=_SETTINGS, schema=(), limit=OPERATION_TIMEOUT)

    async def run(self) -> None:
        return

    async def get(self, key: bytes) -> bytes | None:
        now = self._clock()
        select = "SELECT value, used FROM answers WHERE key = :key AND until > :now"
        found = await _available(self._database.read(lambda session: session.rows(select, key=key, now=now)))
        if not found:
            return None
        value, used = found[0]
        if used < now - TOUCH_INTERVAL:
            touch = "UPDATE answers SET used = :now WHERE key = :key"
            await _available(self._database.write(lambda session: session.rows(touch, key=key, now=now)))
        return bytes(value)

    async def put(self, key: bytes, owner: str, value: bytes, ttl: float) -> None:
        now, size = self._clock(), len(value) + ROW
        if size <= self._max_bytes // 2:
            row = {"key": key, "owner": owner, "size": size, "used": now, "until": now + ttl, "value": value}
            await _available(self._database.write(lambda session: _put(session, row, self._max_bytes)))

    async def aclose(self) -> None:
        await self._database.aclose()


async def _available(work: Awaitable[T]) -> T:
    try:
        return await work
    except Unavailable as error:
        raise AnswerStoreUnavailable(str(error)) from error


def _put(session: Session, row: dict[str, Any], most: int) -> None:
    owner, size = row["owner"], row["size"]
    session.rows("DELETE FROM answers WHERE key = :key", key=row["key"])
    _delete(session, "until <= :now LIMIT :most", now=row["used"], most=DELETED_PER_STEP)
    while _bytes(session, "WHERE owner = :owner", owner=owner) + size > most // 2:
        _delete(session, "owner = :owner ORDER BY used LIMIT 1", owner=owner)
    while _bytes(session) + size > most:
        _delete(session, "true ORDER BY used LIMIT 1")
    session.insert("answers", row)
    session.rows("PRAGMA incremental_vacuum(1000)")


def _bytes(session: Session, condition: str = "", **values: object) -> int:
    return int(session.rows(f"SELECT coalesce(sum(bytes), 0) FROM owners {condition}", **values)[0][0])


def _delete(session: Session, condition: str, **values: object) -> None:
    session.rows(f"DELETE FROM answers WHERE key IN (SELECT key FROM answers WHERE {condition})", **values)
