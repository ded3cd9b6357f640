"""Encryption at rest over any store. Needs the extra ``encryption``."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Final

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.stores.store import Changed, Node, Size, Store, Unavailable

FORM: Final = b"\x01"  # the first byte: how the rest is to be read
NONCE: Final = 12


class EncryptedStore:
    """A store over ``store``, with bodies in AES-256-GCM under ``key`` (32 bytes), each bound to its node's owner, id
    and kind: none can be put in another's place. Ids, owners and the order of turns stay readable."""

    def __init__(self, store: Store, key: bytes) -> None:
        self._store = store
        self._cipher = AESGCM(key)

    async def put(self, nodes: Sequence[Node], expect: Node | None = None) -> None:
        stored = None if expect is None else await self._stored(expect)
        await self._store.put([self._encrypt(node) for node in nodes], stored)

    async def get(self, owner: str, id: str) -> Node | None:
        node = await self._store.get(owner, id)
        return None if node is None else self._decrypt(node)

    async def chain(self, owner: str, id: str) -> tuple[Node, ...]:
        return tuple(self._decrypt(node) for node in await self._store.chain(owner, id))

    async def find(self, owner: str, items: Sequence[str]) -> Mapping[str, Node]:
        found = await self._store.find(owner, items)
        opened = {id(node): self._decrypt(node) for node in found.values()}  # one node may hold many of the items
        return {item: opened[id(node)] for item, node in found.items()}

    async def delete(self, owner: str, ids: Sequence[str]) -> int:
        return await self._store.delete(owner, ids)

    async def sweep(self) -> int:
        return await self._store.sweep()

    async def size(self) -> Size:
        return await self._store.size()

    async def aclose(self) -> None:
        await self._store.aclose()

    async def _stored(self, expect: Node) -> Node:
        """Get ``expect`` as the store has it: a body is never encrypted twice to the same bytes. Raises ``Changed``."""
        stored = await self._store.get(expect.owner, expect.id)
        if stored is None or self._decrypt(stored).body != expect.body:
            raise Changed
        return stored

    def _encrypt(self, node: Node) -> Node:
        nonce = os.urandom(NONCE)
        return attrs.evolve(node, body=FORM + nonce + self._cipher.encrypt(nonce, node.body, _bound_to(node)))

    def _decrypt(self, node: Node) -> Node:
        form, nonce, encrypted = node.body[:1], node.body[1 : 1 + NONCE], node.body[1 + NONCE :]
        try:
            if form != FORM:
                raise InvalidTag
            return attrs.evolve(node, body=self._cipher.decrypt(nonce, encrypted, _bound_to(node)))
        except (InvalidTag, ValueError):  # the latter for what is too short
            text = "what is stored cannot be decrypted: it was written with another encryption_key, or without one"
            raise Unavailable(text) from None


def _bound_to(node: Node) -> bytes:
    return json.dumps((node.owner, node.id, node.kind)).encode()
