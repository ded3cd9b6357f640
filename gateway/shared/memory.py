"""The memory that the workers of one machine share: a file without a name, mapped by each; and a worker's seat in it.

Locks are locks of bytes of that file (``fcntl``): the system gives them back when their process ends, however it ends,
in the middle of a write, too. They are between processes: whoever uses the memory in one does so from one thread.
"""

import contextlib
import fcntl
import mmap
import os
import struct
import tempfile
from array import array
from collections.abc import Iterator
from typing import IO, Final

from gateway.shared.layout import AMOUNT, COPY_HEAD, FINGERPRINT, GROUP, JOURNAL, KEYS, Layout, seats_of


def nameless() -> IO[bytes]:
    """A file that no directory holds: in memory where the system has that (Linux), else in the temporary directory. It
    goes with the last process that has it, however that ends, and nobody else can open it. Raises ``OSError``."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("trigate"), "w+b", buffering=0)
    return tempfile.TemporaryFile(prefix="trigate-", buffering=0)


COPY: Final = struct.Struct("=IIQd")
"""In front of a copy: checksum of the rest, the key included; length of the value; the number of the version; until
when it is kept."""

assert COPY.size == COPY_HEAD

_NONE: Final = memoryview(array("Q", bytes(8 * GROUP)))


class SharedMemory:
    """One process's view of the memory in the file ``fd``."""

    def __init__(self, fd: int, layout: Layout) -> None:
        self.fd = fd
        self.layout = layout
        self.map = mmap.mmap(fd, layout.size)
        self.words = memoryview(self.map).cast("Q")
        """The same in words of eight bytes, each of which is read and written at once, never half of it."""
        self._own: int | None = None

    @classmethod
    @contextlib.contextmanager
    def make(cls, layout: Layout) -> Iterator["SharedMemory"]:
        """An empty one, for as long as the block. Raises ``OSError``."""
        with nameless() as file:
            os.ftruncate(file.fileno(), layout.size)
            os.pwrite(file.fileno(), layout.fingerprint, 0)
            yield cls(file.fileno(), layout)

    @classmethod
    def join(cls, fd: int) -> "SharedMemory":
        """That of the file ``fd``, which is inherited. Raises ``ValueError`` for one that another version has made, and
        ``OSError``."""
        fingerprint = os.pread(fd, FINGERPRINT, 0)
        layout = Layout(seats_of(fingerprint))
        if layout.fingerprint != fingerprint:
            raise ValueError("the memory of workers is another version's")
        return cls(fd, layout)

    def lock(self, place: int) -> None:
        """Wait until no other process has locked ``place``. Whoever locks several does it in their order."""
        fcntl.lockf(self.fd, fcntl.LOCK_EX, 1, place)

    def unlock(self, place: int) -> None:
        fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, place)

    def tidy(self) -> None:
        """Take back what dead processes have held."""
        for number in range(self.layout.seats):
            if self._taken(number) and number != self._own and self._try(number):
                self._clear(number)
                self.unlock(self.layout.seat(number))

    def take_seat(self) -> int:
        """Take a free seat for as long as this process lives, and return its number. Raises ``OSError`` where there is
        none."""
        for number in range(self.layout.seats):
            if self._try(number):
                self._clear(number)
                self.words[self.layout.seat(number) // 8] = os.getpid()
                self._own = number
                return number
        raise OSError("all seats are taken in the memory of workers")

    def is_seated(self, number: int, process: int) -> bool:
        """Return whether the process with that id has the seat."""
        return self.words[self.layout.seat(number) // 8] == process

    def _taken(self, number: int) -> bool:
        """Whether somebody has it, or had it and did not free it."""
        return self.words[self.layout.seat(number) // 8] != 0

    def _try(self, number: int) -> bool:
        """Lock a seat, if nobody has it."""
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self.layout.seat(number))
        except (BlockingIOError, PermissionError):  # POSIX lets systems choose
            return False
        return True

    def _clear(self, number: int) -> None:
        """Free a seat, which is locked, of what its last owner has left."""
        if self._taken(number):
            self._release(number)
        self.words[self.layout.seat(number) // 8] = 0

    def replay(self) -> None:
        """Write what a dead worker has left in the journal of amounts to its places. The amounts are locked."""
        words, journal = self.words, self.layout.amounts // 8
        if count := words[journal]:
            for entry in range(journal + 1, journal + 1 + 2 * count, 2):
                words[words[entry]] = words[entry + 1]
            words[journal] = 0

    def _release(self, seat: int) -> None:
        """Give back the amounts that the last owner of a seat, which is locked, has held."""
        layout, row = self.layout, self.layout.amount_words
        self.lock(layout.amounts)
        try:
            self.replay()
            for group in range(layout.amount_rows // GROUP):
                first = (layout.amounts + JOURNAL + group * GROUP * row * 8 + (group + 1) * KEYS) // 8
                self.words[first + AMOUNT + seat : first + GROUP * row : row] = _NONE
        finally:
            self.unlock(layout.amounts)
