"""Encryption at rest over any store of answers. Needs the extra ``encryption``."""

import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.answer_cache.store import AnswerStore

NONCE: Final = 12


class EncryptedAnswers:
    """An ``AnswerStore`` over ``store`` with values in AES-256-GCM, each bound to its key. ``keys`` are 32 bytes each:
    the first writes, all read. What none of them reads is not there."""

    def __init__(self, store: AnswerStore, keys: Sequence[bytes]) -> None:
        self._store = store
        self._ciphers = tuple(map(AESGCM, keys))

    async def run(self) -> None:
        await self._store.run()

    async def get(self, key: bytes) -> bytes | None:
        sealed = await self._store.get(key)
        if sealed is None:
            return None
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(sealed[:NONCE], sealed[NONCE:], key)
            except (InvalidTag, ValueError):  # the latter for what is too short
                continue
        return None

    async def put(self, key: bytes, owner: str, value: bytes, ttl: float) -> None:
        nonce = os.urandom(NONCE)
        await self._store.put(key, owner, nonce + self._ciphers[0].encrypt(nonce, value, key), ttl)

    async def aclose(self) -> None:
        await self._store.aclose()
