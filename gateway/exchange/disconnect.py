"""Responses that continue after their client disconnected: ``on_disconnect: finish`` reads them for the ledger."""

import contextlib
import enum
import math
from collections.abc import AsyncIterator, Callable, Iterator

import trio

from gateway.http.response import Truncated
from gateway.routing.target import Target

GRACE = 60.0
"""Seconds for which a response may continue without its client if no ``timeouts.total`` limits it."""

MARGIN = 1.0  # seconds by which the pump's own total limit is earlier, so that its error is used


class Audience(enum.Enum):
    """The reader of a response."""

    CLIENT = "client"
    """A client, which may disconnect; that cancels the nursery of its request."""
    STORE = "store"
    """A background turn without a client. Its cancellation ends it."""

    def survives(self, target: Target) -> bool:
        """Return whether a response of ``target`` is read to its end after its client disconnected."""
        return self is Audience.CLIENT and target.entry.on_disconnect == "finish"


@contextlib.contextmanager
def survive_disconnect(
    nursery: trio.Nursery, target: Target, on_disconnect: Callable[[], object], deserted: trio.Event | None = None
) -> Iterator[None]:
    """Return a context whose block continues after its client disconnected, which cancels ``nursery``.

    The block runs in a task of the nursery, which stays open until the block has ended. ``on_disconnect`` is called
    when the client disconnects. The block is cancelled when the response of ``target`` is overdue, or once ``deserted``
    is set."""
    grace = grace_of(target) if deserted is None else math.inf
    done = trio.Event() if deserted is None else deserted
    with trio.CancelScope(shield=True) as shield:
        nursery.start_soon(postpone_cancellation, shield, done, lambda: grace, on_disconnect)
        try:
            yield
        finally:
            done.set()


def grace_of(target: Target) -> float:
    """Return the seconds for which a response of ``target`` may continue without its client."""
    total = target.entry.timeouts.total
    return GRACE if total is None else total + MARGIN


async def postpone_cancellation(
    shield: trio.CancelScope, done: trio.Event, grace: Callable[[], float], on_disconnect: Callable[[], object]
) -> None:
    """Wait for a disconnect, which cancels this. Call ``on_disconnect``, then keep ``shield`` until ``done`` is set or
    the seconds of ``grace`` are over."""
    try:
        await trio.sleep_forever()
    finally:  # cancelled
        if not done.is_set():
            on_disconnect()
            with trio.move_on_after(grace(), shield=True):
                await done.wait()
            shield.shield = False


async def discard(unread: AsyncIterator[bytes], limit: float) -> None:
    """Read and drop the body of a client that disconnected, to its end or to ``limit`` bytes."""
    size = 0
    with contextlib.suppress(Truncated):
        async for data in unread:
            size += len(data)
            if size > limit:
                return
