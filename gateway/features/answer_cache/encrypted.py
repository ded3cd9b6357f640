"""Encryption at rest for any response store. Requires the extra ``encryption``."""

import os
from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.features.answer_cache.store import AnswerStore

NONCE: Final = 12


class EncryptedAnswers:
    """A response store that encrypts values with AES-256-GCM, each bound to its key.

    ``keys`` have 32 bytes each: the first encrypts, all decrypt. Values that none decrypts count as missing."""

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
            except (InvalidTag, ValueError):  # ``ValueError`` for a value that is too short
                continue
        return None

    async def put(self, key: bytes, owner: str, value: bytes, ttl: float) -> None:
        nonce = os.urandom(NONCE)
        await self._store.put(key, owner, nonce + self._ciphers[0].encrypt(nonce, value, key), ttl)

    async def aclose(self) -> None:
        await self._store.aclose()
