"""What goes on without the client: ``on_disconnect: finish`` reads the provider's answer to its end for the ledger."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

import trio

PATIENCE = 60.0
"""Seconds that an answer may go on without its client where no ``timeouts.total`` bounds it."""


@contextlib.contextmanager
def outliving(nursery: trio.Nursery, seconds: float, left: Callable[[], object]) -> Iterator[None]:
    """A block that outlives ``nursery``, in one of whose tasks it runs.

    When the nursery is cancelled ``left()`` is called, and the cancellation reaches the block only ``seconds`` later.
    The nursery stays open until the block has ended."""
    done = trio.Event()
    with trio.CancelScope(shield=True) as shield:
        nursery.start_soon(_wait, shield, done, seconds, left)
        try:
            yield
        finally:
            done.set()


async def _wait(shield: trio.CancelScope, done: trio.Event, seconds: float, left: Callable[[], object]) -> None:
    try:
        await trio.sleep_forever()
    finally:  # cancelled
        if not done.is_set():
            left()
            with trio.move_on_after(seconds, shield=True):
                await done.wait()
            shield.shield = False


async def discard(unread: AsyncIterator[bytes], limit: int) -> None:
    """Take what the client would have got, to its end or until ``limit`` bytes have been taken."""
    size = 0
    async for data in unread:
        size += len(data)
        if size > limit:
            return
