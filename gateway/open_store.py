"""Opens the store of conversations, and the database of the state storage."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

import attrs

from configfile.document import ConfigError, Mistake
from gateway.config.settings import Config
from gateway.config.state_storage import KEEPING_KEYS, StateStorage
from gateway.named_imports import import_named
from gateway.stores.databases import postgres_database, sqlite_database
from gateway.stores.memory import MemoryStore
from gateway.stores.store import Store, Unavailable

if TYPE_CHECKING:
    from gateway.stores.sql import AddedTables, Database, SqlStore

log = logging.getLogger("trigate.state")

WORKERS_FILE: Final = "TRIGATE_WORKERS_FILE"
"""The environment variable with the path of the file that a supervisor's workers share."""


async def open_store(config: Config) -> Store | None:
    """Return the open store of conversations, or ``None`` if state is disabled. The caller closes it.

    Raises ``ConfigError`` for an unusable file or a missing package. An unreachable server is only a warning, because
    it may return."""
    kept = _with_shared_file(config.state_storage or StateStorage(), os.environ)
    store = await _store(config, kept)
    if store is None or not kept.encryption_key:
        return store
    return await _encrypt_store(config, store, kept.encryption_key)


def _with_shared_file(storage: StateStorage, env: Mapping[str, str]) -> StateStorage:
    """Return ``storage``, with the workers' shared file in place of memory. Their supervisor removes the file."""
    file = env.get(WORKERS_FILE)
    if file is None or storage.type != "memory":
        return storage
    return attrs.evolve(storage, type="sqlite", path=Path(file))


async def _store(config: Config, kept: StateStorage) -> Store | None:
    match kept.type:
        case "memory":
            assert kept.max_bytes is not None
            return MemoryStore(kept.ttl, kept.max_bytes)
        case "sqlite":
            return await _sqlite(config, kept)
        case "postgres":
            return await _postgres(config, kept)
        case "none":
            return None
    assert_never(kept.type)


async def _sqlite(config: Config, kept: StateStorage) -> Store:
    assert kept.path is not None
    # It takes a megabyte of memory, which most processes do not need.
    store: SqlStore = import_named("gateway.stores.sqlite:SqliteStore")(kept.path, kept.ttl, kept.max_bytes)
    try:
        await store.open()
    except Unavailable as error:
        await store.aclose()
        found, advice = f"cannot use {kept.path}: {error}", "give a file in a writable directory"
        raise ConfigError((Mistake(str(config.path or ""), "state_storage.path", found, advice),)) from None
    return store


async def _postgres(config: Config, kept: StateStorage) -> Store:
    assert kept.connection_string is not None
    try:
        open_one = import_named("gateway.stores.postgres:PostgresStore")
    except ImportError:
        raise missing_package(config, "state_storage.type", "postgres") from None
    store: SqlStore = open_one(kept.connection_string, kept.ttl, kept.max_bytes)
    try:
        await store.open()
    except Unavailable as error:
        log.warning("%s: %s", error, _cause(error))
    return store


def _cause(error: Unavailable) -> str:
    """Return the driver's message for the log. It may name the server, but contains no password."""
    return " ".join(str(error.__cause__ or "the gateway will try again").split())


def open_database(config: Config, most: int, added: "AddedTables | None" = None) -> "Database | None":
    """Return the database of the state storage with the tables ``added``, ``None`` if it is none.

    It has at most ``most`` connections to a server. It connects when it is first used, and the caller closes it. Raises
    ``ConfigError`` for a missing package."""
    kept = config.state_storage
    if kept is None or kept.type not in KEEPING_KEYS:
        return None
    if kept.type == "sqlite":
        assert kept.path is not None
        return sqlite_database(kept.path, added)
    assert kept.connection_string is not None
    try:
        return postgres_database(kept.connection_string, most, added=added)
    except ImportError:
        raise missing_package(config, "state_storage.type", "postgres") from None


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
