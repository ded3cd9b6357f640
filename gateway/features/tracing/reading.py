"""The thread that reads the texts of ended exchanges for their spans."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeAlias

import trio

from gateway.features.tracing.spans import Attributes
from gateway.shared.owned_entries import OwnedEntries

Read: TypeAlias = Callable[[], Attributes]
End: TypeAlias = Callable[[Attributes], object]

_LEAST: Final = 1024
"""The bytes that short texts count as."""


class TextReader:
    """A thread that reads the texts of one exchange after the other, and the at most ``most`` bytes that wait for it.

    Clients take turns. Without room, the client with the most loses its oldest texts. Used from the trio thread."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: OwnedEntries[str | None, int, tuple[Read, End]] = OwnedEntries(
            most, on_drop=lambda dropped: dropped[1]({})
        )
        self._threads: ThreadPoolExecutor | None = None
        self._count = 0
        self._is_reading = False
        self._has_read = trio.Event()  # set and replaced after each reading

    def submit(self, client: str | None, size: int, read: Read, end: End) -> None:
        """Call ``read`` in the thread, and then ``end`` with its result in the trio thread.

        Without room for texts of ``size`` bytes, ``end`` is called without any attributes."""
        if size > self._most:
            end({})
            return
        self._count += 1
        self._waiting.put(client, self._count, (read, end), max(size, _LEAST))
        self._read_next()

    async def aclose(self) -> None:
        """Wait until all texts are read, and end the thread."""
        while self._is_reading:
            await self._has_read.wait()
        if self._threads is not None:
            await trio.to_thread.run_sync(self._threads.shutdown, abandon_on_cancel=True)

    def _read_next(self) -> None:
        if self._is_reading or not self._waiting:
            return
        (read, end), token = self._waiting.take_next(), trio.lowlevel.current_trio_token()
        self._is_reading = True

        def finish(attributes: Attributes) -> None:
            self._is_reading = False
            end(attributes)
            self._read_next()
            self._has_read, has_read = trio.Event(), self._has_read
            has_read.set()

        def run() -> None:
            attributes: Attributes = {}
            try:
                attributes = read()
            finally:
                token.run_sync_soon(finish, attributes)

        if self._threads is None:
            self._threads = ThreadPoolExecutor(1)
        self._threads.submit(run)
