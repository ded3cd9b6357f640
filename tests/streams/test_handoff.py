"""A channel whose consumer may accept an item immediately: order, bounds, cancellation and closing."""

from collections.abc import Callable

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from streams.handoff import Handoff


class Reader:
    """A consumer that records each item, and whether it was accepted immediately or later.

    It continues while ``goes_on`` returns true for a taken item.
    """

    def __init__(self, handoff: Handoff[int], goes_on: Callable[[int], bool] = lambda _: True) -> None:
        self.handoff = handoff
        self.goes_on = goes_on
        self.got: list[int] = []
        self.taken: list[int] = []
        self.woken = 0
        self.ended = False

    def take(self, item: int) -> bool:
        self.got.append(item)
        self.taken.append(item)
        return self.goes_on(item)

    async def run(self) -> None:
        try:
            while True:
                if (item := await self.handoff.receive(self.take)) is None:
                    self.woken += 1
                else:
                    self.got.append(item)
        except trio.EndOfChannel:
            self.ended = True


async def give(handoff: Handoff[int], item: int) -> None:
    if not handoff.offer(item):
        await handoff.send(item)


async def test_a_waiting_consumer_takes_an_item_immediately():
    handoff = Handoff[int](2)
    reader = Reader(handoff)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        assert not handoff.offer(0), "it does not wait yet"
        await wait_all_tasks_blocked()
        assert handoff.offer(1)
        assert handoff.offer(2)
        assert reader.got == [1, 2], "without another task having run"
        handoff.close()
    assert reader.ended
    assert reader.woken == 0


async def test_a_consumer_that_waits_without_receiving_loses_nothing():
    handoff = Handoff[int](2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handoff.receive)
        await wait_all_tasks_blocked()
        assert not handoff.offer(1)
        handoff.send_nowait(1)


async def test_an_item_after_a_queued_one_is_queued_too():
    handoff = Handoff[int](2)
    reader = Reader(handoff)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        await wait_all_tasks_blocked()
        handoff.send_nowait(1)  # the consumer has it, but has not run yet
        assert not handoff.offer(2)
        handoff.send_nowait(2)
        handoff.close()
    assert reader.got == [1, 2]
    assert reader.taken == []


@given(pauses=st.lists(st.integers(0, 3), max_size=40), wakes=st.sets(st.integers(0, 40)), capacity=st.integers(1, 3))
async def test_items_keep_their_order_on_every_path(pauses, wakes, capacity):
    handoff = Handoff[int](capacity)
    reader = Reader(handoff, lambda item: item not in wakes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        for item, pause in enumerate(pauses):
            await give(handoff, item)
            for _ in range(pause):
                await trio.lowlevel.checkpoint()
        handoff.close()
    assert reader.got == list(range(len(pauses)))
    assert reader.ended
    assert reader.woken == len(wakes.intersection(reader.taken))


async def test_a_taken_item_can_wake_the_consumer():
    handoff = Handoff[int](1)
    reader = Reader(handoff, lambda item: item != 2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        await wait_all_tasks_blocked()
        assert handoff.offer(1)
        assert handoff.offer(2)
        assert not handoff.offer(3), "it is awake, and has something to do first"
        await wait_all_tasks_blocked()
        assert reader.woken == 1
        assert handoff.offer(3)
        handoff.close()
    assert reader.got == [1, 2, 3]


async def test_the_producer_waits_for_space():
    handoff = Handoff[int](2)
    handoff.send_nowait(1)
    handoff.send_nowait(2)
    with pytest.raises(trio.WouldBlock):
        handoff.send_nowait(3)
    assert not handoff.is_blocked
    async with trio.open_nursery() as nursery:
        nursery.start_soon(handoff.send, 3)
        await wait_all_tasks_blocked()
        assert handoff.is_blocked
        assert await handoff.receive() == 1
        await wait_all_tasks_blocked()
        assert not handoff.is_blocked
    assert [handoff.receive_nowait() for _ in range(3)] == [2, 3, None]
    assert handoff.is_empty


async def test_queued_items_are_received_before_the_end():
    handoff = Handoff[int](2)
    with handoff:
        handoff.send_nowait(1)
    handoff.close()
    assert await handoff.receive() == 1
    assert handoff.receive_nowait() is None
    with pytest.raises(trio.EndOfChannel):
        await handoff.receive()
    with pytest.raises(trio.ClosedResourceError):
        await handoff.send(2)


async def test_the_end_wakes_a_consumer_that_waits():
    handoff = Handoff[int](1)
    reader = Reader(handoff)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run)
        await wait_all_tasks_blocked()
        handoff.close()
        assert not handoff.offer(1), "nothing is taken behind the end"
    assert reader.ended


async def test_a_cancelled_consumer_loses_no_item(mock_clock):
    """Its deadline passes in the same turn of the loop in which items arrive."""
    handoff = Handoff[int](3)
    reader = Reader(handoff)

    async def read() -> None:
        with trio.move_on_after(1):
            await reader.run()
        await reader.run()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        mock_clock.jump(1)
        for item in (1, 2, 3):
            await give(handoff, item)
        await wait_all_tasks_blocked()
        await give(handoff, 4)
        handoff.close()
    assert reader.got == [1, 2, 3, 4]


async def test_a_consumer_that_takes_an_item_after_its_cancellation_is_woken():
    """It takes the item before it runs, so it has to process the item."""
    handoff = Handoff[int](1)
    reader = Reader(handoff, lambda _: False)
    waiting = trio.CancelScope()

    async def read() -> None:
        with waiting:
            await reader.run()
        assert await handoff.receive(reader.take) is None
        assert await handoff.receive(reader.take) == 2

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        waiting.cancel()
        assert handoff.offer(1)
        assert not handoff.offer(2)
        await handoff.send(2)
    assert reader.got == [1]


async def test_a_cancelled_send_queues_nothing():
    handoff = Handoff[int](1)
    handoff.send_nowait(1)
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handoff.send, 2)
            await wait_all_tasks_blocked()
            scope.cancel()
    assert handoff.receive_nowait() == 1
    assert handoff.is_empty


async def test_a_handoff_has_ended_only_if_its_producer_ended_well():
    well, cancelled = Handoff[int](1), Handoff[int](1)
    with well:
        await well.send(1)
        assert not well.has_ended
    assert not well.has_ended, "an item is left"
    assert well.receive_nowait() == 1
    assert well.has_ended
    with trio.CancelScope() as scope, cancelled:
        scope.cancel()
        await cancelled.send(1)
    assert not cancelled.has_ended, "its consumer would take the cancellation for an end of the items"


async def test_an_exception_in_take_is_raised_in_the_producer():
    handoff = Handoff[int](1)

    def fail(_: int) -> bool:
        raise ValueError("cannot be taken")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(handoff.receive, fail)
        await wait_all_tasks_blocked()
        with pytest.raises(ValueError, match="cannot be taken"):
            handoff.offer(1)
        nursery.cancel_scope.cancel()
