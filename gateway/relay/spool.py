"""What has come of an upload before it is known where that goes: up to 1 MiB in memory, more in a temporary file."""

import tempfile
from collections import deque
from collections.abc import Callable
from typing import IO, Final, TypeVar

import trio

from gateway.access.body_memory import HeldBody
from gateway.access.shares import Shares
from streams.errors import GatewayError

MEMORY: Final = 2**20
"""Bytes of one upload that wait in memory."""
BATCH: Final = 256 * 1024
"""Bytes that are written to the file, or read from it, at a time."""

_FULL: Final = "uploads whose model comes behind the file fill the disk space that the gateway's limits.spool allows"
_TOO_LARGE: Final = (
    "the upload is larger than the gateway's limits.spool ({} bytes), which holds it until its model is known: send "
    "model before the file, or a smaller file"
)
_MODEL_FIRST: Final = "send model before the file, or try again later"
_WAIT: Final = (("retry-after", "5"),)

T = TypeVar("T")


class Spool:
    """The pieces of one upload in the order in which they came: all are added before the first is read. ``most`` are
    the bytes of files that all uploads may have in this process. ``close`` lets the file go. ``source`` is the spool of
    the same upload that this one is written from, if there is one."""

    def __init__(self, held: HeldBody, shares: Shares, most: int, source: "Spool | None" = None) -> None:
        self.size = 0
        self._held = held
        self._shares = shares
        self._most = most
        self._source = source
        self._parts: deque[bytes] = deque()
        self._in_memory = 0
        self._file: IO[bytes] | None = None
        self._on_disk = 0
        self._unread = 0

    async def add(self, piece: bytes) -> None:
        """Raises ``GatewayError``: 413 for an upload that never fits, 503 and 429 where there is no room now."""
        if not piece:
            return
        self.size += len(piece)
        self._in_memory += len(piece)
        self._parts.append(piece)
        if self._in_memory > (MEMORY if self._file is None else BATCH):
            await self._write()
        self._held.arrive(self._in_memory)

    async def read(self) -> bytes:
        """The next piece, ``b""`` when there is none left."""
        if self._unread and self._file is not None:
            piece: bytes = await _on_disk(lambda file=self._file: file.read(BATCH))  # type: ignore[misc]
            self._unread -= len(piece)
            if not self._unread:
                self._let_go()
            return piece
        return self._parts.popleft() if self._parts else b""

    async def rewind(self) -> None:
        """All has been added: it is read from here on."""
        if self._file is not None:
            await _on_disk(lambda file=self._file: file.seek(0))  # type: ignore[misc]
            self._unread = self._on_disk

    def close(self) -> None:
        """Let go of all of it."""
        self._parts.clear()
        self._let_go()

    def _let_go(self) -> None:
        """Give the disk back: of an answer that takes minutes the upload is long gone."""
        self._shares.spooled -= self._on_disk
        self._on_disk = self._unread = 0
        if self._file is not None:
            self._file.close()
            self._file = None

    async def _write(self) -> None:
        data = b"".join(self._parts)
        own = self._on_disk + len(data) + (0 if self._source is None else self._source._on_disk)
        if own > self._most:
            raise GatewayError("too_large", _TOO_LARGE.format(self._most))
        if self._shares.spooled + len(data) > self._most:
            raise GatewayError("overloaded", f"{_FULL}: {_MODEL_FIRST}", headers=_WAIT)
        self._shares.spooled += len(data)
        self._on_disk += len(data)
        self._parts.clear()
        self._in_memory = 0
        if self._file is None:
            self._file = await _on_disk(tempfile.TemporaryFile)
        await _on_disk(lambda file=self._file: file.write(data))  # type: ignore[misc]


async def _on_disk(work: Callable[[], T]) -> T:
    """``work`` in a thread: a disk may be slow. Raises ``GatewayError`` (503) where it fails."""
    try:
        return await trio.to_thread.run_sync(work)
    except OSError as error:
        failed = f"the gateway cannot keep the upload in a temporary file ({error.strerror}): {_MODEL_FIRST}"
        raise GatewayError("overloaded", failed, headers=_WAIT) from None
