"""A memory of the results of reading JSON, by the process's own hash of its bytes."""

import os
from collections.abc import Hashable, Sequence
from operator import attrgetter
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec
from xxhash import xxh3_64, xxh3_64_intdigest

from gateway.features.prompt_caches.structures import Structure

T = TypeVar("T")

_PartKey: TypeAlias = tuple[str, int, int]

_SAMPLE: Final = 256
"""Bytes at the end of a known part that are compared first."""

_VALUES: Final = 4
"""Lists of tools, system texts and single items that are remembered for each history."""

MOST_MEMO: Final = 4 * 2**20
"""Bytes of memory of the values in a memo. A history of 200,000 blocks has 3.2 MB."""

_VALUE: Final = 300
"""Bytes of memory of a value's name and its place."""

_PART: Final = 1_000
"""The same for a part, which has a hasher."""

_SEED: Final = int.from_bytes(os.urandom(8), "little")


class KnownPart(Structure, Generic[T], frozen=True):
    """A known beginning of a list: its ``length`` in bytes, and the hashes of all of them and of the last ones.

    ``hasher`` continues the hash for a longer part. ``before`` is the key of the part that it continues, if that is
    still needed."""

    name: str
    length: int
    hash: int
    hasher: xxh3_64
    sample: int
    value: T
    size: int
    before: "_PartKey | None" = None

    @property
    def key(self) -> "_PartKey":
        return self.name, self.length, self.hash


class BlockMemo:
    """A bounded memory of lists of tools, of system texts, of items and of the beginnings of histories.

    The owner keeps one for each client key, so that no client learns from the time of reading what another sent. It
    remembers ``most`` histories and four times as many other values, with at most ``MOST_MEMO`` bytes; the least
    recently used are dropped first. It has no text: only digests, and hashes with the process's random seed. ``size``
    are the bytes of memory of all values."""

    def __init__(self, most: int = 32) -> None:
        self._most = most
        self._parts: dict[_PartKey, KnownPart[object]] = {}
        self._values: dict[tuple[Hashable, int], tuple[object, int]] = {}
        self.size = 0

    def value(self, name: Hashable, *raw: bytes | msgspec.Raw) -> object | None:
        """Return the value that was stored for all pieces of ``raw``, whose sizes are in ``name`` if they are many."""
        key = name, _hash_all(raw)
        if (found := self._values.pop(key, None)) is not None:
            self._values[key] = found
            return found[0]
        return None

    def store(self, name: Hashable, raw: Sequence[bytes | msgspec.Raw], value: object, size: int) -> None:
        """Store ``value``, computed from all pieces of ``raw``; it occupies ``size`` bytes."""
        key, size = (name, _hash_all(raw)), size + _VALUE
        self.size += size - self._values.pop(key, (None, 0))[1]
        self._values[key] = value, size
        while len(self._values) > _VALUES * self._most or (self.size > MOST_MEMO and self._values):
            self.size -= self._values.pop(next(iter(self._values)))[1]

    def longest_part(self, name: str, view: memoryview, most: int | None = None) -> KnownPart[object] | None:
        """Return the longest known part with ``name`` at the start of ``view``, of at most ``most`` bytes."""
        limit = len(view) if most is None else min(len(view), most + 1)
        fitting = [part for part in list(self._parts.values()) if part.name == name and part.length < limit]
        for part in sorted(fitting, key=attrgetter("length"), reverse=True):
            if _sample(view, part.length) == part.sample and _hash(view[: part.length]) == part.hash:
                self._add(part)
                return part
        return None

    def store_part(
        self, name: str, view: memoryview, length: int, value: object, size: int,
        before: KnownPart[object] | None = None, end: bytes = b"",
    ) -> None:  # fmt: skip
        """Store the ``value`` of the first ``length`` bytes of ``view``, which begin with the part ``before``.

        With ``end``, the known part has these bytes at its end, although ``view`` has others. Then ``before`` is still
        needed, by a repeated request."""
        if before is None or length < before.length:
            hasher = xxh3_64(view[:length], _SEED)
        else:
            (hasher := before.hasher.copy()).update(view[before.length : length])
        sample, kept = _sample(view, length), None
        if end:
            hasher.update(end)
            sample = _hash((bytes(view[max(length - _SAMPLE, 0) : length]) + end)[-_SAMPLE:])
            length += len(end)
            kept = None if before is None else before.key
        self._add(KnownPart(name, length, hasher.intdigest(), hasher, sample, value, size + _PART, kept))
        if before is not None and length > before.length:
            self._remove(before.before if end else before.key)
            if not end:
                self._remove(before.before)

    def _add(self, part: KnownPart[object]) -> None:
        self._remove(part.key)
        self._parts[part.key] = part
        self.size += part.size
        while len(self._parts) > self._most or (self.size > MOST_MEMO and self._parts):
            self._remove(next(iter(self._parts)))

    def _remove(self, key: _PartKey | None) -> None:
        if key is not None and (known := self._parts.pop(key, None)) is not None:
            self.size -= known.size


def _hash(data: bytes | memoryview) -> int:
    """Return a hash that other processes cannot predict. It takes 25 microseconds for a megabyte."""
    return xxh3_64_intdigest(data, _SEED)


def _hash_all(pieces: Sequence[bytes | msgspec.Raw]) -> int:
    """Return the hash of ``pieces`` in a row, without a copy of them."""
    hasher = xxh3_64(b"", _SEED)
    for piece in pieces:
        hasher.update(piece)
    return hasher.intdigest()


def _sample(view: memoryview, length: int) -> int:
    return _hash(view[max(length - _SAMPLE, 0) : length])
