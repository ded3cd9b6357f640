"""One database of several parts: their shares of its connections, and their tables."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import attrs
import pytest
import trio

from gateway.stores.database import BULK, CONNECTIONS, SHARE, AddedTables, Database, Session
from gateway.stores.errors import Unavailable
from tests.support.harness import PATIENCE, eventually

BROKEN = AddedTables("broken", ("CREATE TABLE {broken} (name nonsense(",))
NEWER = AddedTables("added", ("CREATE TABLE {added} (name text)", "ALTER TABLE {added} ADD COLUMN other text"))
OLDER = attrs.evolve(NEWER, scripts=NEWER.scripts[:1])


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.server)])
async def storage(request, tmp_path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        from gateway.stores.sqlite import SqliteDatabase

        opened: Database = SqliteDatabase(tmp_path / "state.sqlite")
    else:
        from gateway.stores.postgres import PostgresDatabase

        opened = PostgresDatabase(request.getfixturevalue("database"))
    async with aclosing(opened):
        yield opened


@attrs.define
class SlowWork:
    """Work that lasts until ``end`` is set; ``begun`` counts its threads."""

    end: threading.Event = attrs.field(factory=threading.Event)
    begun: list[None] = attrs.field(factory=list)

    def __call__(self, session: Session) -> None:
        self.begun.append(None)
        assert self.end.wait(PATIENCE)


def select_one(session: Session) -> object:
    return session.rows("SELECT 1")[0][0]


async def test_slow_reads_of_one_part_and_bulk_reads_delay_no_other(storage: Database) -> None:
    slow, other, work = storage.part(), storage.part(), SlowWork()
    try:
        async with trio.open_nursery() as nursery:
            for _ in range(CONNECTIONS):
                nursery.start_soon(slow.read, work)
                nursery.start_soon(lambda: other.read(work, bulk=True))
            await trio.to_thread.run_sync(eventually, lambda: len(work.begun) == SHARE + BULK)
            with trio.fail_after(PATIENCE / 2):
                assert await other.read(select_one) == 1
                assert await other.write(select_one) == 1
            assert len(work.begun) == SHARE + BULK, "the others wait"
            work.end.set()
    finally:
        work.end.set()
    assert len(work.begun) == 2 * CONNECTIONS


@pytest.mark.parametrize("use", [Database.read, Database.write])
async def test_tables_that_cannot_be_made_are_unavailable_to_their_part_alone(
    storage: Database, use: Callable[..., object]
) -> None:
    broken, sound = storage.part(BROKEN), storage.part(OLDER)
    for _ in range(2):
        with pytest.raises(Unavailable, match="the state storage"):
            await use(broken, select_one)
        assert await sound.read(lambda session: session.rows("SELECT name FROM {added}")) == []


async def test_a_part_gets_the_columns_that_its_tables_lack(storage: Database) -> None:
    await storage.part(OLDER).write(select_one)
    newer = storage.part(NEWER)
    await newer.write(lambda session: session.insert("added", {"name": "a", "other": "b"}))
    assert await newer.read(lambda session: session.rows("SELECT name, other FROM {added}")) == [("a", "b")]
    with pytest.raises(Unavailable, match="added tables of the state storage are from a newer version"):
        await storage.part(attrs.evolve(OLDER)).read(select_one)


async def test_a_row_replaces_the_one_with_its_key_but_keeps_columns(storage: Database) -> None:
    keyed = AddedTables("keyed", ("CREATE TABLE {keyed} (name text PRIMARY KEY, first text, last text)",))
    part = storage.part(keyed)
    for value in "ab":
        row = {"name": "n", "first": value, "last": value}
        await part.write(lambda session, row=row: session.put("keyed", ("name",), row, ("first",)))  # type: ignore[misc]
    assert await part.read(lambda session: session.rows("SELECT * FROM {keyed}")) == [("n", "a", "b")]
    rows = [{"name": "n", "first": "c", "last": "c"}, {"name": "m", "first": "d", "last": None}]
    await part.write(lambda session: session.add_missing("keyed", dict.fromkeys(rows[0], "text"), rows))
    found = await part.read(lambda session: session.rows("SELECT * FROM {keyed} ORDER BY name"))
    assert found == [("m", "d", None), ("n", "a", "b")]


async def test_all_parts_end_with_the_database(storage: Database) -> None:
    part = storage.part()
    assert await part.read(select_one) == 1
    await storage.aclose()
    for use in (part.read, part.write, storage.read):
        with pytest.raises(Unavailable, match="closed"):
            await use(select_one)
