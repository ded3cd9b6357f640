"""Conversations of thousands of turns and items: work on them is linear, and other tasks run meanwhile."""

import json
import time
from typing import Any

import pytest

from gateway.conversations import conversation_store
from gateway.conversations.bodies import StoredConversation
from gateway.conversations.resolved import StateScope
from gateway.conversations.stored_responses import STORED as STORED_RESPONSES
from gateway.conversations.turn_history import load_turns
from gateway.request.parse import read_incoming
from gateway.request.structure import Bounds
from gateway.stores.memory import MemoryStore
from gateway.stores.store import Store
from providers.responses.tools import own_id
from tests.support.loop_steps import LONGEST, check_own_steps

OWNER, MANY = "a client", 3000
HOUR, GIB = 3600.0, 2**30
EMPTY = StoredConversation(created_at=1, metadata={}, head=None)


def items(number: int) -> list[dict[str, Any]]:
    return [{"type": "message", "role": "user", "id": own_id("msg_"), "content": []} for _ in range(number)]


def encrypt_store(store: Store) -> Store:
    from gateway.stores.encrypted import EncryptedStore

    return EncryptedStore(store, [b"k" * 32])


@pytest.fixture(params=[lambda store: store, pytest.param(encrypt_store, marks=pytest.mark.soak)])
def store(request) -> Store:
    made: Store = request.param(MemoryStore(HOUR, GIB))
    return made


async def test_references_to_items_of_one_turn_take_linear_time():
    """Each reference decoded the whole turn again: 2,000 took 20 s, and one request may have 60,000 (CWE-407)."""
    store = MemoryStore(HOUR, GIB)
    stored = items(MANY)
    await conversation_store.create(store, OWNER, EMPTY, stored)
    references = [{"type": "item_reference", "id": item["id"]} for item in stored]
    incoming = read_incoming("responses", json.dumps({"model": "m", "input": references, "store": False}).encode())
    began = time.process_time()
    resolved = await load_turns(STORED_RESPONSES, StateScope(OWNER, store), incoming, (), Bounds(GIB, GIB))
    assert time.process_time() - began < 5
    found = json.loads(bytes(resolved.incoming.members["input"]))
    assert [item["id"] for item in found] == [item["id"] for item in stored]


async def test_a_reference_finds_the_latest_item_of_its_id():
    store = MemoryStore(HOUR, GIB)
    (old,) = items(1)
    await conversation_store.create(store, OWNER, EMPTY, [old])
    await conversation_store.create(store, OWNER, EMPTY, [{**old, "role": "system"}])
    nodes = await store.find(OWNER, [old["id"], "unknown"])
    assert await conversation_store.read_items(nodes) == {old["id"]: {**old, "role": "system"}}


async def test_reading_a_conversation_of_thousands_of_turns_lets_other_tasks_run(store):
    """All turns were read in one step of the loop: 3,600 took 0.2 s (CWE-400)."""
    id = await conversation_store.create(store, OWNER, EMPTY, [])
    for _ in range(MANY):
        await conversation_store.append(store, OWNER, id, items(1))

    async def read() -> None:
        assert len(await conversation_store.items_of(store, OWNER, id)) == MANY

    await check_own_steps(read, longest=LONGEST / 2)


@pytest.mark.soak
async def test_a_conversation_of_many_turns_is_deleted_between_the_turns_of_others():
    """All turns were deleted in one step of the loop: 3,600 took 60 ms (CWE-400)."""
    store = MemoryStore(HOUR, GIB)
    ids = [await conversation_store.create(store, OWNER, EMPTY, []) for _ in range(3)]
    for id in ids:
        for _ in range(5000):
            await conversation_store.append(store, OWNER, id, items(1))
    await check_own_steps(lambda: conversation_store.remove(store, OWNER, ids.pop()), longest=LONGEST / 2)
    for id in ids:
        await conversation_store.remove(store, OWNER, id)
    assert (await store.size()).nodes == 0
