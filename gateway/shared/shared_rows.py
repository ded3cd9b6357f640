"""Byte values shared by the workers of a machine.

A row has two copies of its value, each with a checksum and a version number. A writer locks the row's group and
overwrites the older copy; if it dies, the newer copy stays valid. Readers do not lock: they use the newest copy with a
correct checksum."""

import time
from collections import defaultdict
from collections.abc import Callable
from struct import Struct
from typing import Final
from zlib import crc32

import attrs

from gateway.shared.layout import GROUP, KEY, KEYS, find_key
from gateway.shared.memory import COPY, SharedMemory
from gateway.shared.rows import OWNER, Change

_MOST_CACHED: Final = 1024
"""Rows whose bytes a worker remembers, to skip the checksum while they are unchanged."""

_CHECKSUM_SIZE: Final = 4
"""The offset at which the checksummed bytes begin."""


@attrs.define(repr=False, eq=False)
class _Copy:
    """A valid copy of a row's value: its position and expiry. ``row`` is the whole row as read, if this is its newest
    copy."""

    place: int
    sequence: int
    value: bytes
    until: float
    row: bytes


class SharedRows:
    """The table ``name`` of ``memory``; all processes share ``clock``."""

    def __init__(
        self,
        memory: SharedMemory,
        name: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        rows: int | None = None,
        most_of_owner: int = GROUP,
    ) -> None:
        """Open the table; of its rows only the first ``rows``, all by default.

        An owner has at most ``most_of_owner`` rows in a group, even while others are free."""
        size = memory.layout.sizes[name]
        self._memory = memory
        self._map = memory.map
        self._clock = clock
        self._start = memory.layout.table(name)
        self._groups = (size.rows if rows is None else min(rows, size.rows)) // GROUP
        self._most_of_owner = most_of_owner
        self._group_size = size.group
        self._width = size.width
        self._copy_size = COPY.size + size.width
        self._row_size = 2 * self._copy_size
        self._heads = Struct("=" + f"8xQd{size.width}x" * 2 * GROUP)
        # groups, positions and contents of rows when they were last read or written
        self._cached: dict[bytes, tuple[int, int, _Copy]] = {}

    def read(self, key: bytes) -> bytes | None:
        if (cached := self._cached.get(key)) is not None:
            _, row, copy = cached
            if self._map[row : row + self._row_size] == copy.row:
                return copy.value if copy.until > self._clock() else None
        return self._read(key)

    def _read(self, key: bytes) -> bytes | None:
        now = self._clock()
        number, copy = self._find(key, group := self._group(key))
        if number is not None and copy is None:  # being written right now, or its writer died
            self._memory.lock(group)
            try:
                number, copy = self._find(key, group)
            finally:
                self._memory.unlock(group)
        if number is None or copy is None:
            return None
        if copy.row:
            self._cache(key, group, group + KEYS + number * self._row_size, copy)
        return copy.value if copy.until > now else None

    def _cache(self, key: bytes, group: int, row: int, copy: _Copy) -> None:
        if len(self._cached) >= _MOST_CACHED:
            self._cached.clear()
        self._cached[key] = group, row, copy

    def update(self, key: bytes, change: Change, keep: float) -> bytes | None:
        cached = self._cached.get(key)
        group = self._group(key) if cached is None else cached[0]
        self._memory.lock(group)
        try:
            now = self._clock()
            number: int | None
            copy: _Copy | None
            if cached is not None and self._map[cached[1] : cached[1] + self._row_size] == cached[2].row:
                number, copy = (cached[1] - group - KEYS) // self._row_size, cached[2]
            else:
                number, copy = self._find(key, group)
            value = change(None if copy is None or copy.until <= now else copy.value, now)
            if copy is not None or value is not None:
                self._write(key, (group, number, copy), value, now, keep)
        finally:
            self._memory.unlock(group)
        return value

    def _group(self, key: bytes) -> int:
        """Return the start of the group of rows to which ``key`` belongs."""
        return self._start + self._memory.hash_of(key) % self._groups * self._group_size

    def _find(self, key: bytes, group: int) -> tuple[int | None, _Copy | None]:
        """Return the number of a row and its current copy."""
        number = find_key(self._map, key, group)
        return number, None if number is None else self._newest_copy(key, group, number)

    def _newest_copy(self, key: bytes, group: int, number: int) -> _Copy | None:
        """Return the newest valid copy of a row. If it is written twice meanwhile, none may seem valid."""
        size, row = self._copy_size, group + KEYS + number * self._row_size
        both = self._map[row : row + self._row_size]
        one, two = COPY.unpack_from(both), COPY.unpack_from(both, size)
        newest_first = ((0, one, both), (size, two, b"")) if one[2] > two[2] else ((size, two, both), (0, one, b""))
        for start, (checksum, length, sequence, until), whole in newest_first:
            value = start + COPY.size
            if checksum == crc32(both[start + _CHECKSUM_SIZE : value + length], crc32(key)):
                return _Copy(row + start, sequence, both[value : value + length], until, whole)
        return None

    # Under the lock of the row's group

    def _write(
        self, key: bytes, found: tuple[int, int | None, _Copy | None], value: bytes | None, now: float, keep: float
    ) -> None:
        """Write the next version of a row, or the first one into a free row. Without a value, the row expires.

        ``found`` are its group, its number and its current copy."""
        if value is not None and len(value) > self._width:
            raise ValueError(f"a value of {len(value)} bytes exceeds the maximum of {self._width}")
        group, number, copy = found
        is_new = number is None
        if number is None:
            number = self._free_row(group, now, key[:OWNER])
            copy = self._newest_copy(self._key_of_row(group, number), group, number)
        place, sequence = self._next_version(group, number, copy)
        value, until = (b"", 0.0) if value is None else (value, now + keep)
        data = COPY.pack(0, len(value), sequence, until)[_CHECKSUM_SIZE:] + value
        self._map[place : place + _CHECKSUM_SIZE + len(data)] = (
            crc32(data, crc32(key)).to_bytes(_CHECKSUM_SIZE, "little") + data
        )
        if is_new:  # last: until now the row belongs to its previous key
            self._map[group + number * KEY : group + (number + 1) * KEY] = key
        start = group + KEYS + number * self._row_size
        written = self._map[start : start + self._row_size]
        self._cache(key, group, start, _Copy(place, sequence, value, until, written))

    def _next_version(self, group: int, number: int, copy: _Copy | None) -> tuple[int, int]:
        """Return the position and number of the version after ``copy``; without a valid copy, above all existing
        numbers."""
        row = group + KEYS + number * self._row_size
        if copy is not None:
            return row if copy.place != row else row + self._copy_size, copy.sequence + 1
        one, two = COPY.unpack_from(self._map, row), COPY.unpack_from(self._map, row + self._copy_size)
        return row, max(one[2], two[2]) + 1

    def _free_row(self, group: int, now: float, owner: bytes) -> int:
        """Return the number of a row for a new key of ``owner``: a free one, or the next to expire.

        In a full group, the row is one of the owner with the most rows there; one of ``owner`` if it has too many."""
        ends: list[tuple[float, int, bytes]] = []
        numbers: defaultdict[bytes, int] = defaultdict(int, {owner: 1})
        limited, free = self._most_of_owner < GROUP, None
        keys = self._map[group : group + KEYS]
        heads = self._heads.unpack_from(self._map, group + KEYS)
        for number in range(GROUP):
            sequence, until, other_sequence, other_until = heads[4 * number : 4 * number + 4]
            if other_sequence > sequence:
                until = other_until  # without the checksum: a row with a lost value expires as well
            if until <= now:
                if not limited:
                    return number
                free = number if free is None else free
                continue
            name = keys[number * KEY : number * KEY + OWNER]
            ends.append((until, number, name))
            numbers[name] += 1
        if limited and numbers[owner] > self._most_of_owner:
            return min(end for end in ends if end[2] == owner)[1]
        if free is not None:
            return free
        most = max(numbers[one] for _, _, one in ends)
        return min(end for end in ends if numbers[end[2]] == most)[1]

    def _key_of_row(self, group: int, number: int) -> bytes:
        """Return the last key of a row."""
        return self._map[group + number * KEY : group + (number + 1) * KEY]
