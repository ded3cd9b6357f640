"""Encryption at rest for any response store. Requires the extra ``encryption``."""

from collections.abc import Sequence

from gateway.features.answer_cache.store import AnswerStore
from gateway.stores.encrypted import BodyCipher


class EncryptedAnswers:
    """A response store that encrypts values, each bound to its key. Values that no key decrypts count as missing."""

    def __init__(self, store: AnswerStore, keys: Sequence[bytes]) -> None:
        self._store = store
        self._cipher = BodyCipher(keys)

    async def run(self) -> None:
        await self._store.run()

    async def get(self, key: bytes) -> bytes | None:
        sealed = await self._store.get(key)
        return None if sealed is None else self._cipher.decrypt(sealed, key)

    async def put(self, key: bytes, owner: str, value: bytes, ttl: float) -> None:
        await self._store.put(key, owner, self._cipher.encrypt(value, key), ttl)

    async def aclose(self) -> None:
        await self._store.aclose()
