"""A connection's own store over the shared one."""

import math

import pytest

from gateway.stores.memory import MemoryStore
from gateway.stores.overlay import OverlayStore
from gateway.stores.store import Node


def node(id: str, parent: str | None = None, owner: str = "alice", body: bytes = b"{}") -> Node:
    return Node(id, owner, "response", body, parent, items=(f"item-of-{id}",))


@pytest.fixture
def shared() -> MemoryStore:
    return MemoryStore(math.inf, 10**6)


@pytest.fixture
def layered(shared) -> OverlayStore:
    return OverlayStore(MemoryStore(math.inf, 10**6), shared)


async def test_writes_stay_local(layered, shared):
    await layered.put([node("a")])
    assert await layered.get("alice", "a") == node("a")
    assert await shared.get("alice", "a") is None


async def test_reads_fall_through_for_their_owner_only(layered, shared):
    await shared.put([node("a")])
    assert await layered.get("alice", "a") == node("a")
    assert await layered.get("bob", "a") is None
    assert await layered.chain("bob", "a") == ()


@pytest.mark.parametrize("where", range(2**5), ids=lambda where: f"{where:05b}")
async def test_a_chain_alternates_between_both_stores(layered, shared, where):
    """Five turns, each in one of the two stores."""
    turns = [node(str(i), str(i - 1) if i else None) for i in range(5)]
    for i, turn in enumerate(turns):
        await (layered if where >> i & 1 else shared).put([turn])
    assert await layered.chain("alice", "4") == tuple(turns)
    assert await layered.chain("alice", "2") == tuple(turns[:3])


@pytest.mark.parametrize("missing", range(4))
@pytest.mark.parametrize("local", [0, 2, 4])
async def test_a_chain_with_a_gap_is_nothing(layered, shared, missing, local):
    for i in range(4):
        if i != missing:
            store = layered if i < local else shared
            await store.put([node(str(i), str(i - 1) if i else None)])
    assert await layered.chain("alice", "3") == ()


async def test_items_are_found_in_both_and_the_local_one_wins(layered, shared):
    await shared.put([node("a"), node("b")])
    await layered.put([node("b", body=b"[]"), node("c")])
    found = await layered.find("alice", ["item-of-a", "item-of-b", "item-of-c", "item-of-d"])
    assert {item: found[item].body for item in found} == {"item-of-a": b"{}", "item-of-b": b"[]", "item-of-c": b"{}"}


async def test_the_shared_store_is_neither_emptied_nor_closed(layered, shared):
    await shared.put([node("a")])
    await layered.put([node("b")])
    assert await layered.delete("alice", ["a", "b"]) == 1
    assert await layered.sweep() == 0
    await layered.aclose()
    assert await shared.get("alice", "a") == node("a")


async def test_without_a_shared_store_it_is_the_local_one():
    layered = OverlayStore(MemoryStore(math.inf, 10**6))
    await layered.put([node("a"), node("b", "a")])
    assert await layered.chain("alice", "b") == (node("a"), node("b", "a"))
    assert await layered.chain("alice", "c") == ()
    assert list(await layered.find("alice", ["item-of-b", "item-of-x"])) == ["item-of-b"]
    assert await layered.get("alice", "x") is None
