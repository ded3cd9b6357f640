"""A bounded channel between two tasks, whose consumer may process an item in the producer's task.

Switching tasks costs more than processing most items. While the consumer waits and the queue is empty, the producer
therefore runs the consumer's function directly. Otherwise items queue in a trio memory channel; a full one slows the
producer.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Generic, Self, TypeVar

import trio

T = TypeVar("T")


class ConsumerState(Enum):
    """The state of the consumer that decides whether an item may bypass the queue."""

    BUSY = auto()
    """The consumer works or is about to: items must queue."""
    WAITING = auto()
    """The consumer waits and the queue is empty: an item may bypass it."""


class Handoff(Generic[T]):
    """A bounded channel from one producer task to one consumer task. Items must not be ``None``.

    The producer first offers an item and sends it if the offer was declined. It closes the handoff at the end,
    preferably by using it as a context manager. Items arrive in order whichever way they take. The consumer closes
    nothing: a cancellation ends both tasks.
    """

    def __init__(self, capacity: int) -> None:
        """Open the channel for up to ``capacity`` queued items, at least one."""
        self._sender: trio.MemorySendChannel[T | None]  # ``None`` wakes the consumer
        self._receiver: trio.MemoryReceiveChannel[T | None]
        self._sender, self._receiver = trio.open_memory_channel(capacity)  # a call with types takes twice as long
        self._consumer = ConsumerState.BUSY
        self._take: Callable[[T], bool] = _decline
        self._has_ended_well = False

    # The producer's side

    def offer(self, item: T) -> bool:
        """Pass ``item`` to the waiting consumer's ``take``; return false if the item must be sent instead.

        Raises whatever ``take`` raises.
        """
        if self._consumer is ConsumerState.BUSY:
            return False
        if not self._take(item):
            self._consumer = ConsumerState.BUSY
            self._sender.send_nowait(None)  # wakes the consumer
        return True

    def send_nowait(self, item: T) -> None:
        """Queue ``item``. Raises ``trio.WouldBlock`` if the queue is full, and as ``send`` does."""
        self._consumer = ConsumerState.BUSY
        self._sender.send_nowait(item)

    async def send(self, item: T) -> None:
        """Queue ``item`` as soon as there is space. Raises ``trio.ClosedResourceError`` after ``close``.

        If cancelled, the item is not queued.
        """
        self._consumer = ConsumerState.BUSY
        await self._sender.send(item)

    def close(self) -> None:
        """End the channel; the consumer still receives queued items. Closing twice is harmless."""
        self._consumer, self._has_ended_well = ConsumerState.BUSY, True
        self._sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the channel. If an exception ends the block, its consumer must wait, and so be cancelled as well."""
        self.close()
        self._has_ended_well = kind is None

    @property
    def is_blocked(self) -> bool:
        """True while the producer waits for space."""
        return self._sender.statistics().tasks_waiting_send > 0

    # The consumer's side

    async def receive(self, take: Callable[[T], bool] | None = None) -> T | None:
        """Wait for the next item.

        Raises ``trio.EndOfChannel`` after ``close`` when every item has been received. If cancelled, no item is lost.

        While waiting, calls ``take`` with each offered item, in the producer's task; ``take`` must not block. It
        returns true to keep waiting, false to end the wait with ``None``.
        """
        if take is not None and self.is_empty:  # else the item would overtake queued ones
            self._consumer, self._take = ConsumerState.WAITING, take
        try:
            return await self._receiver.receive()
        finally:
            # A stored ``take`` would make a reference cycle with its consumer.
            self._consumer, self._take = ConsumerState.BUSY, _decline

    def receive_nowait(self) -> T | None:
        """Return the next queued item, or ``None``."""
        try:
            return self._receiver.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            return None

    @property
    def has_ended(self) -> bool:
        """True after ``close`` when every item has been received, unless an exception ended the ``with`` block."""
        return self._has_ended_well and self.is_empty

    @property
    def is_empty(self) -> bool:
        """True while no item is queued or waits to be queued."""
        queue = self._receiver.statistics()
        return not (queue.current_buffer_used or queue.tasks_waiting_send)


def _decline(_: object) -> bool:
    return False
