"""The memory shared by the workers of a machine: an anonymous file that each maps, and each worker's seat in it.

Locks are ``fcntl`` locks on bytes of the file: the system releases them when their process ends, even during a write.
They exclude processes, not threads: use the memory from one thread per process."""

import contextlib
import fcntl
import hashlib
import mmap
import os
import struct
import tempfile
from array import array
from collections.abc import Iterator
from typing import IO, Final

from gateway.shared.layout import (
    AMOUNT,
    COPY_HEAD,
    FINGERPRINT,
    GROUP,
    KEYS,
    SECRET,
    SECRET_SIZE,
    Layout,
    seats_of,
)


def anonymous_file() -> IO[bytes]:
    """Return an anonymous file, in memory if the system supports that (Linux), else in the temporary directory.

    It vanishes with the last process that has it open, and no other process can open it. Raises ``OSError``."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("trigate"), "w+b", buffering=0)
    return tempfile.TemporaryFile(prefix="trigate-", buffering=0)


COPY: Final = struct.Struct("=IIQd")
"""The header of a copy: checksum of the rest including the key, value length, version number, expiry."""

assert COPY.size == COPY_HEAD

_NONE: Final = memoryview(array("Q", bytes(8 * GROUP)))


class SharedMemory:
    """One process's view of the memory in the file ``fd``."""

    def __init__(self, fd: int, layout: Layout) -> None:
        self.fd = fd
        self.layout = layout
        self.map = mmap.mmap(fd, layout.size)
        self.words = memoryview(self.map).cast("Q")
        """The same as eight-byte words, each read and written atomically."""
        self._secret = self.map[SECRET : SECRET + SECRET_SIZE]
        self._own_seat: int | None = None

    @classmethod
    @contextlib.contextmanager
    def make(cls, layout: Layout) -> Iterator["SharedMemory"]:
        """Create an empty memory for the duration of the block. Raises ``OSError``."""
        with anonymous_file() as file:
            os.ftruncate(file.fileno(), layout.size)
            os.pwrite(file.fileno(), layout.fingerprint, 0)
            os.pwrite(file.fileno(), os.urandom(SECRET_SIZE), SECRET)
            yield cls(file.fileno(), layout)

    @classmethod
    def join(cls, fd: int) -> "SharedMemory":
        """Map the memory in the inherited file ``fd``. Raises ``ValueError`` for another version's layout, and
        ``OSError``."""
        fingerprint = os.pread(fd, FINGERPRINT, 0)
        layout = Layout(seats_of(fingerprint))
        if layout.fingerprint != fingerprint:
            raise ValueError("the shared memory of workers is from another version")
        return cls(fd, layout)

    def derive_key(self, purpose: bytes) -> bytes:
        """Return 32 bytes that only processes of this memory can compute, others for each ``purpose``."""
        return hashlib.blake2b(purpose, digest_size=32, key=self._secret).digest()

    def hash_of(self, key: bytes) -> int:
        """Return the first of the hashes of ``key``."""
        return int.from_bytes(hashlib.blake2b(key, digest_size=16, key=self._secret).digest()[:8], "little")

    def hashes_of(self, key: bytes) -> tuple[int, int]:
        """Return two 64-bit hashes of ``key``, which only processes of this memory can compute."""
        made = hashlib.blake2b(key, digest_size=16, key=self._secret).digest()
        return int.from_bytes(made[:8], "little"), int.from_bytes(made[8:], "little")

    def lock(self, place: int) -> None:
        """Wait for the lock of the byte at ``place``. Take several locks in ascending order."""
        fcntl.lockf(self.fd, fcntl.LOCK_EX, 1, place)

    def unlock(self, place: int) -> None:
        fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, place)

    def release_dead(self) -> None:
        """Free the seats of dead processes, and the amounts that they held."""
        for number in range(self.layout.seats):
            if self._has_owner(number) and number != self._own_seat and self._try_lock(number):
                self._clear(number)
                self.unlock(self.layout.seat(number))

    def take_seat(self) -> int:
        """Take a free seat for the life of this process, and return its number. Raises ``OSError`` without a free
        one."""
        for number in range(self.layout.seats):
            if self._try_lock(number):
                self._clear(number)
                self.words[self.layout.seat(number) // 8] = os.getpid()
                self._own_seat = number
                return number
        raise OSError("the shared memory of workers has no free place for a worker")

    def has_seat(self, number: int, process: int) -> bool:
        """Return whether ``process`` has the seat ``number``."""
        return self.words[self.layout.seat(number) // 8] == process

    def _has_owner(self, number: int) -> bool:
        """Return whether the seat has an owner, or had one that did not free it."""
        return self.words[self.layout.seat(number) // 8] != 0

    def _try_lock(self, number: int) -> bool:
        """Lock a seat, and return whether it was free."""
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self.layout.seat(number))
        except (BlockingIOError, PermissionError):  # POSIX allows either error
            return False
        return True

    def _clear(self, number: int) -> None:
        """Clear a locked seat of its last owner's data."""
        if self._has_owner(number):
            self._release_amounts(number)
        self.words[self.layout.seat(number) // 8] = 0

    def replay(self) -> None:
        """Apply a dead worker's journal of amounts. Requires the lock of the amounts."""
        words, journal = self.words, self.layout.amounts // 8
        if count := words[journal]:
            for entry in range(journal + 1, journal + 1 + 2 * count, 2):
                words[words[entry]] = words[entry + 1]
            words[journal] = 0

    def _release_amounts(self, seat: int) -> None:
        """Release the amounts of a locked seat's last owner.

        Only its journal needs the lock of the amounts: no other process writes its amounts, or reuses their rows."""
        layout, row = self.layout, self.layout.amount_words
        self.lock(layout.amounts)
        try:
            self.replay()
        finally:
            self.unlock(layout.amounts)
        for name, rows in layout.amount_rows.items():
            start, size = layout.amount_table(name), layout.amount_group
            # Reading the file, unlike its map, allocates no pages for groups that were never used.
            table = memoryview(os.pread(self.fd, rows // GROUP * size, start)).cast("Q")
            for first in range(KEYS // 8, len(table), size // 8):
                if any(table[first + AMOUNT + seat : first + GROUP * row : row]):
                    at = start // 8 + first
                    self.words[at + AMOUNT + seat : at + GROUP * row : row] = _NONE
