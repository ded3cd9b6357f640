"""How a process follows the clients of the state storage, over a real SQLite file."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import trio

from gateway.config_files.loading import Config, from_mapping
from gateway.features.admin.followed_keys import FollowedKeys
from gateway.features.admin.key_store import ItemChange, KeyStore
from gateway.stores import sqlite
from gateway.stores.database import Session

ITEM = {"client": {"keys": [{"sha256": "0" * 64}]}}


def config(path: Path, **more: object) -> Config:
    return from_mapping(
        {
            "version": "v0.4.0",
            "stored_keys": True,
            "state_storage": {"type": "sqlite", "path": str(path)},
            "model_providers": [{"model": "openai/a", "access_key": "k"}],
            **more,
        }
    )


def open_store(path: Path) -> KeyStore:
    return KeyStore(sqlite.SqliteDatabase(path))


async def add(store: KeyStore, name: str, item: object = ITEM) -> None:
    await store.change_all([ItemChange("added", name, None, json.dumps(item), "{}")], at=1.0, by="alice@host")


async def test_a_reload_finds_the_clients_that_were_read_last(tmp_path):
    file = config(tmp_path / "state")
    store = open_store(tmp_path / "state")
    await add(store, "ci")
    keys = FollowedKeys(store)
    assert (await keys.read(file)).stored_clients == "read"
    assert [client.name for client in keys.with_clients(file).client_keys] == ["ci"]
    assert not await keys.poll(), "nothing is new"
    off = config(tmp_path / "state", stored_keys=False)
    assert keys.with_clients(off) == off
    await store.database.aclose()


async def test_an_unavailable_storage_is_reported_once_and_the_clients_stay(tmp_path, caplog):
    now = 100.0
    place = tmp_path / "folder"
    file, store = config(place / "state"), open_store(place / "state")
    keys = FollowedKeys(store, lambda: now)
    with caplog.at_level(logging.INFO, "trigate.keys"):
        assert (await keys.read(file)).stored_clients == "unread"
        now = 107.0
        assert not await keys.poll()
        assert keys.stale == 7.0
        place.mkdir()
        assert await keys.poll()
    assert keys.stale == 0.0
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    await store.database.aclose()


async def test_a_stored_key_of_a_later_version_is_ignored_without_affecting_others(tmp_path, caplog):
    file, store = config(tmp_path / "state"), open_store(tmp_path / "state")
    await add(store, "ci")
    await add(store, "later", {"client": {**ITEM["client"], "quantum": 1}})
    with caplog.at_level(logging.WARNING, "trigate.keys"):
        config_then = await FollowedKeys(store).read(file)
    assert [client.name for client in config_then.client_keys] == ["ci"]
    assert "the stored client later is refused: quantum: unknown key" in caplog.text
    await store.database.aclose()


async def test_foreign_key_rows_admit_no_client_and_break_nothing(tmp_path, caplog):
    # Otherwise, anyone with write access to the database could end every process with a single row.
    file, store = config(tmp_path / "state"), open_store(tmp_path / "state")
    for number, text in enumerate(("{", "[]", "null", '{"client": 5}', '{"client": {"keys": 5}}', "[" * 100_000)):
        await store.change_all([ItemChange("added", f"bad{number}", None, text, "{}")], at=1.0, by="mallory")
    await add(store, "ci")
    keys = FollowedKeys(store)
    assert [client.name for client in (await keys.read(file)).client_keys] == ["ci"]
    assert sum("is refused" in record.getMessage() for record in caplog.records) == 6
    await store.database.aclose()


class OtherRows:
    """Other rows of the storage: the number of their reads."""

    def __init__(self) -> None:
        self.applied = 0
        self.changed = trio.Event()

    def read(self, session: Session) -> int:
        return self.applied + 1

    def apply(self, news: int) -> None:
        assert news == self.applied + 1, "an older read was applied after a newer one"
        self.applied = news
        self.changed.set()
        self.changed = trio.Event()


async def test_other_rows_are_followed_while_thousands_of_clients_are_applied(tmp_path):
    file, store, rows = config(tmp_path / "state"), open_store(tmp_path / "state"), OtherRows()
    keys = FollowedKeys(store)
    keys.other_rows = rows
    applying, done = trio.Event(), trio.Event()

    async def apply(with_clients: Callable[[Config], Config], by: tuple[str, ...]) -> None:
        applying.set()
        await done.wait()

    await keys.read(file)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keys.follow, lambda: file, apply)
        await add(store, "ci")
        with trio.fail_after(20):
            await applying.wait()
            before = rows.applied
            await keys.apply_other_changes()
            assert rows.applied > before, "a change by this process applies immediately"
            while rows.applied < before + 4:  # the polls find rows that others wrote
                await rows.changed.wait()
            async with trio.open_nursery() as several:
                for _ in range(20):
                    several.start_soon(keys.apply_other_changes)
            assert rows.applied < before + 12, "simultaneous callers share reads"
            done.set()
            await keys.apply_changes()
        nursery.cancel_scope.cancel()
    await store.database.aclose()
