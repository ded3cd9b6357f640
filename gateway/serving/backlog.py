"""The bytes of a request's body that are read from the client, and not yet taken by the app."""

from collections.abc import Callable
from typing import Final

import trio

MOST: Final = 256 * 1024
"""Bytes beyond which no more is read, until the app has taken some."""


class Backlog:
    """Of a body that the app paces. Of any other nothing is counted: whoever reads it is always at it."""

    def __init__(self) -> None:
        self.size = 0
        self.is_paced = False
        self.on_taken: Callable[[int], object] | None = None
        """Called synchronously with the bytes that are not owed any more."""
        self._room: trio.Event | None = None

    def pace(self) -> Callable[[int], object]:
        """A ``PaceBody``. What has come before is not counted."""
        self.is_paced = True
        return self._take

    def add(self, size: int) -> None:
        """So many bytes wait for the app."""
        if self.is_paced:
            self.size += size

    @property
    def is_full(self) -> bool:
        return self.size > MOST

    async def wait(self, seconds: float) -> None:
        """Wait until it is not full, for so long at most."""
        if self.is_full:
            self._room = trio.Event()
            with trio.move_on_after(seconds):
                await self._room.wait()

    def end(self) -> None:
        """Nobody takes any more, or what comes is dropped."""
        self.is_paced = False
        self._take(self.size)

    def _take(self, size: int) -> None:
        taken = min(size, self.size)
        self.size -= taken
        if self._room is not None and not self.is_full:
            self._room.set()
        if self.on_taken is not None and taken:
            self.on_taken(taken)
