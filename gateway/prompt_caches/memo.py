"""A memory of the results of reading JSON, by the process's own hash of its bytes."""

from collections.abc import Hashable
from operator import attrgetter
from typing import Final, Generic, TypeVar

import attrs

T = TypeVar("T")

_SAMPLE: Final = 256
"""Bytes at the end of a known part that are compared first."""

_VALUES: Final = 8
"""Lists of tools, system texts and single items that are remembered for each history."""

MOST_MEMO: Final = 4 * 2**20
"""Bytes of the digests in a memo. A history of 200,000 blocks has 3.2 MB."""

_PIECE: Final = 2**16
"""Bytes that are hashed in one call: a copy of a small piece stays in the processor's cache."""


@attrs.frozen(repr=False, eq=False)
class KnownPart(Generic[T]):
    """A known beginning of a list: its ``length`` in bytes, and the hashes of its pieces and of its last bytes."""

    name: str
    length: int
    hashes: tuple[int, ...]
    sample: int
    value: T
    size: int


class BlockMemo:
    """A bounded memory of lists of tools, of system texts, of items and of the beginnings of histories.

    The owner keeps one for each client key, so that no client learns from the time of reading what another sent. It
    remembers ``most`` histories and eight times as many other values, with at most ``MOST_MEMO`` bytes of digests; the
    least recently used are dropped first. It has no text: only digests, and hashes with the process's random key.
    ``size`` are the bytes of all digests."""

    def __init__(self, most: int = 16) -> None:
        self._most = most
        self._parts: dict[tuple[str, int, tuple[int, ...]], KnownPart[object]] = {}
        self._values: dict[tuple[Hashable, int, int], tuple[object, int]] = {}
        self.size = 0

    def value(self, name: Hashable, raw: bytes) -> object | None:
        """Return the value that was stored for all of ``raw``."""
        key = (name, len(raw), hash(raw))
        if (found := self._values.pop(key, None)) is not None:
            self._values[key] = found
            return found[0]
        return None

    def store(self, name: Hashable, raw: bytes, value: object, size: int) -> None:
        """Store the ``value`` of all of ``raw``, which has ``size`` bytes of digests."""
        key = (name, len(raw), hash(raw))
        self.size += size - self._values.pop(key, (None, 0))[1]
        self._values[key] = value, size
        while len(self._values) > _VALUES * self._most or (self.size > MOST_MEMO and self._values):
            self.size -= self._values.pop(next(iter(self._values)))[1]

    def longest_part(self, name: str, view: memoryview, most: int | None = None) -> KnownPart[object] | None:
        """Return the longest known part with ``name`` at the start of ``view``, of at most ``most`` bytes."""
        limit = len(view) if most is None else min(len(view), most + 1)
        fitting = [part for part in list(self._parts.values()) if part.name == name and part.length < limit]
        for part in sorted(fitting, key=attrgetter("length"), reverse=True):
            if _sample(view, part.length) == part.sample and _hashes(view, 0, part.length) == part.hashes:
                self._add(part)
                return part
        return None

    def store_part(
        self, name: str, view: memoryview, length: int, value: object, size: int,
        before: KnownPart[object] | None = None,
    ) -> None:  # fmt: skip
        """Store the ``value`` of the first ``length`` bytes of ``view``, which begin with the part ``before``."""
        known = () if before is None else before.hashes[: min(before.length, length) // _PIECE]
        hashes = (*known, *_hashes(view, len(known) * _PIECE, length))
        self._add(KnownPart(name, length, hashes, _sample(view, length), value, size))
        if before is not None and length > before.length:
            self._remove(before)

    def _add(self, part: KnownPart[object]) -> None:
        self._remove(part)
        self._parts[part.name, part.length, part.hashes] = part
        self.size += part.size
        while len(self._parts) > self._most or (self.size > MOST_MEMO and self._parts):
            self._remove(next(iter(self._parts.values())))

    def _remove(self, part: KnownPart[object]) -> None:
        if (known := self._parts.pop((part.name, part.length, part.hashes), None)) is not None:
            self.size -= known.size


def _sample(view: memoryview, length: int) -> int:
    return hash(bytes(view[max(length - _SAMPLE, 0) : length]))


def _hashes(view: memoryview, start: int, end: int) -> tuple[int, ...]:
    """Return Python's hashes of the pieces from ``start`` to ``end``. They differ between processes."""
    return tuple([hash(bytes(view[at : min(at + _PIECE, end)])) for at in range(start, end, _PIECE)])
