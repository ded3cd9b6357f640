"""Lists of an owner's objects: pages, cursors and bounds are the same in every store."""

import json
import math

import pytest
import trio

from gateway.kept_objects.inventory import (
    MAX_OBJECT,
    Inventory,
    KeptObject,
    ListRequest,
    MemoryInventory,
    parse_object,
    read_page,
)
from gateway.kept_objects.inventory_table import InventoryTable, NoCipher
from gateway.stores.encrypted import BodyCipher
from gateway.stores.errors import Unavailable
from gateway.stores.sqlite import SqliteDatabase
from tests.support.postgres import commit_relay

MAX_IN_LIST, PAGE_SIZE = 12, 4  # as the inventory of these tests are bounded


def of(owner: str, id: str, collection="files", **members) -> KeptObject:
    made = parse_object(owner, collection, json.dumps({"id": id, **members}).encode())
    assert made is not None
    return made


async def list_ids(inventory: Inventory, owner: str, limit: int = 100, **wanted) -> tuple[list[str], bool]:
    page = await read_page(inventory, owner, ListRequest("files", limit, **wanted), clock=lambda: 1000.0)
    return [one.value["id"] for one in page.objects], page.more


async def test_a_list_has_only_its_owners_objects_and_continues_by_cursor(inventory):
    for number in range(7):
        await inventory.put(of("a", f"f{number}"))
        await inventory.put(of("b", f"f{number}"))
        await inventory.put(of("a", f"s{number}", "vector_stores"))
    assert await list_ids(inventory, "a") == (["f6", "f5", "f4", "f3", "f2", "f1", "f0"], False)
    assert await list_ids(inventory, "a", 3) == (["f6", "f5", "f4"], True)
    assert await list_ids(inventory, "a", 3, after="f4") == (["f3", "f2", "f1"], True)
    assert await list_ids(inventory, "a", 3, after="f1") == (["f0"], False)
    assert await list_ids(inventory, "a", 3, after="f0") == ([], False)
    assert await list_ids(inventory, "a", 3, before="f1") == (["f4", "f3", "f2"], True)
    assert await list_ids(inventory, "a", 9, order="asc", after="f4") == (["f5", "f6"], False)
    assert await list_ids(inventory, "a", 2, order="asc", before="f3") == (["f1", "f2"], True)
    assert await list_ids(inventory, "nobody") == ([], False)
    for unknown in ("s1", "unknown", "f1\0", "\ud800"):
        assert await read_page(inventory, "a", ListRequest("files", 5, after=unknown)) is None


async def test_changed_objects_keep_their_position_and_removed_ones_disappear(inventory):
    for id in ("x", "y", "z"):
        await inventory.put(of("a", id, status="uploaded"))
    await inventory.put(of("a", "x", status="processed"))
    await inventory.remove("a", "files", "y")
    await inventory.remove("b", "files", "z")
    await inventory.remove("a", "vector_stores", "z")
    assert await list_ids(inventory, "a") == (["z", "x"], False)
    found = await inventory.get("a", "files", "x")
    assert found.kept.value["status"] == "processed"
    assert await inventory.get("b", "files", "x") is None
    assert await inventory.get("a", "vector_stores", "x") is None


async def test_expired_objects_and_other_purposes_are_not_listed(inventory):
    await inventory.put(of("a", "ended", expires_at=999))
    await inventory.put(of("a", "ends", expires_at=1001, purpose="batch"))
    await inventory.put(of("a", "stays", expires_at=None, purpose="user_data"))
    assert await list_ids(inventory, "a") == (["stays", "ends"], False)
    for_batches = await list_ids(inventory, "a", 1, is_shown=lambda one: one.value.get("purpose") == "batch")
    assert for_batches == (["ends"], False)


async def test_a_full_inventory_drops_its_oldest_objects(inventory):
    for number in range(MAX_IN_LIST + 3):
        await inventory.put(of("a", f"f{number}"))
    assert await list_ids(inventory, "a") == ([f"f{number}" for number in range(MAX_IN_LIST + 2, 2, -1)], False)
    assert (await list_ids(inventory, "a", PAGE_SIZE))[1]


async def test_memory_is_bounded_for_one_and_for_all():
    inventory = MemoryInventory(most=5, max_total=8)
    for number in range(20):
        await inventory.put(of("a", f"f{number}"))
    assert await list_ids(inventory, "a") == (["f19", "f18", "f17", "f16", "f15"], False)
    for number in range(4):
        await inventory.put(of(f"b{number}", "f"))
    assert await list_ids(inventory, "a") == (["f19", "f18", "f17", "f16"], False)
    assert [await list_ids(inventory, f"b{number}") for number in range(4)] == [(["f"], False)] * 4


