"""The PostgreSQL store while its server is down, busy, or refuses connections."""

import signal

import pytest
import trio

from gateway.stores.errors import InDoubt, Unavailable
from gateway.stores.store import Store
from tests.support import postgres
from tests.support.harness import PATIENCE, Late, retried_when_late
from tests.support.nodes import ids, node
from tests.support.stores import postgres_store


async def _assert_unavailable(store: Store, server: postgres.Server) -> None:
    with trio.fail_after(PATIENCE), pytest.raises(Unavailable) as caught:
        await store.put([node("while down")])
    for secret in ("hunter2", "someone", str(server.directory), "5432"):
        assert secret not in str(caught.value)


@pytest.mark.server
async def test_a_server_that_restarts_is_available_again(server, database):
    store = postgres_store(database, 100, None, limit=3)
    async with trio.open_nursery() as nursery:
        for i in range(8):  # so that there are several connections to lose
            nursery.start_soon(store.put, [node(f"r{i}")])
    for number in (signal.SIGINT, signal.SIGQUIT):
        await trio.to_thread.run_sync(server.stop, number)
        await _assert_unavailable(store, server)
        with pytest.raises(Unavailable, match="is unreachable"):
            await store.get("alice", "r1")
        await trio.to_thread.run_sync(server.start)
        assert await store.get("alice", "r1") is not None, "at once, whatever has been lost"
        await store.put([node(f"after {number}")])
    server.signal_all(signal.SIGSTOP)  # it accepts connections, and sends nothing
    try:
        await _assert_unavailable(store, server)
    finally:
        server.signal_all(signal.SIGCONT)
    assert await store.get("alice", "r1") is not None
    await store.aclose()


@pytest.mark.server
@retried_when_late
async def test_a_lock_that_is_held_too_long_is_unavailable(server, database):
    import psycopg

    store = postgres_store(database, 100, None, limit=1.5)
    try:
        await store.put([node("a")])
        with psycopg.connect(database) as other:
            other.execute("SELECT * FROM trigate_trees FOR UPDATE")
            with pytest.raises(Unavailable) as caught:
                await store.put([node("b", "a")])
        if "too slowly" not in str(caught.value):
            raise Late("the server's own limit, a fifth below the store's, was not heard of in time")
        await store.put([node("b", "a")])
        assert ids(await store.chain("alice", "b")) == ["a", "b"]
    finally:
        await store.aclose()


@pytest.mark.server
async def test_tables_that_only_others_may_use_are_unavailable(server, database):
    store = postgres_store(database.replace("someone:", "guest:"), 100, None)
    server.sql("DROP ROLE IF EXISTS guest", "CREATE ROLE guest LOGIN")
    with pytest.raises(Unavailable, match="permission"):
        await store.put([node("a")])
    await store.aclose()


@pytest.mark.server
@pytest.mark.parametrize("fate", ["cut", "silent"])
async def test_a_write_whose_commit_is_not_answered_is_in_doubt(server, database, fate):
    with postgres.commit_relay(server) as relay:
        store = postgres_store(relay.url(database), 100, None, limit=1.5)
        await store.put([node("before")])
        relay.fate = fate
        with trio.fail_after(PATIENCE), pytest.raises(InDoubt):
            await store.put([node("in doubt")])
        assert relay.lost
        assert await store.get("alice", "in doubt") is not None
        relay.fate = ""
        await store.put([node("after")])
        await store.aclose()


@pytest.mark.server
async def test_a_write_that_fails_before_its_commit_is_in_no_doubt(server, database):
    import psycopg

    store = postgres_store(database, 100, None, limit=1.5)
    await store.put([node("a")])
    with psycopg.connect(database) as other:
        other.execute("LOCK TABLE trigate_nodes IN EXCLUSIVE MODE")
        with pytest.raises(Unavailable) as locked:
            await store.put([node("b")])
    server.signal_all(signal.SIGSTOP)
    try:
        with pytest.raises(Unavailable) as silent:
            await store.put([node("b")])
        with pytest.raises(Unavailable) as unread:
            await store.get("alice", "a")
    finally:
        server.signal_all(signal.SIGCONT)
    assert not {InDoubt} & {type(one.value) for one in (locked, silent, unread)}
    assert await store.get("alice", "b") is None
    await store.aclose()


@pytest.mark.server
async def test_a_distant_server_gets_new_tables_within_the_limit(server):
    """With a round trip of 0.1 s, the statements of the tables took longer than an operation may."""
    with postgres.commit_relay(server) as relay:
        found = postgres_store(relay.url(server.new_schema()), 100, None)
        await found.get("alice", "none")
        await found.aclose()
        assert relay.sent < 20


@pytest.mark.server
async def test_work_waits_for_an_open_connection_if_the_server_accepts_no_more(server, database):
    store = postgres_store(database, 100, None)
    await store.put([node("a")])
    await store.aclose()
    schema = database.rpartition("%3D")[2]
    server.sql(
        "CREATE ROLE few LOGIN CONNECTION LIMIT 2", f"GRANT USAGE ON SCHEMA {schema} TO few",
        f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO few",
    )  # fmt: skip
    store = postgres_store(database.replace("someone:", "few:"), 100, None, limit=PATIENCE)
    found = []

    async def read() -> None:
        found.append(await store.database.read(lambda session: session.rows("SELECT pg_sleep(0.1)")))

    await read()
    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(read)
    assert len(found) == 9
    await store.aclose()
    server.sql("DROP OWNED BY few", "DROP ROLE few")
