"""The protocol of response stores, and the store in the memory of this process."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

import attrs
import trio


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


@attrs.frozen(eq=False, repr=False)
class _Entry:
    owner: str
    value: bytes
    until: float

    @property
    def size(self) -> int:
        return len(self.value) + ENTRY


class MemoryAnswers:
    """A response store of ``max_bytes`` bytes in memory."""

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()  # least recently used first
        self._keys_by_owner: dict[str, OrderedDict[bytes, None]] = {}
        self._owner_sizes: dict[str, int] = {}
        self.bytes = 0

    async def run(self) -> None:
        return

    async def get(self, key: bytes) -> bytes | None:
        await trio.lowlevel.cancel_shielded_checkpoint()  # the caller's time limit must not count this process's delay
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.until <= self._clock():
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        self._keys_by_owner[entry.owner].move_to_end(key)
        return entry.value

    async def put(self, key: bytes, owner: str, value: bytes, ttl: float) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()
        entry = _Entry(owner, value, self._clock() + ttl)
        self._remove(key)
        if entry.size > self._max_bytes // 2:
            return
        while self._owner_sizes.get(owner, 0) + entry.size > self._max_bytes // 2:
            self._remove(next(iter(self._keys_by_owner[owner])))
        while self.bytes + entry.size > self._max_bytes:
            self._remove(next(iter(self._entries)))
        self._entries[key] = entry
        self._keys_by_owner.setdefault(owner, OrderedDict())[key] = None
        self._count(owner, entry.size)

    async def aclose(self) -> None:
        self._entries.clear()

    def _remove(self, key: bytes) -> None:
        if (entry := self._entries.pop(key, None)) is None:
            return
        del self._keys_by_owner[entry.owner][key]
        self._count(entry.owner, -entry.size)
        if not self._keys_by_owner[entry.owner]:
            del self._keys_by_owner[entry.owner], self._owner_sizes[entry.owner]

    def _count(self, owner: str, size: int) -> None:
        self._owner_sizes[owner] = self._owner_sizes.get(owner, 0) + size
        self.bytes += size
