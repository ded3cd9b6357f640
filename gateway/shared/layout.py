"""The layout of the workers' shared memory: a head, the workers' seats, tables of rows, amounts.

Tables consist of groups of rows. A key belongs to one group and may be in any of its rows, so one lock suffices to find
it or make room for it. The system allocates a page on its first write, so tables may be larger than their usual
content."""

import mmap
import zlib
from collections.abc import Mapping
from typing import Final

import attrs

KEY: Final = 16
"""The size of a key. Keys are digests, distributed over groups by the memory's secret."""

GROUP: Final = 16
"""Rows per group. In a table that is a quarter full, one in a million keys finds its group full."""

KEYS: Final = GROUP * KEY
"""Bytes of a group's keys, which precede the values so that one search finds a key."""

HEAD: Final = 4096
"""Bytes of the head, which has the layout's fingerprint."""

SEAT: Final = 8
"""Bytes of a worker's seat, which has its process id."""

JOURNAL: Final = 16_384
"""Bytes of the journal of amounts: the number of words, then each word's number and new value."""

UNTIL: Final = 0
TOTAL: Final = 1
OWNER: Final = 2
AMOUNT: Final = 3
"""Words in a row of amounts: expiry by the clock in nanoseconds, the total, a digest of the client that chose the key,
then the amount of each seat."""

COPY_HEAD: Final = 24
"""Bytes before each of a row's two copies of its value."""


@attrs.frozen
class TableSize:
    """The size of a table: ``rows``, a multiple of ``GROUP``, with values up to ``width`` bytes, a multiple of
    eight."""

    rows: int
    width: int

    @property
    def group(self) -> int:
        """The size of a group in bytes."""
        return KEYS + GROUP * 2 * (COPY_HEAD + self.width)


MOST_PROMPT_MEMORY: Final = 256 * 2**20
"""Bytes for prompts in the workers' memory. The setting ``memory`` of ``prompt_cache`` may be lower."""

_PROMPT_TABLES: Final[Mapping[str, tuple[int, int]]] = {
    "prompt_parts": (12, 1_000),
    "prompt_anchors": (2, 64),
    "prompt_boundaries": (2, 40),
}
"""The sixteenths of the memory for prompts in each table, and its width."""


def prompt_tables(size: int) -> Mapping[str, TableSize]:
    """Return the tables of the memory of prompts, which together have ``size`` bytes."""
    return {
        name: TableSize(max(1, size * share // 16 // TableSize(GROUP, width).group) * GROUP, width)
        for name, (share, width) in _PROMPT_TABLES.items()
    }


SIZES: Final[Mapping[str, TableSize]] = {
    "circuits": TableSize(8_192, 64),
    "pins": TableSize(98_304, 16),
    "queues": TableSize(1_024, 22_400),
    **prompt_tables(MOST_PROMPT_MEMORY),
}
"""The tables by name; the number of rows limits the entries."""

AMOUNT_ROWS: Final[Mapping[str, int]] = {
    "configured": 131_072, "chosen": 131_072, "open": 16_384, "unlisted": 262_144,
}  # fmt: skip
"""The rows of each table of amounts.

``configured`` is for limits of the configuration, ``chosen`` for limits of names that clients choose, such as runs,
``open`` for counts of open responses, and ``unlisted`` for limits of clients that no list has, whose number
others decide. Clients therefore cannot take rows from the configuration."""


@attrs.frozen
class Layout:
    """The positions in the memory of ``seats`` workers; ``size`` is the total length."""

    seats: int
    sizes: Mapping[str, TableSize] = attrs.field(default=SIZES, hash=False)
    amount_rows: Mapping[str, int] = attrs.field(default=AMOUNT_ROWS, hash=False)

    @property
    def fingerprint(self) -> bytes:
        """A digest that differs between program versions with incompatible layouts."""
        tables = (self.seats, sorted(self.sizes.items()), list(self.amount_rows.items()))
        values = (KEY, GROUP, HEAD, SEAT, COPY_HEAD, JOURNAL, AMOUNT, SECRET, tables)
        return b"trigate1%08x%08x" % (self.seats, zlib.crc32(repr(values).encode()))

    def seat(self, number: int) -> int:
        return HEAD + number * SEAT

    def table(self, name: str) -> int:
        """Return the start of the table ``name``."""
        start = self.seat(self.seats)
        for other, size in self.sizes.items():
            if other == name:
                return start
            start += size.rows // GROUP * size.group
        raise KeyError(name)

    @property
    def amount_words(self) -> int:
        """The number of words in a row of amounts."""
        return AMOUNT + self.seats

    @property
    def amounts(self) -> int:
        """The start of the amounts: the journal, then the tables."""
        tables = sum(size.rows // GROUP * size.group for size in self.sizes.values())
        return -(-(self.seat(self.seats) + tables) // HEAD) * HEAD

    @property
    def amount_group(self) -> int:
        """The size of a group of amounts in bytes."""
        return KEYS + GROUP * self.amount_words * 8

    def amount_table(self, name: str) -> int:
        """Return the start of the table of amounts ``name``."""
        start = self.amounts + JOURNAL
        for other, rows in self.amount_rows.items():
            if other == name:
                return start
            start += rows // GROUP * self.amount_group
        raise KeyError(name)

    @property
    def size(self) -> int:
        groups = sum(rows // GROUP for rows in self.amount_rows.values())
        return -(-(self.amounts + JOURNAL + groups * self.amount_group) // HEAD) * HEAD


def find_key(memory: mmap.mmap, key: bytes, group: int) -> int | None:
    """Return the number of the row with ``key`` in the group whose keys begin at ``group``, ``None`` if there is
    none."""
    at = memory.find(key, group, group + KEYS)
    while at >= 0:
        number, remainder = divmod(at - group, KEY)
        if not remainder:
            return number
        at = memory.find(key, at + 1, group + KEYS)
    return None


def seats_of(fingerprint: bytes) -> int:
    """Return the number of seats in a memory's fingerprint. Raises ``ValueError`` for foreign memory."""
    if fingerprint[:8] != b"trigate1":
        raise ValueError("not the shared memory of workers")
    return int(fingerprint[8:16], 16)


FINGERPRINT: Final = 24
"""The size of a fingerprint."""

SECRET: Final = 64
SECRET_SIZE: Final = 16
"""The position and size of a random secret in the head. It decides which group a key belongs to, so that clients cannot
choose names that fall into one group."""
