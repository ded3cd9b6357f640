"""Encryption at rest for any store. Requires the extra ``encryption``."""

import hmac
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs
import trio
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.stores.errors import Changed, Unavailable
from gateway.stores.nodes import is_storable
from gateway.stores.store import Node, Size, Store

FORM: Final = b"\x02"  # the first byte: the format of the rest
OLD_FORM: Final = b"\x01"  # the format of 0.1: without a key mark, and bound only to owner, id and kind
MARK: Final = 4
NODE: Final = 20_000  # bytes whose decryption takes as long as the rest of the work on a node
WORK_PER_TURN: Final = 2**20  # bytes after which other tasks run
NONCE: Final = 12
UNREADABLE: Final = "cannot decrypt the stored data: it was written with another encryption_key, or without one"


class BodyCipher:
    """AES-256-GCM encryption of stored texts, each bound to its context.

    ``keys`` have 32 bytes each: the first encrypts, all decrypt."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._ciphers = {_mark(key): AESGCM(key) for key in keys}
        self._writing = next(iter(self._ciphers))

    def encrypt(self, body: bytes, context: bytes) -> bytes:
        nonce = os.urandom(NONCE)
        return FORM + self._writing + nonce + self._ciphers[self._writing].encrypt(nonce, body, context)

    def decrypt(self, sealed: bytes, context: bytes) -> bytes | None:
        """Return the decrypted text, ``None`` if the key or the context differs."""
        form, rest = sealed[:1], sealed[1:]
        if form != FORM or (cipher := self._ciphers.get(rest[:MARK])) is None:
            return None
        return _decrypt_with(cipher, rest[MARK:], context)

    def decrypt_old(self, sealed: bytes, context: bytes) -> bytes | None:
        """Decrypt a text in the format of 0.1; ``None`` as for ``decrypt``."""
        if sealed[:1] != OLD_FORM:
            return None
        tried = (_decrypt_with(cipher, sealed[1:], context) for cipher in self._ciphers.values())
        return next((body for body in tried if body is not None), None)


class EncryptedStore:
    """A store over ``store`` that encrypts bodies with AES-256-GCM.

    Each body is bound to its node's owner, id, kind, parent and items, so none can replace another or move to another
    conversation. Ids, owners and the order of turns stay readable. ``keys`` have 32 bytes each: the first encrypts, all
    decrypt."""

    def __init__(self, store: Store, keys: Sequence[bytes]) -> None:
        self._store = store
        self.database: Final = store.database
        self._cipher = BodyCipher(keys)

    async def put(self, nodes: Sequence[Node], expect: Node | None = None) -> None:
        stored = None if expect is None else await self._as_stored(expect)
        await self._store.put([self._encrypt(node) for node in nodes], stored)

    async def get(self, owner: str, id: str) -> Node | None:
        node = await self._store.get(owner, id)
        return None if node is None else self._decrypt(node)

    async def chain(self, owner: str, id: str) -> tuple[Node, ...]:
        return await self._decrypt_all(await self._store.chain(owner, id))

    async def find(self, owner: str, items: Sequence[str]) -> Mapping[str, Node]:
        found = await self._store.find(owner, items)
        distinct = {id(node): node for node in found.values()}  # one node may have many of the items
        nodes = dict(zip(distinct, await self._decrypt_all(tuple(distinct.values())), strict=True))
        return {item: nodes[id(node)] for item, node in found.items()}

    async def _decrypt_all(self, nodes: tuple[Node, ...]) -> tuple[Node, ...]:
        """Return the decrypted ``nodes``. Other tasks run meanwhile, because there may be thousands."""
        found, work = [], 0
        for node in nodes:
            found.append(self._decrypt(node))
            work += NODE + len(node.body)
            if work > WORK_PER_TURN:
                work = 0
                await trio.lowlevel.checkpoint()
        return tuple(found)

    async def delete(self, owner: str, ids: Sequence[str]) -> int:
        return await self._store.delete(owner, ids)

    async def sweep(self) -> int:
        return await self._store.sweep()

    def limit_owners(self, most: Callable[[str], float]) -> None:
        self._store.limit_owners(most)

    async def size(self) -> Size:
        return await self._store.size()

    async def aclose(self) -> None:
        await self._store.aclose()

    async def _as_stored(self, expect: Node) -> Node:
        """Return ``expect`` as stored: encrypting a body again gives different bytes. Raises ``Changed``."""
        stored = await self._store.get(expect.owner, expect.id)
        if stored is None or self._decrypt(stored).body != expect.body:
            raise Changed
        return stored

    def _encrypt(self, node: Node) -> Node:
        return attrs.evolve(node, body=self._cipher.encrypt(node.body, _context_of(node)))

    def _decrypt(self, node: Node) -> Node:
        body = self._cipher.decrypt(node.body, _context_of(node))
        if body is None:
            context = json.dumps((node.owner, node.id, node.kind)).encode()
            body = self._cipher.decrypt_old(node.body, context)
        if body is None:
            raise Unavailable(UNREADABLE)
        return attrs.evolve(node, body=body)


def _mark(key: bytes) -> bytes:
    """Return a few bytes that identify a key without revealing it."""
    return hmac.digest(key, b"trigate: the mark of an encryption key", "sha256")[:MARK]


def _decrypt_with(cipher: AESGCM, sealed: bytes, context: bytes) -> bytes | None:
    try:
        return cipher.decrypt(sealed[:NONCE], sealed[NONCE:], context)
    except (InvalidTag, ValueError):  # ``ValueError`` for a text that is too short
        return None


def _context_of(node: Node) -> bytes:
    """Return the context of a node that stores return unchanged: without items that they cannot store."""
    items = tuple(filter(is_storable, node.items))
    return json.dumps((2, node.owner, node.id, node.kind, node.parent, items)).encode()
