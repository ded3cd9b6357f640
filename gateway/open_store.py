"""Opens the store of conversations, and the database of the state storage."""

import contextlib
import logging
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import attrs

from configfile.document import ConfigError, Mistake
from gateway.config.settings import Config
from gateway.config.state_storage import KEEPING_KEYS, StateStorage
from gateway.named_imports import import_named
from gateway.stores.errors import Unavailable
from gateway.stores.memory import MemoryStore
from gateway.stores.store import Store

if TYPE_CHECKING:
    from gateway.stores.database import Database
    from gateway.stores.sql import SqlStore

log = logging.getLogger("trigate.state")

WORKERS_FILE: Final = "TRIGATE_WORKERS_FILE"
"""The environment variable with the path of the file that a supervisor's workers share."""


_NO_FILE: Final = "give a file in a writable directory"
_OTHER_FILE: Final = (
    "give a database that it can write; if this one is damaged, restore a backup, or move it away to start empty"
)


async def open_store(config: Config) -> Store | None:
    """Return the open store of conversations, or ``None`` if state is disabled.

    Its ``database`` is the one of the process, which other parts use, too. The caller closes it after all of them.
    Raises ``ConfigError`` for an unusable file or a missing package. An unreachable server is only a warning, because
    it may return."""
    kept = _with_shared_file(config.state_storage or StateStorage(), os.environ)
    if kept.type == "none":
        return None
    store = await _open_database_store(config, kept) if kept.type != "memory" else _open_memory_store(kept)
    return await _encrypt_store(config, store, kept.encryption_key) if kept.encryption_key else store


def _open_memory_store(kept: StateStorage) -> Store:
    assert kept.max_bytes is not None
    return MemoryStore(kept.ttl, kept.max_bytes)


async def _open_database_store(config: Config, kept: StateStorage) -> Store:
    database = open_database(config, kept)
    store: SqlStore = import_named("gateway.stores.sql:SqlStore")(database, kept.ttl, kept.max_bytes)
    is_there = kept.path is not None and kept.path.is_file()
    try:
        await store.open()
    except Unavailable as error:
        if kept.type == "postgres":
            log.warning("%s: %s", error, error.cause() or "the gateway will try again")
        else:
            await store.aclose()
            found, advice = f"cannot use {kept.path}: {error}", _OTHER_FILE if is_there else _NO_FILE
            raise ConfigError((Mistake(str(config.path or ""), "state_storage.path", found, advice),)) from None
    return store


def _with_shared_file(storage: StateStorage, env: Mapping[str, str]) -> StateStorage:
    """Return ``storage``, with the workers' shared file in place of memory. Their supervisor removes the file."""
    file = env.get(WORKERS_FILE)
    if file is None or storage.type != "memory":
        return storage
    return attrs.evolve(storage, type="sqlite", path=Path(file))


def open_database(config: Config, kept: StateStorage, limit: float | None = None) -> "Database":
    """Return the database of the state storage ``kept``, which connects when it is first used. The caller closes it.

    ``limit`` is the time limit of a server in seconds. Raises ``ConfigError`` for a missing package. Only the driver
    that is used is imported: each takes memory that few processes need."""
    if kept.type == "sqlite":
        assert kept.path is not None
        return cast("Database", import_named("gateway.stores.sqlite:SqliteDatabase")(kept.path))
    assert kept.connection_string is not None
    options = {} if limit is None else {"limit": limit}
    try:
        opening = import_named("gateway.stores.postgres:PostgresDatabase")
    except ImportError:
        raise missing_package(config, "state_storage.type", "postgres") from None
    return cast("Database", opening(kept.connection_string, **options))


@contextlib.asynccontextmanager
async def open_keeping_database(config: Config, limit: float | None = None) -> "AsyncIterator[Database | None]":
    """Open the database of the state storage for the block of a command; ``None`` if it outlives no process."""
    kept = config.state_storage
    if kept is None or kept.type not in KEEPING_KEYS:
        yield None
        return
    async with contextlib.aclosing(open_database(config, kept, limit)) as database:
        yield database


async def _encrypt_store(config: Config, store: Store, keys: Sequence[bytes]) -> Store:
    try:
        encrypted = import_named("gateway.stores.encrypted:EncryptedStore")
    except ImportError:
        await store.aclose()
        raise missing_package(config, "state_storage.encryption_key", "encryption") from None
    found: Store = encrypted(store, keys)
    return found


def missing_package(config: Config, key: str, name: str, extra: str = "") -> ConfigError:
    """Return the error for the setting ``key`` whose value ``name`` needs the package's ``extra``, by default ``name``
    too."""
    found, advice = f"{name} needs another package", f"pip install 'trigate[{extra or name}]'"
    return ConfigError((Mistake(str(config.path or ""), key, found, advice),))


def shared_by_workers(config: Config, directory: Path | None) -> Mapping[str, str]:
    """Return what a supervisor adds to its workers' environment: the path of a file in their shared ``directory``.

    Empty if the state storage is not memory, because workers then need no such file."""
    if config.state_storage is not None and config.state_storage.type != "memory":
        return {}
    if directory is None:
        log.warning("each worker stores its own state: set state_storage to sqlite or postgres")
        return {}
    return {WORKERS_FILE: str(directory / "state.sqlite")}
