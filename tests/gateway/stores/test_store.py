"""One suite for all stores: the three kinds, and each of them with encryption."""

import contextlib
import math
import os
import random
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO

import attrs
import pytest
import trio

from gateway.stores.encrypted import EncryptedStore
from gateway.stores.errors import Changed, Unavailable
from gateway.stores.memory import MemoryStore
from gateway.stores.nodes import size_of
from gateway.stores.store import Node, Size, Store
from tests.support import store_writer
from tests.support.harness import ROOT, START_SECONDS, eventually
from tests.support.nodes import chain_of, ids, node
from tests.support.set_clock import SetClock
from tests.support.stores import postgres_store, sqlite_store

KEY = bytes(range(32))
SHARED = ("sqlite", pytest.param("postgres", marks=pytest.mark.server))
KINDS = ("memory", *SHARED)


@attrs.define
class Place:
    """The place that stores of one kind share; ``store`` opens one more."""

    kind: str
    location: str
    clock: SetClock
    encrypted: bool = False
    opened: list[Store] = attrs.field(factory=list)

    def store(self, ttl: float = 1e9, max_bytes: int = 2**30) -> Store:
        store = self._store(ttl, max_bytes)
        self.opened.append(store)
        return EncryptedStore(store, [KEY]) if self.encrypted else store

    def _store(self, ttl: float, max_bytes: int) -> Store:
        if self.kind == "memory":
            return MemoryStore(ttl, max_bytes, self.clock)
        if self.kind == "sqlite":
            return sqlite_store(Path(self.location), ttl, max_bytes, self.clock)
        return postgres_store(self.location, ttl, max_bytes, self.clock)


def _place(request, kind: str) -> Place:
    name, _, encrypted = kind.partition(" ")
    if name == "postgres":
        location = request.getfixturevalue("database")
    else:
        location = str(request.getfixturevalue("tmp_path") / "state.sqlite")
    return Place(name, location, SetClock(1_000_000.0), bool(encrypted))


@pytest.fixture(params=[*KINDS, "memory encrypted", pytest.param("sqlite encrypted", marks=pytest.mark.soak)])
def any_place(request) -> Place:
    return _place(request, request.param)  # here, because the reason of a skip gets lost in an async fixture


@pytest.fixture(params=SHARED)
def shared_place(request) -> Place:
    return _place(request, request.param)


@pytest.fixture
async def place(any_place):
    yield any_place
    for store in any_place.opened:
        await store.aclose()


@pytest.fixture
async def shared(shared_place):
    """Yield the place of a kind that several stores can share."""
    yield shared_place
    for store in shared_place.opened:
        await store.aclose()


@pytest.fixture
def store(place) -> Store:
    return place.store()


# Stored nodes


async def test_a_node_is_read_as_it_was_written(store):
    written = node("r1", "r0", b'{"a":1}', kind="message", items=("msg_2", "msg_1"))
    await store.put([written])
    assert await store.get("alice", "r1") == written
    assert await store.get("alice", "r2") is None


async def test_a_later_node_replaces_an_earlier_one(store):
    await store.put([node("r1", body=b"old", items=("i1", "i2"))])
    await store.put([node("r1", body=b"new", kind="items", items=("i2", "i3"))])
    assert await store.get("alice", "r1") == node("r1", body=b"new", kind="items", items=("i2", "i3"))
    assert set(await store.find("alice", ["i1", "i2", "i3"])) == {"i2", "i3"}


