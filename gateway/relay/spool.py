"""The spool: uploads that wait for a field after their file, in memory and then in temporary files.

Its default size depends on the free space of ``TMPDIR``, or on the memory limit if that is in memory."""

import functools
import math
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, TypeVar

import trio

from gateway.access.body_memory import HeldBody
from gateway.access.held_bytes import ByteShares, HeldBytes
from gateway.http.pieces import add_piece
from gateway.http.threads import OwnThreads, call_in_thread
from streams.errors import GatewayError

LARGEST: Final = 2 * 2**30
"""The default size of the spool in bytes, if there is room for it."""

MEMORY_SHARE: Final = 8
"""The part of the memory that the spool of a worker may use if ``TMPDIR`` is in memory: an eighth."""

_IN_MEMORY: Final = frozenset(("tmpfs", "ramfs"))
_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def free_space() -> int:
    """Return the free bytes of the file system with temporary files. Raises ``OSError``."""
    return shutil.disk_usage(tempfile.gettempdir()).free


@functools.cache
def default_size() -> int:
    """Return the default size of this process's spool in bytes. Raises ``OSError``."""
    return spool_size(Path(tempfile.gettempdir()))


def spool_size(directory: Path, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int:
    """Return the default size of a spool in ``directory``: ``LARGEST``, or less if the directory is in memory.

    Raises ``OSError``."""
    if _file_system(directory, proc) not in _IN_MEMORY:
        return LARGEST
    return min(LARGEST, memory_limit(proc, cgroups) // MEMORY_SHARE)


def memory_limit(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int:
    """Return the memory in bytes that this process may use: that of its cgroups, or of the machine."""
    return min([*_cgroup_limits(proc, cgroups), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")])


def _file_system(directory: Path, proc: Path) -> str:
    """Return the type of the file system of ``directory``, ``""`` if it is unknown."""
    device = os.stat(directory).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = (proc / "self/mountinfo").read_text().splitlines()
    except OSError:  # not Linux
        return ""
    for fields in map(str.split, mounts):
        if fields[2] == number and "-" in fields:
            return fields[fields.index("-") + 1]
    return ""


def _cgroup_limits(proc: Path, cgroups: Path) -> Iterator[int]:
    """Yield the memory limits in bytes of this process's cgroups, of version 1 or 2, and of their parents."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers not in ("", "memory"):
            continue
        root, name = (cgroups / controllers, "memory.limit_in_bytes") if controllers else (cgroups, "memory.max")
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            limit = _read_number(folder / name)
            if limit is not None:
                yield limit
            if folder == root:
                break


def _read_number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:  # a container sees its own group as the root
        return None
    return int(text) if text.isdecimal() else None


T = TypeVar("T")

MAX_IN_MEMORY: Final = 2**20
"""Bytes of one upload that wait in memory before they go to a file."""
DISK_BLOCK: Final = 256 * 1024
"""Bytes written to or read from the file at a time."""

_THREADS: Final = OwnThreads("the spool", 40)
"""The threads for the files of all uploads. A disk that does not respond keeps them, and delays nothing else."""

_MODEL_FIRST: Final = "send the field model before the file, or try again later"
_FULL: Final = f"uploads with the model after the file use all the disk space of limits.spool: {_MODEL_FIRST}"
_SHARE: Final = (
    "the client's uploads with the model after the file use its share of limits.spool, {} bytes: send the field model "
    "before the file, or wait until one finishes"
)
_DISK: Final = f"uploads with the model after the file use half of the free disk space: {_MODEL_FIRST}"
_TOO_LARGE: Final = (
    "the upload is larger than {} of limits.spool ({} bytes), where it waits for its model: send the field model "
    "before the file, or a smaller file"
)
_RETRY_AFTER: Final = (("retry-after", "5"),)


class SpoolAccount:
    """The disk space that one upload of ``holder`` uses.

    ``held`` is the space of all uploads of the process, and ``shares`` are the clients' shares of it. If ``most`` is
    ``None``, the spool has its default size, at most half of the ``free`` disk space."""

    def __init__(
        self,
        held: HeldBytes,
        shares: ByteShares,
        holder: str,
        most: int | None,
        free: Callable[[], int] = free_space,
    ) -> None:
        self._held = held
        self._shares = shares
        self._holder = holder
        self._most = most
        self._free = free
        self._size = 0

    async def take(self, size: int) -> None:
        """Count ``size`` more bytes. Raises ``GatewayError``: 413 if the upload can never fit, 429 or 503 if it does
        not fit now."""
        most, free = self._most, math.inf
        if most is None:
            most, free = await run_disk_work(default_size), await run_disk_work(self._free)
        share, own = self._shares.most(self._holder, most), self._size + size
        if own > share:
            raise GatewayError("too_large", _TOO_LARGE.format("the client's share" if share < most else "all", share))
        if share < most and self._held.held.get(self._holder, 0) + size > share:
            raise GatewayError("rate_limited", _SHARE.format(share), headers=_RETRY_AFTER)
        if self._held.total + size > most:
            raise GatewayError("overloaded", _FULL, headers=_RETRY_AFTER)
        if self._held.total + size > free - size:
            raise GatewayError("overloaded", _DISK, headers=_RETRY_AFTER)
        self._change(size)

    def release(self, size: int) -> None:
        self._change(-size)

    def _change(self, by: int) -> None:
        self._size += by
        self._held.change(self._holder, by)


class Spool:
    """A buffer for one upload, in memory and then in a file: all pieces are added before the first is read.

    ``account`` counts its disk space; another spool of the same upload may use it, too. ``close`` deletes the file."""

    def __init__(self, held: HeldBody, account: SpoolAccount) -> None:
        self.size = 0
        self.account = account
        self._held = held
        self._parts: deque[bytes | bytearray] = deque()
        self._in_memory = 0
        self._file: IO[bytes] | None = None
        self._taken = 0
        self._unread = 0

    async def add(self, piece: bytes) -> None:
        """Add a piece. Raises ``GatewayError``: 413 if the upload can never fit, 503 or 429 without room now."""
        if not piece:
            return
        self.size += len(piece)
        self._in_memory += len(piece)
        add_piece(self._parts, piece)
        if self._in_memory > (MAX_IN_MEMORY if self._file is None else DISK_BLOCK):
            await self._write_to_file()
        self._held.arrive(self._in_memory)

    def __aiter__(self) -> "Spool":
        return self

    async def __anext__(self) -> bytes:
        if self._unread and self._file is not None:
            piece: bytes = await run_disk_work(lambda file=self._file: file.read(DISK_BLOCK))  # type: ignore[misc]
            self._unread -= len(piece)
            if not self._unread:
                self._delete_file()
            return piece
        if self._parts:
            return bytes(self._parts.popleft())
        raise StopAsyncIteration

    async def rewind(self) -> None:
        """Switch from adding to reading."""
        if self._file is not None:
            await run_disk_work(lambda file=self._file: file.seek(0))  # type: ignore[misc]
            self._unread = self._taken

    def close(self) -> None:
        """Discard all pieces, and delete the file."""
        self._parts.clear()
        self._delete_file()

    def _delete_file(self) -> None:
        """Delete the file early, because a response may take minutes longer than the upload."""
        self.account.release(self._taken)
        self._taken = self._unread = 0
        if self._file is not None:
            trio.lowlevel.start_thread_soon(self._file.close, _ignore)  # to delete gigabytes takes long
            self._file = None

    async def _write_to_file(self) -> None:
        data = b"".join(self._parts)
        await self.account.take(len(data))
        self._taken += len(data)
        self._parts.clear()
        self._in_memory = 0
        if self._file is None:
            self._file = await run_disk_work(tempfile.TemporaryFile)
        await run_disk_work(lambda file=self._file: file.write(data))  # type: ignore[misc]


def _ignore(result: object) -> None:
    return


async def run_disk_work(work: Callable[[], T]) -> T:
    """Run ``work`` in a thread, because disks may be slow. Raises ``GatewayError`` (503) for an ``OSError``."""
    try:
        return await call_in_thread(work, limiter=_THREADS.limiter())
    except OSError as error:
        failed = f"the gateway cannot write the upload to a temporary file ({error.strerror}): {_MODEL_FIRST}"
        raise GatewayError("overloaded", failed, headers=_RETRY_AFTER) from None
