"""A memory of the results of reading JSON, by the process's own hash of its bytes."""

from typing import Final, Generic, TypeVar

import attrs

T = TypeVar("T")

_SAMPLE: Final = 256
"""Bytes at the end of a known part that are compared first."""

_MOST_SEGMENTS: Final = 64

_VALUES: Final = 8
"""Lists of tools, system texts and single items that are remembered for each history."""

MOST_MEMO: Final = 4 * 2**20
"""Bytes of the digests in a memo. A history of 200,000 blocks has 3.2 MB."""

_PIECE: Final = 2**16
"""Bytes that are hashed in one call."""


@attrs.frozen(repr=False, eq=False)
class KnownPart(Generic[T]):
    """A known beginning of a list: the hashes of its segments, each with its end, and that of its last bytes.

    Each turn of a conversation adds a segment, so that only its own bytes are hashed once more."""

    name: str
    segments: tuple[tuple[int, int], ...]
    sample: int
    value: T
    size: int

    @property
    def length(self) -> int:
        """The bytes of the part."""
        return self.segments[-1][0]

    def is_start_of(self, view: memoryview) -> bool:
        """Return whether a list begins with this part."""
        start = 0
        for end, known in self.segments:
            if _hash(view, start, end) != known:
                return False
            start = end
        return True


class BlockMemo:
    """A bounded memory of lists of tools, of system texts, of items and of the beginnings of histories.

    The owner keeps one for each client key, so that no client learns from the time of reading what another sent. It
    remembers ``most`` histories and eight times as many other values, with at most ``MOST_MEMO`` bytes of digests; the
    least recently used are dropped first. It has no text: only digests, and hashes with the process's random key.
    ``size`` are the bytes of all digests."""

    def __init__(self, most: int = 16) -> None:
        self._most = most
        self._parts: dict[tuple[str, tuple[tuple[int, int], ...]], KnownPart[object]] = {}
        self._values: dict[tuple[str, int, int], tuple[object, int]] = {}
        self.size = 0

    def value(self, name: str, raw: bytes) -> object | None:
        """Return the value that was stored for all of ``raw``."""
        key = (name, len(raw), hash(raw))
        if (found := self._values.pop(key, None)) is not None:
            self._values[key] = found
            return found[0]
        return None

    def store(self, name: str, raw: bytes, value: object, size: int) -> None:
        """Store the ``value`` of all of ``raw``, which has ``size`` bytes of digests."""
        key = (name, len(raw), hash(raw))
        self.size += size - self._values.pop(key, (None, 0))[1]
        self._values[key] = value, size
        while len(self._values) > _VALUES * self._most or (self.size > MOST_MEMO and self._values):
            self.size -= self._values.pop(next(iter(self._values)))[1]

    def longest_part(self, name: str, view: memoryview, most: int | None = None) -> KnownPart[object] | None:
        """Return the longest known part with ``name`` at the start of ``view``, of at most ``most`` bytes."""
        limit = len(view) if most is None else min(len(view), most + 1)
        fitting = [
            part
            for part in list(self._parts.values())
            if part.name == name and part.length < limit and _sample(view, part.length) == part.sample
        ]
        for part in sorted(fitting, key=lambda part: part.length, reverse=True):
            if part.is_start_of(view):
                self._add(part)
                return part
        return None

    def store_part(
        self, name: str, view: memoryview, length: int, value: object, size: int,
        before: KnownPart[object] | None = None,
    ) -> None:  # fmt: skip
        """Store the ``value`` of the first ``length`` bytes of ``view``, which begin with the part ``before``."""
        segments = () if before is None or len(before.segments) >= _MOST_SEGMENTS else before.segments
        start = segments[-1][0] if segments else 0
        if length > start:
            segments = (*segments, (length, _hash(view, start, length)))
        self._add(KnownPart(name, segments, _sample(view, length), value, size))
        if before is not None and length > before.length:
            self._remove((before.name, before.segments))

    def _add(self, part: KnownPart[object]) -> None:
        key = (part.name, part.segments)
        self._remove(key)
        self._parts[key] = part
        self.size += part.size
        while len(self._parts) > self._most or (self.size > MOST_MEMO and self._parts):
            self._remove(next(iter(self._parts)))

    def _remove(self, key: tuple[str, tuple[tuple[int, int], ...]]) -> None:
        if (part := self._parts.pop(key, None)) is not None:
            self.size -= part.size


def _sample(view: memoryview, length: int) -> int:
    return hash(bytes(view[max(length - _SAMPLE, 0) : length]))


def _hash(view: memoryview, start: int, end: int) -> int:
    """Return the process's hash of bytes, piece by piece: a copy of a small piece stays in the processor's cache."""
    return hash(tuple([hash(bytes(view[at : min(at + _PIECE, end)])) for at in range(start, end, _PIECE)]))
