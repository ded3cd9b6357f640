"""Bodies that are stored encrypted: unreadable without the key, or in another place."""

import hmac
import json

import attrs
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.stores.encrypted import EncryptedStore
from gateway.stores.errors import Unavailable
from gateway.stores.memory import MemoryStore
from tests.support.each_row import each_row
from tests.support.nodes import node
from tests.support.stores import sqlite_store

KEY = bytes(range(32))


async def test_no_text_is_readable_on_disk(tmp_path):
    store = EncryptedStore(sqlite_store(tmp_path / "state.sqlite", 1e9, None), [KEY])
    await store.put([node("r1", body=b"the secret of the house" * 50)])
    found = await store.get("alice", "r1")
    assert found.body.startswith(b"the secret")
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"r1" in stored
    assert b"secret" not in stored
    await store.aclose()


async def test_another_key_decrypts_nothing():
    inner = MemoryStore(100, 10**6)
    await EncryptedStore(inner, [KEY]).put([node("r1", items=("i",)), node("r2", "r1")])
    for other in (EncryptedStore(inner, [bytes(32)]), EncryptedStore(inner, [KEY[::-1]])):
        for attempt in (
            other.get("alice", "r1"), other.chain("alice", "r2"), other.find("alice", ["i"]),
            other.put([node("r3")], expect=node("r1")),
        ):  # fmt: skip
            with pytest.raises(Unavailable, match="another encryption_key"):
                await attempt
        assert await other.get("alice", "none") is None
    assert await EncryptedStore(inner, [KEY]).get("alice", "r1") == node("r1", items=("i",))


@each_row(
    "body",
    [
        b"",
        b"{}",
        b"\x01",
        b"\x01short",
        b"\x02" + bytes(40),
        b"\x01" + bytes(40),
        b"\x02" + hmac.digest(KEY, b"trigate: the mark of an encryption key", "sha256")[:4],
    ],
)
async def test_an_unencrypted_body_is_not_accepted(body):
    inner = MemoryStore(100, 10**6)
    await inner.put([node("r1", body=body)])
    with pytest.raises(Unavailable, match="or without one"):
        await EncryptedStore(inner, [KEY]).get("alice", "r1")


@each_row(
    "change",
    [{"id": "r2"}, {"owner": "bob"}, {"kind": "items"}, {"parent": "r0"}, {"items": ("i", "j")}, {"items": ()}],
)
async def test_a_body_moved_to_another_node_is_not_decrypted(change):
    inner = MemoryStore(100, 10**6)
    store = EncryptedStore(inner, [KEY])
    await store.put([node("r1", body=b"mine", items=("i",))])
    moved = attrs.evolve(await inner.get("alice", "r1"), **change)
    await inner.put([moved])
    with pytest.raises(Unavailable, match="cannot decrypt"):
        await store.get(moved.owner, moved.id)


async def test_one_body_is_never_encrypted_twice_to_the_same_bytes():
    inner = MemoryStore(100, 10**6)
    store = EncryptedStore(inner, [KEY])
    seen = set()
    for _ in range(5):
        await store.put([node("r1")])
        seen.add((await inner.get("alice", "r1")).body)
    assert len(seen) == 5


async def test_the_first_key_writes_and_all_of_them_read():
    inner = MemoryStore(100, 10**6)
    old, new = EncryptedStore(inner, [KEY]), EncryptedStore(inner, [KEY[::-1], KEY])
    await old.put([node("r1", items=("i",))])
    await new.put([node("r2", "r1", body=b"under the new key")])
    assert [one.id for one in await new.chain("alice", "r2")] == ["r1", "r2"]
    assert (await new.find("alice", ["i"]))["i"].id == "r1"
    assert (await EncryptedStore(inner, [KEY, KEY[::-1]]).get("alice", "r2")).body == b"under the new key"
    with pytest.raises(Unavailable, match="another encryption_key"):
        await old.get("alice", "r2")


async def test_rewriting_uses_the_first_key():
    inner = MemoryStore(100, 10**6)
    await EncryptedStore(inner, [KEY]).put([node("r1")])
    await EncryptedStore(inner, [KEY[::-1], KEY]).put([node("r1", body=b"anew")], expect=node("r1"))
    assert (await EncryptedStore(inner, [KEY[::-1]]).get("alice", "r1")).body == b"anew"


@pytest.mark.parametrize("keys", [[KEY], [KEY[::-1], KEY]])
async def test_rows_of_the_form_before_are_read(keys):
    inner = MemoryStore(100, 10**6)
    nonce = bytes(12)
    sealed = AESGCM(KEY).encrypt(nonce, b"said in 0.1", json.dumps(("alice", "r1", "response")).encode())
    await inner.put([node("r1", body=b"\x01" + nonce + sealed, items=("i",))])
    assert (await EncryptedStore(inner, keys).get("alice", "r1")).body == b"said in 0.1"


async def test_items_that_no_store_can_keep_do_not_keep_a_node_from_being_read():
    store = EncryptedStore(MemoryStore(100, 10**6), [KEY])
    await store.put([node("r1", body=b"mine", items=("i", "\0", "x" * 600))])
    assert (await store.get("alice", "r1")).body == b"mine"