async def test_the_last_node_of_a_duplicate_id_in_a_write_counts(store):
    await store.put([node("r1", body=b"first"), node("r1", body=b"second")])
    found = await store.get("alice", "r1")
    assert found.body == b"second"


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "text", ["ü", "💬" * 100, "'; DROP TABLE nodes; --", "%s %(a)s ? :a {}", '"\\\n\t', " ", "\x7f"]
)
async def test_ids_may_be_any_text(store, text):
    written = node(text, text + "p", text.encode(), owner=text, items=(text,))
    await store.put([written, node(text + "p", owner=text)])
    assert await store.get(text, text) == written
    assert ids(await store.chain(text, text)) == [text + "p", text]
    assert await store.find(text, [text]) == {text: written}
    assert await store.delete(text, [text]) == 1


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800", "x" * 5000])
async def test_an_id_that_no_store_can_store_is_missing(store, text):
    await store.put([node("r1", items=(text, "good"))])
    assert (await store.get("alice", "r1")).items == ("good",)
    assert await store.find("alice", [text, "good"]) == {"good": node("r1", items=("good",))}
    assert await store.get("alice", text) is None
    assert await store.chain("alice", text) == ()
    assert await store.delete("alice", [text]) == 0
    with pytest.raises(Unavailable, match="plain text"):
        await store.put([node(text)])


@pytest.mark.parametrize("body", [b"", b"\0\xff" * 10, bytes(range(256)) * 4096], ids=["none", "binary", "1 MB"])
async def test_bodies_are_bytes_of_any_size(store, body):
    await store.put([node("r1", body=body)])
    assert (await store.get("alice", "r1")).body == body


async def test_empty_requests_have_empty_results(store):
    await store.put([])
    assert await store.find("alice", []) == {}
    assert await store.delete("alice", []) == 0


async def test_owners_do_not_see_each_others_nodes(store):
    await store.put([node("r1", items=("i1",)), node("r2", "r1")])
    await store.put([node("r2", "r1", b"mine", owner="bob"), node("r1", body=b"open", owner="")])
    assert (await store.get("alice", "r2")).body == b"{}"
    assert await store.get("bob", "r1") is None
    assert await store.chain("bob", "r2") == ()
    assert await store.find("bob", ["i1"]) == {}
    assert await store.delete("bob", ["r1"]) == 0
    assert ids(await store.chain("alice", "r2")) == ["r1", "r2"]
    with pytest.raises(Changed):
        await store.put([node("r3", owner="bob")], expect=node("r1", owner="bob"))


# Chains


async def test_a_chain_begins_with_its_first_turn_and_has_no_side_branches(store):
    await store.put([node("a"), node("b", "a"), node("b/head", "b", kind="head")])
    await store.put([node("c", "b")])
    await store.put([node("c2", "b")])
    assert ids(await store.chain("alice", "c")) == ["a", "b", "c"]
    assert ids(await store.chain("alice", "c2")) == ["a", "b", "c2"]
    assert ids(await store.chain("alice", "a")) == ["a"]
    assert await store.chain("alice", "none") == ()


async def test_a_chain_of_thousands_is_read_whole(store):
    nodes = chain_of(1200, body=b"x" * 100)
    for start in range(0, 1200, 600):
        await store.put(list(reversed(nodes[start : start + 600])))  # in any order
    assert await store.chain("alice", "n1199") == tuple(nodes)


async def test_a_chain_with_a_gap_is_none(store):
    await store.put(chain_of(5))
    assert await store.delete("alice", ["n2"]) == 1
    assert await store.chain("alice", "n4") == ()
    assert ids(await store.chain("alice", "n1")) == ["n0", "n1"]
    assert await store.get("alice", "n3") is not None
    await store.put([node("orphan", "never")])
    assert await store.chain("alice", "orphan") == ()


async def test_a_circle_is_no_chain(store):
    await store.put([node("a", "b"), node("b", "a")])
    await store.put([node("c", "b"), node("self", "self")])
    assert await store.chain("alice", "c") == ()
    assert await store.chain("alice", "self") == ()


# All or none


async def test_a_write_that_is_refused_leaves_nothing(place):
    store = place.store(max_bytes=20_000)
    await store.put([node("r1", body=b"old")])
    with pytest.raises(Unavailable, match="max_bytes"):
        await store.put([node("r1", body=b"new"), node("r2"), node("r3", body=b"x" * 30_000)])
    assert (await store.get("alice", "r1")).body == b"old"
    assert await store.get("alice", "r2") is None
    with pytest.raises(Unavailable):
        await store.put([node("r4"), node("\0")])
    assert await store.get("alice", "r4") is None


