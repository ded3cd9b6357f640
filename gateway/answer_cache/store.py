"""The protocol of response stores."""

from typing import Protocol


class AnswerStoreUnavailable(Exception):
    """An error: the store is unavailable. The message is for the operator and contains no secrets."""


class AnswerStore(Protocol):
    """A store of values under 32-byte keys.

    When full, it drops the least recently used values. No owner gets more than half of it. A cancelled write stores all
    or nothing. Methods raise ``AnswerStoreUnavailable``."""

    async def run(self) -> None:
        """Run background work; must run while the store is in use."""
        ...

    async def get(self, key: bytes) -> bytes | None:
        """Return the value under ``key``, ``None`` if it is missing or expired."""
        ...

    async def put(self, key: bytes, owner: str, value: bytes, ttl: float) -> None:
        """Store ``value`` for ``ttl`` seconds, replacing any other under ``key``."""
        ...

    async def aclose(self) -> None: ...
