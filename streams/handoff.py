"""A bounded channel between two tasks, whose consumer may take an item in the producer's task.

A hop from one task to another costs more than most items are worth. While the consumer waits and nothing is on the way
to it, it needs none: the producer offers it the item, and it is dealt with where it is. In all other cases items queue
in a memory channel of trio, which is full at some time and so slows the producer.
"""

import contextlib
from collections.abc import Callable
from enum import Enum, auto
from typing import Generic, Self, TypeVar

import trio

T = TypeVar("T")


class Consumer(Enum):
    """The consumer's state, as the producer has to know it."""

    BUSY = auto()
    """It works, or is about to: an item has to queue."""
    WAITING = auto()
    """It waits, and nothing is on the way to it: an item may be taken on the spot."""


class Handoff(Generic[T]):
    """A bounded channel from one producer's task to one consumer's task. No item may be ``None``.

    The producer first offers an item and sends it where the offer was not taken; in the end it closes its side, best
    by using the handoff as a context manager. Items arrive in their order, whichever way each takes."""

    def __init__(self, capacity: int) -> None:
        """``capacity``: how many items may queue, at least one."""
        self._sender, self._receiver = trio.open_memory_channel[T | None](capacity)  # ``None`` wakes the consumer
        self._consumer = Consumer.BUSY
        self._take: Callable[[T], bool] = _wait_no_more

    # The producer's side

    def offer(self, item: T) -> bool:
        """Have ``item`` taken on the spot, and return true; false if it has to be sent. Raises what the consumer's
        ``take`` raises."""
        if self._consumer is Consumer.BUSY:
            return False
        if not self._take(item):
            self._wake()
        return True

    def send_nowait(self, item: T) -> None:
        """Queue ``item``. Raises ``trio.WouldBlock`` where there is no room, and what ``send`` raises."""
        self._consumer = Consumer.BUSY
        self._sender.send_nowait(item)

    async def send(self, item: T) -> None:
        """Queue ``item`` once there is room for it. Raises ``trio.BrokenResourceError`` when the consumer has closed
        its side, ``trio.ClosedResourceError`` when the producer has. Cancelled, it has not queued the item."""
        self._consumer = Consumer.BUSY
        await self._sender.send(item)

    def close(self) -> None:
        """Say that no more items come. The consumer still gets what is queued. Closing twice does nothing more."""
        self._consumer = Consumer.BUSY
        self._sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_blocked(self) -> bool:
        """True while the producer waits for room."""
        return self._sender.statistics().tasks_waiting_send > 0

    def _wake(self) -> None:
        self._consumer = Consumer.BUSY
        with contextlib.suppress(trio.BrokenResourceError):
            self._sender.send_nowait(None)

    # The consumer's side

    async def receive(self, take: Callable[[T], bool] | None = None) -> T | None:
        """Wait for the next item. Raises ``trio.EndOfChannel`` when the producer has closed its side and all items have
        been received. Cancelled, it has received none.

        While it waits ``take`` is called with each item that is offered, in the producer's task: it must not wait. It
        returns true to wait on; false ends the waiting with ``None``."""
        if take is not None and self.is_empty:  # else what is queued would be overtaken
            self._consumer, self._take = Consumer.WAITING, take
        try:
            return await self._receiver.receive()
        finally:
            self._consumer, self._take = (
                Consumer.BUSY,
                _wait_no_more,
            )  # the handoff would hold its consumer, and it that

    def receive_nowait(self) -> T | None:
        """Return the next item if it is queued, else ``None``."""
        try:
            return self._receiver.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            return None

    def close_receiving(self) -> None:
        """Say that no item is wanted any more. What is queued is lost."""
        self._consumer = Consumer.BUSY
        self._receiver.close()

    @property
    def is_empty(self) -> bool:
        """True while nothing is on the way to the consumer."""
        queue = self._receiver.statistics()
        return not (queue.current_buffer_used or queue.tasks_waiting_send)


def _wait_no_more(_: object) -> bool:
    return False