async def test_a_write_requires_the_expected_node(store):
    first = node("conv", body=b"1", kind="conversation")
    with pytest.raises(Changed):
        await store.put([first], expect=first)
    await store.put([first])
    second = attrs.evolve(first, body=b"2")
    await store.put([node("i1", "conv"), second], expect=first)
    with pytest.raises(Changed):
        await store.put([node("i2", "conv"), attrs.evolve(first, body=b"3")], expect=first)
    assert await store.get("alice", "i2") is None
    assert await store.get("alice", "conv") == second
    await store.delete("alice", ["conv"])
    with pytest.raises(Changed):
        await store.put([first], expect=second)


async def _increment(store: Store, times: int) -> None:
    for _ in range(times):
        while True:
            there = await store.get("alice", "counter")
            more = attrs.evolve(there, body=b"%d" % (int(there.body) + 1))
            try:
                await store.put([node(f"step{more.body.decode()}", "counter"), more], expect=there)
            except Changed:
                continue
            break


async def test_concurrent_writers_see_each_others_changes(place):
    stores = [place.store()] if place.kind == "memory" else [place.store(), place.store()]
    await stores[0].put([node("counter", body=b"0", kind="conversation")])
    async with trio.open_nursery() as nursery:
        for i in range(6):
            nursery.start_soon(_increment, stores[i % len(stores)], 3)
    assert (await stores[-1].get("alice", "counter")).body == b"18"
    assert [len(await stores[0].chain("alice", f"step{i}")) for i in range(1, 19)] == [2] * 18


async def test_concurrent_writers_do_not_block_each_other(place):
    one = place.store(max_bytes=60_000)
    other = one if place.kind == "memory" else place.store(max_bytes=60_000)

    async def write(store: Store, name: int) -> None:
        for i in range(8):
            await store.put([node(f"same{i % 3}", f"same{(i + name) % 3}"), node(f"{name}.{i}", body=b"x" * 5000)])
            await store.delete("alice", [f"same{i % 2}", f"{name}.{i - 1}"])
            await store.sweep()

    async with trio.open_nursery() as nursery:
        for name in range(4):
            nursery.start_soon(write, (one, other)[name % 2], name)
    for name in range(4):
        await one.put([node(f"{name}.last")])
        assert await other.get("alice", f"{name}.last") is not None


# Items


async def test_an_item_is_found_in_the_node_that_was_written_last(store):
    await store.put([node("r1", items=("i1", "i2")), node("r2", "r1", items=("i2",))])
    found = await store.find("alice", ["i1", "i2", "i3", "i1"])
    assert {item: node.id for item, node in found.items()} == {"i1": "r1", "i2": "r2"}
    await store.put([node("r1", items=("i1", "i2", "i2"))])
    assert {item: node.id for item, node in (await store.find("alice", ["i2"])).items()} == {"i2": "r1"}
    await store.delete("alice", ["r1"])
    assert {item: node.id for item, node in (await store.find("alice", ["i1", "i2"])).items()} == {"i2": "r2"}


async def test_hundreds_of_items_are_found_in_one_call(store):
    items = tuple(f"msg_{i}" for i in range(700))
    await store.put([node("r1", items=items)])
    assert (await store.get("alice", "r1")).items == items
    assert set(await store.find("alice", items)) == set(items)


async def test_deleted_nodes_are_counted_and_gone(store):
    await store.put(chain_of(3))
    assert await store.delete("alice", ["n0", "n2", "n2", "none"]) == 2
    assert await store.delete("alice", ["n0"]) == 0
    assert await store.get("alice", "n1") is not None


# Expiry and limits of size