async def test_an_owners_objects_count_in_its_share_of_the_storage(inventory):
    """OWASP API4:2023. Records that bill batches stay, also if they are the oldest."""
    inventory.limit_owners(lambda owner: 20_000 if owner == "a" else math.inf)
    for number in range(3):
        await inventory.put(of("a", f"p{number}", "pending batches", filled="x" * 1000))
    for owner in ("a", "b"):
        for number in range(10):
            await inventory.put(of(owner, f"f{number}", filled="x" * 3000))
    objects, _ = await list_ids(inventory, "a")
    assert objects[0] == "f9"
    assert 4 <= len(objects) <= 5
    assert len((await list_ids(inventory, "b"))[0]) == 10
    assert len(await inventory.read_some("a", "pending batches", None, "asc")) == 3
    await inventory.put(of("a", "f9", filled="x" * 10))
    assert (await list_ids(inventory, "a"))[0] == objects


async def test_all_objects_in_memory_are_bounded_and_the_largest_owner_loses_its_oldest():
    inventory = MemoryInventory(max_bytes=2**20)
    await inventory.put(of("b", "mine"))
    for number in range(1000):
        await inventory.put(of("a", f"v{number}", "vector_stores", filled="x" * 15_000))
    await inventory.put(of("c", "mine"))
    held = await inventory.read_some("a", "vector_stores", None, "asc")
    assert 60 < len(held) < 70
    assert held[-1].kept.id == "v999"
    assert [(await list_ids(inventory, owner))[0] for owner in "bc"] == [["mine"], ["mine"]]


async def test_an_encrypted_inventory_is_only_readable_with_its_key(tmp_path):
    path = tmp_path / "state.sqlite"
    first = InventoryTable(SqliteDatabase(path), BodyCipher([b"k" * 32]))
    await first.put(of("a", "f", filename="contract.pdf"))
    await first.database.aclose()
    assert not any(b"contract" in file.read_bytes() for file in tmp_path.iterdir())
    other = InventoryTable(SqliteDatabase(path), BodyCipher([b"x" * 32]))
    with pytest.raises(Unavailable, match="encryption_key"):
        await list_ids(other, "a")
    await other.database.aclose()
    rotated = InventoryTable(SqliteDatabase(path), BodyCipher([b"x" * 32, b"k" * 32]))
    assert await list_ids(rotated, "a") == (["f"], False)
    await rotated.database.aclose()


def test_invalid_objects_are_not_stored():
    for body in (
        b"",
        b"[]",
        b"{}",
        b'{"id": 3}',
        b'{"id": ""}',
        b'{"id": "a\\u0000"}',
        b'{"id":"a","x":"' + b"y" * MAX_OBJECT,
    ):
        assert parse_object("a", "files", body) is None, body[:40]
    assert NoCipher().decrypt(b"x", b"") == b"x"


async def test_the_cost_of_a_batch_is_claimed_once_for_each_owner(inventory):
    await inventory.put(of("a", "b1", "batches"))
    assert await inventory.claim("a", "b1")
    assert not await inventory.claim("a", "b1")
    assert await inventory.claim("b", "b1")
    assert await inventory.claim("a", "b2")
    assert not await inventory.claim("a", "b5", "b2", "b6")
    assert await inventory.claim("a", "b6")
    assert await list_ids(inventory, "a") == ([], False)
    found: list[bool] = []

    async def claim() -> None:
        found.append(await inventory.claim("a", "b3", "b4"))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(claim)
    assert sorted(found) == [False] * 4 + [True]


@pytest.mark.server
async def test_a_claim_whose_commit_is_not_answered_is_not_lost(server, database):
    """A batch whose claim is stored, but unknown to the process that made it, would be in no bill."""
    from gateway.stores.postgres import PostgresDatabase

    with commit_relay(server) as relay:
        inventory = InventoryTable(PostgresDatabase(relay.url(database)), NoCipher())
        assert await inventory.claim("a", "before")
        relay.fate = "cut once"
        assert await inventory.claim("a", "b1", "b2")
        assert relay.lost
        assert not await inventory.claim("a", "b1", "b2")
        relay.fate = "cut"
        with pytest.raises(Unavailable):
            await inventory.claim("a", "b3")
        relay.fate = ""
        other = InventoryTable(PostgresDatabase(database), NoCipher())
        assert not await other.claim("a", "b3")
        found: list[bool] = []

        async def claim() -> None:
            found.append(await inventory.claim("a", "b3"))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(claim)
        assert sorted(found) == [False, False, False, True]
        await inventory.database.aclose()
        await other.database.aclose()
