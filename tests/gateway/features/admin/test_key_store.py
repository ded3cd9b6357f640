"""The table of keys in each database: changes happen one at a time, reach every process and never overwrite others."""

import contextlib
import itertools
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import trio

from gateway.features.admin import key_store
from gateway.features.admin.key_store import ItemChange, KeyStore, KeyTaken
from gateway.stores.errors import Changed, StoreFull, Unavailable

Make = Callable[..., KeyStore]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
async def make(request, tmp_path) -> AsyncIterator[Make]:
    """Return a function that opens another store on the same database, with changed database ``settings``."""
    async with AsyncExitStack() as stack:

        def open_store(**settings: Any) -> KeyStore:
            if request.param == "sqlite":
                from gateway.stores import sqlite

                store = KeyStore(sqlite.SqliteDatabase(tmp_path / "state.sqlite", **settings))
            else:
                from gateway.stores import postgres

                store = KeyStore(postgres.PostgresDatabase(place, **settings))
            stack.push_async_callback(store.database.aclose)
            return store

        place = request.getfixturevalue("database") if request.param == "postgres" else ""
        yield open_store


async def change_item(store: KeyStore, name: str, expect: str | None, item: str | None, **more: Any) -> None:
    event: Any = "added" if expect is None else "rotated" if item is not None else "revoked"
    await store.change_all([ItemChange(event, name, expect, item, "{}", **more)], at=1.0, by="alice@host")


@pytest.mark.parametrize("is_patient", [False, True])
async def test_only_a_patient_change_may_take_longer_than_a_request(make, is_patient):
    """A client of the admin API gets an error in time, also for several keys; an import may take longer."""
    store, free = make(limit=2), threading.Event()
    changes = [ItemChange("added", name, None, name, "{}") for name in ("ci", "cd")]
    changes.append(ItemChange("added", "ce", None, "ce", "{}", also=lambda _: free.wait(2.5)))
    outcome = contextlib.nullcontext() if is_patient else pytest.raises(Unavailable)
    with outcome:
        await store.change_all(changes, at=1.0, by="alice@host", is_patient=is_patient)
    free.set()
    assert len((await store.read()).clients) == (3 if is_patient else 0)


async def test_another_process_sees_each_change(make):
    one, other = make(), make()
    assert await other.mark() == ""
    await change_item(one, "ci", None, "first")
    table = await other.read(0)
    assert [(client.name, client.item) for client in table.clients] == [("ci", "first")]
    assert [(change.event, change.name, change.by) for change in table.changes] == [("added", "ci", "alice@host")]
    assert table.mark == await one.mark() != ""
    await change_item(one, "ci", "first", "second")
    await change_item(one, "cd", None, "its own")
    await change_item(one, "ci", "second", None)
    later = await other.read(table.last)
    assert [client.name for client in later.clients] == ["cd"]
    assert [change.event for change in later.changes] == ["rotated", "added", "revoked"]
    assert later.mark != table.mark


OTHERS = [("x", None, "y"), ("x", "z", "y"), (None, "x", "y"), (None, "x", None)]


@pytest.mark.parametrize(("there", "expect", "item"), OTHERS)
async def test_a_change_by_another_process_is_not_overwritten(make, there, expect, item):
    store = make()
    if there is not None:
        await change_item(store, "ci", None, there)
    before = await store.read(0)
    with pytest.raises(Changed):
        await change_item(store, "ci", expect, item)
    assert await store.read(0) == before


async def test_the_numbers_of_clients_and_changes_are_bounded(make, monkeypatch):
    monkeypatch.setattr(key_store, "MOST_CLIENTS", 2)
    monkeypatch.setattr(key_store, "MOST_CHANGES", 3)
    store = make()
    await change_item(store, "a", None, "1")
    await change_item(store, "b", None, "1")
    with pytest.raises(StoreFull, match="revoke some"):
        await change_item(store, "c", None, "1")
    for before, after in itertools.pairwise("12345"):
        await change_item(store, "a", before, after)
    assert [change.event for change in await store.changes(10)] == ["rotated"] * 3
    assert len((await store.read()).clients) == 2


@pytest.mark.parametrize("digest", ["ab" * 32, '"certificate": "%_!a"'], ids=["key", "certificate"])
async def test_a_key_belongs_to_one_client_even_if_two_processes_add_it(make, digest):
    taken = list[str]()

    async def add(store: KeyStore, name: str) -> None:
        try:
            await change_item(store, name, None, f'{{"client": {{{digest}}}}}', digests=(digest,))
        except KeyTaken as error:
            taken.append(*error.args)

    one, other = make(), make()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(add, one, "ci")
        nursery.start_soon(add, other, "cd")
    (stored,) = (await one.read()).clients
    assert taken == [stored.name]
    await change_item(other, stored.name, stored.item, stored.item, digests=(digest,))  # its own key is no obstacle
    await change_item(other, "another", None, "{}", digests=("_" * 9, '"cli%'))  # these are no patterns
    assert await other.item(stored.name) == stored.item
    assert await other.item("nobody") is None


async def test_a_failure_of_an_added_write_undoes_the_change(make):
    store = make()

    def fail(session: object) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await change_item(store, "ci", None, "first", also=fail)
    assert (await store.read(0)).changes == (await store.read()).clients == ()