async def test_a_tree_expires_after_its_last_write(place):
    store = place.store(ttl=100)
    await store.put([node("a", items=("i",))])
    await store.put([node("other", items=("j",))])
    place.clock.now += 90
    await store.put([node("b", "a")])
    place.clock.now += 90  # a is 180 old, its tree 90
    assert ids(await store.chain("alice", "b")) == ["a", "b"]
    assert await store.get("alice", "other") is None
    assert await store.find("alice", ["i", "j"]) == {"i": node("a", items=("i",))}
    assert await store.delete("alice", ["other"]) == 0
    assert await store.sweep() == 1
    place.clock.now += 10
    assert await store.get("alice", "a") is None
    assert await store.chain("alice", "b") == ()
    assert await store.find("alice", ["i"]) == {}
    assert await store.sweep() == 2
    assert await store.sweep() == 0


async def test_replacing_a_root_keeps_its_tree(place):
    store = place.store(ttl=100)
    await store.put([node("conv", kind="conversation"), node("i1", "conv", kind="items")])
    place.clock.now += 90
    await store.put([node("conv", kind="conversation", body=b"2")])
    place.clock.now += 90
    assert ids(await store.chain("alice", "i1")) == ["conv", "i1"]


async def test_an_expired_tree_cannot_be_continued(place):
    store = place.store(ttl=100)
    await store.put([node("a")])
    place.clock.now += 101
    await store.put([node("b", "a")])
    assert await store.chain("alice", "b") == ()
    with pytest.raises(Changed):
        await store.put([node("c")], expect=node("a"))
    await store.put([node("a", body=b"again")])
    assert [n.body for n in await store.chain("alice", "b")] == [b"again", b"{}"]
    await store.sweep()
    assert ids(await store.chain("alice", "b")) == ["a", "b"]


async def test_a_sweep_removes_any_number_of_trees(place):
    store = place.store(ttl=100)
    for start in range(0, 200, 50):
        await store.put([node(f"t{start + i}") for i in range(50)])
    await store.put([node("gone")])
    await store.delete("alice", ["gone"])
    place.clock.now += 200
    assert await store.sweep() == 200


async def test_the_least_recently_written_tree_makes_room(place):
    store = place.store(max_bytes=50_000)
    for name in "abc":
        await store.put([node(name, body=b"x" * 7_000, items=(name + "i",)), node(name + "2", name, b"x" * 7_000)])
        place.clock.now += 1
    await store.put([node("a3", "a2", b"x")])  # now b is the oldest
    place.clock.now += 1
    await store.put([node("d", body=b"x" * 7_000)])
    assert await store.get("alice", "b") is None
    assert await store.get("alice", "b2") is None
    assert await store.find("alice", ["ai", "bi"]) == {"ai": node("a", body=b"x" * 7_000, items=("ai",))}
    assert ids(await store.chain("alice", "a3")) == ["a", "a2", "a3"]
    assert ids(await store.chain("alice", "c2")) == ["c", "c2"]


async def present(store: Store, owner: str, names: str) -> str:
    """Return those of ``names``, a letter each, whose nodes exist."""
    return "".join([name for name in names if await store.get(owner, name) is not None])


def of(owner: str, name: str, size: int, parent: str | None = None) -> Node:
    return attrs.evolve(node(name, parent, b"x" * size), owner=owner)


async def test_the_largest_owner_makes_room(place):
    """A client with long conversations displaces none of another client, however old those are."""
    store = place.store(max_bytes=50_000)
    await store.put([of("bob", "b", 5_000)])
    await store.put([of("carol", "c", 5_000)])
    for name in "defghijklm":
        place.clock.now += 1
        await store.put([of("mallory", name, 8_000)])
    assert await present(store, "mallory", "defghijklm") == "jklm"
    place.clock.now += 1
    await store.put([of("bob", "n", 8_000, "b")])
    assert await present(store, "mallory", "jklm") == "klm"
    assert await present(store, "bob", "bn") == "bn"
    assert await present(store, "carol", "c") == "c"
    assert await store.delete("mallory", ["k", "l", "m"]) == 3
    for name in "opqrst":  # bob's share has grown with the room that mallory freed, and now his are the first to go
        place.clock.now += 1
        await store.put([of("bob", name, 8_000)])
    assert await present(store, "bob", "bnopqrst") == "pqrst"
    assert await present(store, "carol", "c") == "c"


