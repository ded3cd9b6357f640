"""Answers in the memory of this process."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import attrs
import trio

ENTRY: Final = 300
"""Bytes that an answer takes beside its own."""


@attrs.frozen
class _KeptAnswer:
    owner: str
    value: bytes
    until: float

    @property
    def size(self) -> int:
        return len(self.value) + ENTRY


class MemoryAnswers:
    """An ``AnswerStore`` of ``max_bytes`` bytes."""

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.time) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._kept: OrderedDict[bytes, _KeptAnswer] = OrderedDict()  # the least recently used first
        self._owned: dict[str, OrderedDict[bytes, None]] = {}
        self._owners: dict[str, int] = {}
        self.bytes = 0

    async def run(self) -> None:
        return

    async def get(self, key: bytes) -> bytes | None:
        await trio.lowlevel.checkpoint()
        kept = self._kept.get(key)
        if kept is None:
            return None
        if kept.until <= self._clock():
            self._remove(key)
            return None
        self._kept.move_to_end(key)
        self._owned[kept.owner].move_to_end(key)
        return kept.value

    async def put(self, key: bytes, owner: str, value: bytes, ttl: float) -> None:
        await trio.lowlevel.checkpoint()
        kept = _KeptAnswer(owner, value, self._clock() + ttl)
        self._remove(key)
        if kept.size > self._max_bytes // 2:
            return
        while self._owners.get(owner, 0) + kept.size > self._max_bytes // 2:
            self._remove(next(iter(self._owned[owner])))
        while self.bytes + kept.size > self._max_bytes:
            self._remove(next(iter(self._kept)))
        self._kept[key] = kept
        self._owned.setdefault(owner, OrderedDict())[key] = None
        self._count(owner, kept.size)

    async def aclose(self) -> None:
        self._kept.clear()

    def _remove(self, key: bytes) -> None:
        if (kept := self._kept.pop(key, None)) is None:
            return
        del self._owned[kept.owner][key]
        self._count(kept.owner, -kept.size)
        if not self._owned[kept.owner]:
            del self._owned[kept.owner], self._owners[kept.owner]

    def _count(self, owner: str, size: int) -> None:
        self._owners[owner] = self._owners.get(owner, 0) + size
        self.bytes += size
