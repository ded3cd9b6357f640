"""Answers that go on without their client: ``on_disconnect: finish`` reads them to their end for the ledger."""

import contextlib
import enum
import math
from collections.abc import AsyncIterator, Callable, Iterator

import trio

from gateway.http.response import Truncated
from gateway.routing.target import Target
from streams.timeouts import Timeouts

GRACE = 60.0
"""Seconds that an answer may go on without its client where no ``timeouts.total`` bounds it."""

MARGIN = 1.0  # seconds by which the pump's own total limit comes first, and says so


class Audience(enum.Enum):
    """The reader of an answer."""

    CLIENT = "client"
    """It may leave: the nursery of its request is cancelled then."""
    STORE = "store"
    """Cancelling a background turn ends it: it has no client that could leave."""

    def survives(self, target: Target) -> bool:
        """The answer of ``target`` is read to its end though nobody reads it."""
        return self is Audience.CLIENT and target.entry.on_disconnect == "finish"


@contextlib.contextmanager
def survive_disconnect(
    nursery: trio.Nursery, target: Target, left: Callable[[], object], deserted: trio.Event | None = None
) -> Iterator[None]:
    """A block that outlives ``nursery``, in one of whose tasks it runs.

    When the nursery is cancelled ``left()`` is called, and the cancellation reaches the block only when the answer of
    ``target`` should long have ended, or once it is ``deserted``, where that can be. The nursery stays open until the
    block has ended."""
    grace = _grace(target) if deserted is None else math.inf
    done = trio.Event() if deserted is None else deserted
    with trio.CancelScope(shield=True) as shield:
        nursery.start_soon(_wait, shield, done, grace, left)
        try:
            yield
        finally:
            done.set()


@contextlib.contextmanager
def survive_disconnect_later(
    nursery: trio.Nursery, target: Target, left: Callable[[], object]
) -> Iterator[Callable[[], None]]:
    """The same for a block that outlives ``nursery`` only from the call of what it gets: until then the cancellation
    reaches it immediately. A nursery that is cancelled by the time of that call is not outlived.

    The block may take the grace of other answers and the time that ``target`` has for its first byte: a provider may
    take that long to create an object, which nobody could use if its answer were not read."""
    timeouts, done = target.entry.timeouts, trio.Event()
    grace = _grace(target)
    if timeouts.total is None:
        grace += timeouts.first_byte or Timeouts().first_byte or 0.0
    with trio.CancelScope() as scope:
        nursery.start_soon(_wait, scope, done, grace, left)

        def survive() -> None:
            if not nursery.cancel_scope.cancel_called:  # a later call takes nothing back
                scope.shield = True

        try:
            yield survive
        finally:
            done.set()


def _grace(target: Target) -> float:
    """The seconds for which an answer of ``target`` may continue without its client."""
    total = target.entry.timeouts.total
    return GRACE if total is None else total + MARGIN


async def _wait(shield: trio.CancelScope, done: trio.Event, grace: float, left: Callable[[], object]) -> None:
    try:
        await trio.sleep_forever()
    finally:  # cancelled
        if not done.is_set():
            left()
            with trio.move_on_after(grace, shield=True):
                await done.wait()
            shield.shield = False


async def discard(unread: AsyncIterator[bytes], limit: float) -> None:
    """Take what the client would have got, to its end or until ``limit`` bytes have been taken."""
    size = 0
    with contextlib.suppress(Truncated):
        async for data in unread:
            size += len(data)
            if size > limit:
                return