async def test_a_tree_being_written_is_evicted_last(place):
    store = place.store(max_bytes=50_000)
    await store.put([of("bob", "b", 5_000)])
    await store.put([of("carol", "c", 5_000)])
    for parent, name in ((None, "d"), ("d", "e"), ("e", "f"), ("f", "g")):
        place.clock.now += 1
        await store.put([of("mallory", name, 11_000, parent)])
    assert await present(store, "mallory", "defg") == "defg"
    assert len(await present(store, "bob", "b") + await present(store, "carol", "c")) < 2
    with pytest.raises(Unavailable, match="max_bytes"):
        await store.put([of("mallory", "h", 11_000, "g")])


async def test_an_owners_share_applies_in_an_empty_store(place):
    store = place.store(max_bytes=200_000)
    store.limit_owners(lambda owner: 30_000 if owner == "mallory" else math.inf)
    for name in "abcdef":
        place.clock.now += 1
        await store.put([of("mallory", name, 9_000), of("bob", name, 9_000)])
    assert await present(store, "mallory", "abcdef") == "def"
    assert await present(store, "bob", "abcdef") == "abcdef"
    with pytest.raises(Unavailable, match=r"limits\.per_client\.stored"):
        await store.put([of("mallory", "g", 31_000)])
    assert await present(store, "mallory", "defg") == "def"
    store.limit_owners(lambda owner: math.inf)
    await store.put([of("mallory", "g", 31_000)])
    assert await present(store, "mallory", "defg") == "defg"


async def test_owners_without_nodes_are_dropped(place):
    store = place.store(max_bytes=2_000_000)
    for i in range(20):
        await store.put([of(f"passing {i}", "a", 10)])
        assert await store.delete(f"passing {i}", ["a"]) == 1
    assert await store.size() == Size(0, 0, 2_000_000)


async def test_a_store_never_exceeds_its_limit(place):
    limit = 100_000
    store, random_ = place.store(max_bytes=limit), random.Random(7)
    names = [f"{tree}.{i}" for tree in range(12) for i in range(4)]
    for _ in range(70):
        tree, i = random_.choice(names).split(".")
        one = node(f"{tree}.{i}", f"{tree}.{int(i) - 1}" if i != "0" else None, b"x" * random_.randrange(12_000))
        await store.put([one])
        assert await store.get("alice", one.id) == one
        if random_.random() < 0.2:
            await store.delete("alice", [random_.choice(names)])
        place.clock.now += 1
    left = [found for name in names if (found := await store.get("alice", name)) is not None]
    kept = sum(map(size_of, left))
    assert limit / 2 < kept <= limit, "neither too much nor less than there is room for"
    await place.store(max_bytes=limit).sweep()


async def test_a_tree_that_has_grown_too_large_is_refused_and_takes_no_other_with_it(place):
    store = place.store(max_bytes=30_000)
    await store.put([node("other")])
    place.clock.now += 1
    await store.put([node("a", body=b"x" * 20_000)])
    with pytest.raises(Unavailable, match="max_bytes is 30000"):
        await store.put([node("b", "a", b"x" * 15_000)])
    assert await store.get("alice", "other") is not None
    await store.put([node("b", body=b"x" * 15_000)])
    assert await store.get("alice", "other") is None


async def test_a_smaller_limit_applies_from_the_next_sweep(shared):
    before = shared.store()
    for i in range(10):
        await before.put([node(f"t{i}", body=b"x" * 10_000)])
        shared.clock.now += 1
    after = shared.store(max_bytes=35_000)
    assert await after.sweep() == 7
    assert [i for i in range(10) if await after.get("alice", f"t{i}")] == [7, 8, 9]
    assert await after.sweep() == 0


# Cancellation


