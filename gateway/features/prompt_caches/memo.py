"""A memory of the results of reading JSON, by the process's own hash of its bytes. It has no text."""

import os
from collections.abc import Hashable, Sequence
from threading import Lock
from typing import Final, Generic, NamedTuple, TypeVar

from xxhash import xxh3_64, xxh3_64_intdigest

from gateway.features.prompt_caches.structures import Structure

T = TypeVar("T")

_SAMPLE: Final = 256
"""Bytes at the start and at the end of a beginning that are compared first."""

_MOST: Final = 32
"""The histories of a client whose beginnings are known, and the lists of tools or system texts for each four."""

MOST_MEMO: Final = 4 * 2**20
"""Bytes of memory of the values in a memo."""

_VALUE: Final = 1_000
"""Bytes of memory of a value besides its rows, and of a checkpoint."""

_KEPT: Final = 2
"""Earlier checkpoints of a history that remain, for requests that go back."""

_SEED: Final = int.from_bytes(os.urandom(8), "little")


class Checkpoint(Structure, frozen=True):
    """The first ``length`` bytes of a list, by the hashes of all of them and of the last ones.

    It has the first ``items`` items, and the first ``count`` blocks. ``hasher`` continues the hash."""

    length: int
    hasher: xxh3_64
    hash: int
    sample: int
    items: int
    count: int


class KnownList(Structure, Generic[T], frozen=True):
    """A list that was read, and the ``value`` of reading it. Its ``checkpoints`` are beginnings of it.

    ``head`` has the size and the hash of the start of all of them, by which most other lists differ."""

    name: str
    head: tuple[int, int]
    checkpoints: tuple[Checkpoint, ...]
    value: T
    size: int


class FoundBeginning(NamedTuple, Generic[T]):
    """A beginning of a request's list that a ``known`` one has as well."""

    known: KnownList[T]
    checkpoint: Checkpoint


class PromptMemo(Generic[T]):
    """A bounded memory of lists of tools, of system texts, and of the beginnings of histories.

    Each client has its own one, so that no client learns from the time of reading what another sent. It has at most
    ``MOST_MEMO`` bytes; the least recently used are dropped first. Any thread may search and store: it holds the lock
    only to change the memo, not to hash. ``size`` are the bytes of memory of all values."""

    def __init__(self) -> None:
        self._lists: list[KnownList[T]] = []
        self._values: dict[Hashable, tuple[T, int]] = {}
        self._lock = Lock()
        self.size = 0

    def value(self, name: Hashable) -> T | None:
        """Return the value that was stored with ``name``, which contains a ``hash_of`` its bytes."""
        with self._lock:
            if (found := self._values.pop(name, None)) is None:
                return None
            self._values[name] = found
            return found[0]

    def store(self, name: Hashable, value: T, size: int) -> None:
        """Store ``value``, which occupies ``size`` bytes."""
        with self._lock:
            before = self._values.pop(name, None)
            self.size += size + _VALUE - (0 if before is None else before[1])
            self._values[name] = value, size + _VALUE
            while len(self._values) > 4 * _MOST or (self.size > MOST_MEMO and self._values):
                self.size -= self._values.pop(next(iter(self._values)))[1]

    def find(self, name: str, view: memoryview, most: int | None = None) -> FoundBeginning[T] | None:
        """Return the longest known beginning of ``view``, a list of the kind ``name``, of at most ``most`` bytes."""
        limit = len(view) if most is None else min(len(view), most + 1)
        heads = {size: hash_of(view[:size]) for size in {known.head[0] for known in [*self._lists]}}
        fitting = [
            (one, known)
            for known in [*self._lists]
            if known.name == name and heads.get(known.head[0]) == known.head[1]
            for one in known.checkpoints
            if one.length < limit
        ]
        fitting.sort(key=lambda pair: pair[0].length, reverse=True)
        for one, known in fitting:
            if _sample(view, one.length) == one.sample and hash_of(view[: one.length]) == one.hash:
                return FoundBeginning(known, one)
        return None

    def store_list(
        self, name: str, view: memoryview, places: Sequence[tuple[int, int, int]], value: T, size: int,
        found: FoundBeginning[T] | None, *, replaces: bool,
    ) -> None:  # fmt: skip
        """Store the ``value`` of a list that begins with ``found``, whose list it ``replaces`` or not.

        ``places`` are the length, the items and the blocks of each new checkpoint, in order."""
        checkpoints, hasher, start = list[Checkpoint](), xxh3_64(b"", _SEED), 0
        if found is not None:
            hasher, start = found.checkpoint.hasher, found.checkpoint.length
            checkpoints += [one for one in found.known.checkpoints if one.length <= start][-_KEPT:]
        for length, items, count in places:
            (hasher := hasher.copy()).update(view[start:length])
            checkpoints.append(Checkpoint(length, hasher, hasher.intdigest(), _sample(view, length), items, count))
            start = length
        head = min(checkpoints[0].length, _SAMPLE) if checkpoints else 0
        size += len(checkpoints) * _VALUE
        new = KnownList(name, (head, hash_of(view[:head])), tuple(checkpoints), value, size)
        with self._lock:
            if found is not None and found.known in self._lists:
                self._remove(found.known)
                if not replaces:
                    self._add(found.known)
            if checkpoints:
                self._add(new)

    def _add(self, known: KnownList[T]) -> None:
        self._lists.append(known)
        self.size += known.size
        while len(self._lists) > _MOST or (self.size > MOST_MEMO and self._lists):
            self._remove(self._lists[0])

    def _remove(self, known: KnownList[T]) -> None:
        self._lists.remove(known)
        self.size -= known.size


def hash_of(view: memoryview | bytes) -> int:
    """Return a hash that other processes cannot predict. It takes 25 microseconds for a megabyte."""
    return xxh3_64_intdigest(view, _SEED)


def _sample(view: memoryview, length: int) -> int:
    return hash_of(view[max(length - _SAMPLE, 0) : length])
