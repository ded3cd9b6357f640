"""Where everything lies in the memory that workers share: a head, the workers' seats, tables of rows, amounts.

Tables are cut into groups of rows. A key belongs into one group, and lies in any row of it: so that one lock is enough
to look for it, and to make room for it. A page of memory is taken by the system once something is written to it, so
tables may be larger than what is usually in them.
"""

import mmap
import zlib
from collections.abc import Mapping
from typing import Final

import attrs

KEY: Final = 16
"""Bytes of a key. Keys are digests: they are spread evenly over the groups by their first eight bytes."""

GROUP: Final = 16
"""Rows of a group. A table that is a quarter full has a group too many for one in a million keys."""

KEYS: Final = GROUP * KEY
"""Bytes of the keys of a group, which lie together in front, to be found by one search."""

HEAD: Final = 4096
"""Bytes in front of everything else: the fingerprint of the layout."""

SEAT: Final = 8
"""Bytes of a worker's seat: the process that has it."""

JOURNAL: Final = 16_384
"""Bytes of the journal of amounts: how many words are in it, then each word's number and what it will be."""

UNTIL: Final = 0
TOTAL: Final = 1
AMOUNT: Final = 2
"""Words of a row of amounts: the moment until which it is kept, by the clock in nanoseconds; the total; from the third
on what each seat holds."""

COPY_HEAD: Final = 24
"""Bytes in front of each of a row's two copies of its value."""


@attrs.frozen
class TableSize:
    """How much a table holds: ``rows``, a multiple of ``GROUP``, with values of at most ``width`` bytes, a multiple of
    eight."""

    rows: int
    width: int

    @property
    def group(self) -> int:
        """The bytes of a group."""
        return KEYS + GROUP * 2 * (COPY_HEAD + self.width)


SIZES: Final[Mapping[str, TableSize]] = {
    "circuits": TableSize(8_192, 64),
    "pins": TableSize(98_304, 16),
    "queues": TableSize(128, 22_400),
}
"""The tables, by their names. The number of rows is the bound on what is remembered."""

AMOUNTS: Final = 32_768
"""Keys that there are amounts or counts of."""


@attrs.frozen
class Layout:
    """Everything's place in the memory of ``seats`` workers. ``size`` is the length of all."""

    seats: int
    sizes: Mapping[str, TableSize] = attrs.field(default=SIZES, hash=False)
    amount_rows: int = AMOUNTS

    @property
    def fingerprint(self) -> bytes:
        """Differs wherever two versions of this program would not understand one another."""
        tables = (self.seats, sorted(self.sizes.items()), self.amount_rows)
        said = (KEY, GROUP, HEAD, SEAT, COPY_HEAD, JOURNAL, AMOUNT, tables)
        return b"trigate1%08x%08x" % (self.seats, zlib.crc32(repr(said).encode()))

    def seat(self, number: int) -> int:
        return HEAD + number * SEAT

    def table(self, name: str) -> int:
        """The beginning of the table of that name."""
        start = self.seat(self.seats)
        for other, size in self.sizes.items():
            if other == name:
                return start
            start += size.rows // GROUP * size.group
        raise KeyError(name)

    @property
    def amount_words(self) -> int:
        """Words of a row of amounts."""
        return AMOUNT + self.seats

    @property
    def amounts(self) -> int:
        """The beginning of the amounts: the journal, then the rows, of two words and one for each seat."""
        tables = sum(size.rows // GROUP * size.group for size in self.sizes.values())
        return -(-(self.seat(self.seats) + tables) // HEAD) * HEAD

    @property
    def size(self) -> int:
        return -(-(self.amounts + JOURNAL + self.amount_rows * (KEY + 8 * self.amount_words)) // HEAD) * HEAD


def find_key(memory: mmap.mmap, key: bytes, group: int) -> int | None:
    """The number of the row that has ``key``, of the group whose keys begin at ``group``."""
    at = memory.find(key, group, group + KEYS)
    while at >= 0:
        number, astray = divmod(at - group, KEY)
        if not astray:
            return number
        at = memory.find(key, at + 1, group + KEYS)
    return None


def seats_of(fingerprint: bytes) -> int:
    """The number of seats that a memory was made for. Raises ``ValueError`` for one that is not ours."""
    if fingerprint[:8] != b"trigate1":
        raise ValueError("no memory of workers")
    return int(fingerprint[8:16], 16)


FINGERPRINT: Final = 24
"""Bytes of a fingerprint."""