async def test_the_size_counts_stored_nodes(place):
    store, big = place.store(ttl=100, max_bytes=200_000), b"x" * 50_000

    async def size() -> tuple[int, int]:
        found = await store.size()
        assert found.limit == 200_000
        return found.nodes, found.bytes

    assert await size() == (0, 0)
    await store.put([node("a", body=b"x" * 100, items=("one", "two")), node("b", "a")])
    (nodes, all_bytes) = await size()
    assert nodes == 2
    await store.put([node("b", "a")])
    assert await size() == (2, all_bytes), "what is replaced is not kept twice"
    with pytest.raises(Unavailable):
        await store.put([node("c"), node("d", body=big * 5)])
    assert await size() == (2, all_bytes), "what is refused is not kept"
    assert await store.delete("alice", ["b", "nobody's"]) == 1
    assert (await size())[0] == 1
    assert (await size())[1] < all_bytes
    for i in range(5):
        await store.put([node(f"big{i}", body=big)])
    assert (await size())[0] == 3, "a and two more have made room"
    assert 150_000 < (await size())[1] <= 200_000
    place.clock.now += 200
    assert await store.sweep() == 3
    assert await size() == (0, 0)


async def test_the_size_includes_all_processes(shared):
    one, other = shared.store(), shared.store()
    await one.put([node("a"), node("b", "a")])
    await other.put([node("c")])
    assert await one.size() == await other.size()
    assert (await one.size()).nodes == 3


async def test_a_cancelled_write_is_atomic(store):
    began = 0
    for i in range(25):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(store.put, [node(f"{i}a"), node(f"{i}b", f"{i}a"), node(f"{i}c", f"{i}b")]))
                for _ in range(i % 5):
                    await trio.lowlevel.checkpoint()
                scope.cancel()
        there = [await store.get("alice", f"{i}{letter}") is not None for letter in "abc"]
        assert all(there) or not any(there)
        began += all(there)
    await store.put([node("after")])
    assert await store.get("alice", "after") is not None
    assert began <= 20, "one in five was cancelled before it had begun"


# Several stores, several processes


async def test_written_nodes_survive_a_restart(shared):
    first = shared.store()
    await first.put([node("a", items=("i",)), node("b", "a")])
    await first.aclose()
    with pytest.raises(Unavailable, match="closed"):
        await first.get("alice", "a")
    second = shared.store()
    assert ids(await second.chain("alice", "b")) == ["a", "b"]
    assert set(await second.find("alice", ["i"])) == {"i"}


async def test_many_processes_may_open_a_new_database(shared):
    async with trio.open_nursery() as nursery:
        for i in range(8):
            nursery.start_soon(shared.store().put, [node(f"r{i}")])
    store = shared.store()
    assert [i for i in range(8) if await store.get("alice", f"r{i}")] == list(range(8))


