"""The protocol of response stores, and the store in the memory of this process."""

import time
from collections.abc import Callable
from typing import Final, Protocol

import trio

from gateway.shared.owned_entries import OwnedEntries


class AnswerStoreUnavailable(Exception):
    """An error: the store is unavailable. The message is for the operator and contains no secrets."""


class AnswerStore(Protocol):
    """A store of values under 32-byte keys.

    When full, it drops the least recently used values. No owner gets more than half of it. A cancelled write stores all
    or nothing. Methods raise ``AnswerStoreUnavailable``."""

    async def run(self) -> None:
        """Run background work; must run while the store is in use."""

    async def get(self, key: bytes) -> bytes | None:
        """Return the value under ``key``, ``None`` if it is missing or expired."""

    async def put(self, key: bytes, owner: str, value: bytes, ttl: float) -> None:
        """Store ``value`` for ``ttl`` seconds, replacing any other under ``key``."""

    async def aclose(self) -> None: ...


ENTRY: Final = 300
"""The overhead of an entry in bytes."""


class MemoryAnswers:
    """A response store of ``max_bytes`` bytes in memory. When full, the owner with the most bytes loses its least
    recently used value."""

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._most = max_bytes // 2
        self._owners: dict[bytes, str] = {}  # by key
        self._entries: OwnedEntries[str, bytes, tuple[bytes, bytes, float]] = OwnedEntries(
            max_bytes, most_of_owner=self._most, on_drop=lambda dropped: self._owners.pop(dropped[0])
        )

    async def run(self) -> None:
        return

    async def get(self, key: bytes) -> bytes | None:
        await trio.lowlevel.cancel_shielded_checkpoint()  # the caller's time limit must not count this process's delay
        owner = self._owners.get(key)
        entry = None if owner is None else self._entries.get(owner, key)
        if owner is None or entry is None:
            return None
        _, value, until = entry
        if until <= self._clock():
            self._remove(key)
            return None
        self._entries.put(owner, key, entry, len(value) + ENTRY)  # used most recently
        return value

    async def put(self, key: bytes, owner: str, value: bytes, ttl: float) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()
        self._remove(key)
        if (size := len(value) + ENTRY) <= self._most:
            self._owners[key] = owner
            self._entries.put(owner, key, (key, value, self._clock() + ttl), size)

    async def aclose(self) -> None:
        self._entries.clear()

    def _remove(self, key: bytes) -> None:
        if (owner := self._owners.pop(key, None)) is not None:
            self._entries.remove(owner, key)
