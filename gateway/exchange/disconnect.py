"""Responses that continue after their client disconnected: ``on_disconnect: finish`` reads them for the ledger."""

import contextlib
import enum
import math
from collections.abc import AsyncIterator, Callable, Iterator

import trio

from gateway.http.response import Truncated
from gateway.routing.target import Target
from streams.timeouts import Timeouts

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
    grace = _grace(target) if deserted is None else math.inf
    done = trio.Event() if deserted is None else deserted
    with trio.CancelScope(shield=True) as shield:
        nursery.start_soon(_postpone_cancellation, shield, done, lambda: grace, on_disconnect)
        try:
            yield
        finally:
            done.set()


class DeferredSurvival:
    """A response's permission to outlive its client, which begins when the provider has the whole request.

    ``nursery`` is the client's request. Before ``begin``, cancelling it cancels the response immediately. Afterwards,
    the response continues for the seconds that ``limit`` returns when the client disconnects. It may also continue for
    the time of ``target`` for a first byte: a provider may take that long to create an object, whose id would be lost
    with the response."""

    def __init__(self, nursery: trio.Nursery, target: Target, limit: Callable[[], float]) -> None:
        timeouts = target.entry.timeouts
        self._nursery = nursery
        self._limit = limit
        self._longest = _grace(target)
        if timeouts.total is None:
            self._longest += timeouts.first_byte or Timeouts().first_byte or 0.0
        self._scope = trio.CancelScope()

    def begin(self) -> None:
        """Let the response outlive its client from now on: the last bytes of the request are being sent."""
        if not self._nursery.cancel_scope.cancel_called:  # a later call changes nothing
            self._scope.shield = True

    @contextlib.contextmanager
    def outlive_client(self, on_disconnect: Callable[[], object]) -> Iterator[None]:
        """Continue the exchange in this block after the client has left, once ``begin`` was called."""
        done = trio.Event()
        with self._scope:
            self._nursery.start_soon(_postpone_cancellation, self._scope, done, self._grace, on_disconnect)
            try:
                yield
            finally:
                done.set()

    def _grace(self) -> float:
        return min(self._longest, self._limit())


def _grace(target: Target) -> float:
    """Return the seconds for which a response of ``target`` may continue without its client."""
    total = target.entry.timeouts.total
    return GRACE if total is None else total + MARGIN


async def _postpone_cancellation(
    shield: trio.CancelScope, done: trio.Event, grace: Callable[[], float], on_disconnect: Callable[[], object]
) -> None:
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