@contextlib.contextmanager
def writing(kind: str, location: str, prefix: str) -> Iterator[Callable[[], list[str]]]:
    """Run a process that writes until it is killed, at the end at the latest, and yield its acknowledged nodes."""
    process = subprocess.Popen(
        [sys.executable, store_writer.__file__, kind, location, prefix],
        stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    lines: list[str] = []
    reader = threading.Thread(target=_collect, args=(process.stdout, lines))
    reader.start()
    try:
        yield lambda: [line.strip() for line in lines if line.endswith("\n")]
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()


def _collect(stream: IO[str], lines: list[str]) -> None:
    for line in stream:
        lines.append(line)  # noqa: PERF402 - each as it comes


async def _until(count: int, acknowledged: Callable[[], list[str]]) -> None:
    await trio.to_thread.run_sync(
        eventually, lambda: len(acknowledged()) >= count, START_SECONDS, f"{count} stored nodes"
    )


def accounts(place: Place) -> tuple[int, int, int]:
    """Return the faults in the stored data: turns without their heads, bytes and nodes that were not counted."""
    if place.kind == "sqlite":
        with contextlib.closing(sqlite3.connect(place.location)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            kinds = dict(db.execute("SELECT kind, count(*) FROM nodes GROUP BY kind").fetchall())
            query = "SELECT (SELECT sum(size) FROM nodes) - bytes, (SELECT count(*) FROM nodes) - nodes FROM total"
            (bytes, nodes) = db.execute(query).fetchone()
    else:
        import psycopg

        with psycopg.connect(place.location) as server:
            kinds = dict(server.execute("SELECT kind, count(*) FROM trigate_nodes GROUP BY kind").fetchall())
            query = """
                SELECT (SELECT sum(size) FROM trigate_nodes) - sum(bytes),
                (SELECT count(*) FROM trigate_nodes) - sum(nodes) FROM trigate_total
            """
            (bytes, nodes) = server.execute(query).fetchone()
    return kinds["response"] - kinds["head"], int(bytes), int(nodes)


@pytest.mark.process
@pytest.mark.parametrize("lives", [1, pytest.param(3, marks=pytest.mark.soak)])
async def test_a_process_that_is_killed_loses_nothing_it_had_acknowledged(shared, lives):
    chance = random.Random()
    for life in range(lives):
        with writing(shared.kind, shared.location, f"{life}x") as acknowledged:
            await _until(chance.randrange(3, 60), acknowledged)
        told = acknowledged()
        store = shared.store()
        for id in told:
            found = await store.get("o", id)
            assert found is not None, f"{id} of {len(told)} was acknowledged and is lost"
            assert found.body == store_writer.body_of(id)
            assert (await store.get("o", f"{id}/head")).body == found.body[::-1]
        last = told[-1]
        assert len(await store.chain("o", last)) == int(last.rpartition(".")[2]) + 1
        assert set(await store.find("o", [f"item{id}" for id in told])) == {f"item{id}" for id in told}
        assert accounts(shared) == (0, 0, 0), "no half of a turn, and every byte and node is counted"


@pytest.mark.sample(2)
@pytest.mark.process
async def test_two_processes_write_to_one_place(shared):
    with writing(shared.kind, shared.location, "one") as one, writing(shared.kind, shared.location, "two") as two:
        await _until(25, one)
        await _until(25, two)
    store = shared.store()
    for told in (one(), two()):
        for id in told:
            assert await store.get("o", id) is not None
    assert len(await store.chain("o", "one0.19")) == len(await store.chain("o", "two0.19")) == 20


def _remove_counts(place: Place) -> None:
    """Restore the first version of the tables, which did not count nodes."""
    if place.kind == "sqlite":
        with contextlib.closing(sqlite3.connect(place.location)) as db:
            db.executescript("DROP INDEX trees_owner; ALTER TABLE trees DROP COLUMN owner; DROP TABLE owners;")
            db.executescript("DROP TABLE ledger; DROP TABLE client_keys; DROP TABLE key_changes")
            db.executescript("ALTER TABLE total DROP COLUMN nodes; PRAGMA user_version = 1")
        return
    import psycopg

    with psycopg.connect(place.location) as server:
        server.execute("ALTER TABLE trigate_trees DROP COLUMN owner; DROP TABLE trigate_owners")
        server.execute("DROP TABLE trigate_ledger, trigate_client_keys, trigate_key_changes")
        server.execute("ALTER TABLE trigate_total DROP COLUMN nodes; UPDATE trigate_schema SET version = 1")


async def test_sizes_of_a_first_version_store_are_counted(shared):
    store = shared.store()
    await store.put([node("a"), node("b", "a")])
    await store.put([node("c")])
    found = await store.size()
    await store.aclose()
    _remove_counts(shared)
    store = shared.store()
    assert await store.size() == found
    assert found.nodes == 3
    assert await store.delete("alice", ["a", "c"]) == 2
    assert (await store.size()).nodes == 1


async def test_nodes_of_an_earlier_version_have_owners(shared):
    store = shared.store()
    for name in "abc":
        await store.put([node(name, body=b"x" * 9_000)])
        shared.clock.now += 1
    await store.put([attrs.evolve(node("d"), owner="bob")])
    await store.aclose()
    _remove_counts(shared)
    store = shared.store(max_bytes=30_000)
    await store.put([attrs.evolve(node("e", body=b"x" * 9_000), owner="bob")])
    assert await present(store, "alice", "abc") == "bc"
    assert await present(store, "bob", "de") == "de"
