"""Connections that threads use: waiting for one, giving up, and the work that is completed anyway. Also the effect on
a SQLite file that another process holds."""

import sqlite3
import threading
import time
from functools import partial

import pytest
import trio

from gateway.stores import database, pool, sqlite
from gateway.stores.errors import Changed, Unavailable
from gateway.stores.pool import ConnectionPool
from tests.support.harness import PATIENCE, Late, retried_when_late
from tests.support.nodes import node
from tests.support.stores import sqlite_store


class Wire:
    """A connection without traffic; ``told`` lists the calls of its methods."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.ended = threading.Event()

    def prepare(self) -> None: ...

    def is_good(self) -> bool:
        return True

    def interrupt(self) -> bool:
        self.told.append("cut")
        self.ended.set()
        return False

    def close(self) -> None:
        self.told.append("closed")


class Gate:
    """Work, or an ``open``, that is held up until ``open`` is called."""

    def __init__(self) -> None:
        self._begun, self._may = threading.Event(), threading.Event()

    def __call__(self, wire: Wire | None = None) -> Wire:
        self._begun.set()
        assert self._may.wait(PATIENCE)
        return wire or Wire()

    async def wait_begun(self) -> None:
        assert await trio.to_thread.run_sync(self._begun.wait, PATIENCE)

    def open(self) -> None:
        self._may.set()


async def test_work_that_was_admitted_before_the_end_is_completed():
    """Its task cannot be cancelled any more, so that an error would be logged while the process ends."""
    for _ in range(100):
        opened: list[Wire] = []

        def open_wire(opened: list[Wire] = opened) -> Wire:
            opened.append(Wire())
            return opened[-1]

        links, done, share = ConnectionPool(open_wire, 1, PATIENCE), [], trio.CapacityLimiter(1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(links.run, done.append, share=share))
            while not share.borrowed_tokens:  # noqa: ASYNC110 - a limiter sets no event
                await trio.lowlevel.checkpoint()
            for _ in range(2):  # now its thread starts
                await trio.lowlevel.checkpoint()
            await links.aclose()
        assert done == opened
        assert [wire.told for wire in opened] == [["closed"]]
        with pytest.raises(Unavailable, match="closed"):
            await links.run(done.append, share=share)
        assert not share.borrowed_tokens


async def test_work_that_got_no_connection_never_begins():
    links, gate, done = ConnectionPool(Wire, 1, PATIENCE), Gate(), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.run, gate)
        await gate.wait_begun()
        try:
            for seconds in (0, 0.05):  # with the second one it waits already
                with trio.move_on_after(seconds) as scope:
                    await links.run(done.append)
                assert scope.cancelled_caught
            with pytest.raises(Unavailable, match="overloaded"):
                await links.run(done.append, 0.05)
        finally:
            gate.open()
    await links.run(lambda wire: None)
    assert done == []


async def test_running_work_is_not_cancelled():
    links, gate, ended = ConnectionPool(Wire, 1, PATIENCE), Gate(), []

    async def work() -> None:
        ended.append(await links.run(gate))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)
        await gate.wait_begun()
        nursery.cancel_scope.cancel()
        gate.open()
    assert [wire.told for wire in ended] == [[]]


async def test_work_abandoned_while_connecting_never_begins():
    gate, done = Gate(), []
    links = ConnectionPool(gate, 1, 0.05)
    try:
        with pytest.raises(Unavailable, match="does not respond"):
            await links.run(done.append)
    finally:
        gate.open()
    wire = await links.run(lambda wire: wire, PATIENCE)  # after the other work: there is one connection
    assert done == []
    assert wire.told == []


async def test_an_abandoned_connection_is_closed_and_not_reused():
    links, wires = ConnectionPool(Wire, 1, PATIENCE), []

    def waits(wire: Wire) -> None:
        wires.append(wire)
        assert wire.ended.wait(PATIENCE)

    with pytest.raises(Unavailable, match="does not respond"):
        await links.run(waits, 1)
    wires.append(await links.run(lambda wire: wire))
    assert [wire.told for wire in wires] == [["cut", "closed"], []]


async def test_the_connection_of_a_cancelled_read_is_interrupted_and_not_reused():
    """Its thread would occupy one of few connections for as long as the server takes."""
    links, wires = ConnectionPool(Wire, 1, PATIENCE), []

    def waits(wire: Wire) -> None:
        wires.append(wire)
        trio.from_thread.run_sync(scope.cancel)
        assert wire.ended.wait(PATIENCE)

    with trio.CancelScope() as scope:
        await links.run(waits, can_abandon=True)
    wires.append(await links.run(lambda wire: wire))
    assert [wire.told for wire in wires] == [["cut", "closed"], []]


async def test_work_that_waited_for_another_connection_fails_with_the_reason_of_the_server(mock_clock, monkeypatch):
    """A server with too many connections looked like one that is down."""
    monkeypatch.setattr(pool, "RETRY", 0.01)
    opened, refused, gate = [], threading.Event(), Gate()

    def open_first() -> Wire:
        opened.append(Wire())
        if len(opened) == 3:
            refused.set()
        if len(opened) > 1:
            raise OSError("too many clients")
        return opened[0]

    async def wait_in_vain() -> None:
        with pytest.raises(Unavailable) as caught:
            await links.run(lambda wire: None, 5)
        gate.open()
        assert caught.value.cause() == "too many clients"

    links = ConnectionPool(open_first, 2, 100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(links.run, gate)
        await gate.wait_begun()
        nursery.start_soon(wait_in_vain)
        assert await trio.to_thread.run_sync(refused.wait, PATIENCE)
        mock_clock.jump(10)


async def test_a_connection_is_used_again_after_its_own_refusal_and_not_after_a_failure():
    links, wires = ConnectionPool(Wire, 1, PATIENCE), []

    def failing(error: Exception):
        def work(wire: Wire) -> None:
            wires.append(wire)
            raise error

        return work

    for error in (Changed(), Unavailable("full"), OSError("lost"), Changed()):
        with pytest.raises(type(error)):
            await links.run(failing(error))
    first, second, third, fourth = wires
    assert first is second is third is not fourth
    assert first.told == ["closed"]


# A SQLite file


@retried_when_late
async def test_however_many_wait_for_another_process_each_has_its_answer_in_time(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(database, "BUSY", 0.5)
    path = tmp_path_factory.mktemp("state") / "state.sqlite"
    store, told = sqlite_store(path, 100, None), []
    await store.open()
    other = sqlite3.connect(path, isolation_level=None)

    async def put(i: int) -> None:
        with pytest.raises(Unavailable, match="locked"):
            await store.put([node(f"n{i}")])
        told.append(time.monotonic() - began)

    try:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        async with trio.open_nursery() as nursery:
            for i in range(12):  # one after the other they would take six seconds
                nursery.start_soon(put, i)
        other.execute("ROLLBACK")
        await store.put([node("after")])
        assert [i for i in range(12) if await store.get("alice", f"n{i}")] == []
        assert await store.get("alice", "after") is not None
    finally:
        other.close()
        await store.aclose()
    if max(told) > 3:
        raise Late(f"the last of them was told after {max(told):.1f} s")


async def test_an_abandoned_write_is_not_committed_later(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "LIMIT", 1.0)
    held = Gate()
    held.open()
    gate = held

    def clock() -> float:
        gate()
        return 1_000_000.0

    store = sqlite_store(tmp_path / "state.sqlite", 100, None, clock)
    await store.put([node("before")])
    gate = Gate()
    try:
        with pytest.raises(Unavailable, match="does not respond"):
            await store.put([node("given up")])
    finally:
        gate.open()
    await store.put([node("after")])
    there = [id for id in ("before", "given up", "after") if await store.get("alice", id)]
    assert there == ["before", "after"]
    await store.aclose()
