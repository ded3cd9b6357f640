"""Queues over several workers: one order for all, in memory that they share."""

from collections.abc import Sequence

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gateway.allowances import shared_queue
from gateway.allowances.shared_queue import SharedLine, SharedQueues, Ticket, client_digest
from gateway.counters.counter import Shortage
from gateway.counters.memory import LocalCounters
from gateway.routing.target import Target
from gateway.shared.rows import LocalRows
from tests.support.one_slot import FarCounters, claim, target


class Workers:
    """Two workers that share a target with one slot, and the order in which requests got it."""

    def __init__(self) -> None:
        self.slots = LocalCounters(clock=trio.current_time)
        self.rows = LocalRows(16, trio.current_time)
        self.alive = {0, 1}
        self.queues = [self._queues(seat) for seat in (0, 1)]
        self.served: list[str] = []
        self.short: list[str] = []

    def _queues(self, seat: int) -> SharedQueues:
        return SharedQueues(
            FarCounters(), self.rows, seat, 100 + seat, lambda seat, _: seat in self.alive, trio.current_time
        )

    async def take(self, name: str) -> Sequence[Shortage]:
        short = await self.slots.reserve([claim(name)])
        if not short:
            self.served.append(name)
        return short

    async def ask(self, worker: int, name: str, at: Target) -> None:
        """Queue a request of the client whose name is the first letter of ``name``."""
        if await self.queues[worker].wait(at, name[0], lambda: self.take(name), 1e9):
            self.short.append(name)

    async def end(self, name: str) -> None:
        """End a request, and wait until the next one has been served."""
        self.slots.settle(claim(name), [1])
        await trio.sleep(0.1)


async def test_clients_of_all_workers_take_turns_and_keep_their_own_order(autojump_clock):
    """The worker that had the slot kept it: others waited for ten seconds, or got a 429."""
    workers, at = Workers(), target(size=10)
    await workers.take("under way")
    async with trio.open_nursery() as nursery:
        for worker, name in ((0, "a1"), (0, "a2"), (1, "a3"), (1, "b1"), (0, "c1"), (1, "b2")):
            nursery.start_soon(workers.ask, worker, name, at)
            await trio.testing.wait_all_tasks_blocked()
        assert [queues.waiting(at) for queues in workers.queues] == [6, 6]
        assert [dict(queues.lengths) for queues in workers.queues] == [{"gpu": 3}, {"gpu": 3}]
        for name in ("under way", "a1", "b1", "c1", "a2", "b2", "a3"):
            await workers.end(name)
    assert workers.served == ["under way", "a1", "b1", "c1", "a2", "b2", "a3"]
    assert [queues.waiting(at) for queues in workers.queues] == [0, 0]
    assert [dict(queues.lengths) for queues in workers.queues] == [{}, {}]


async def test_no_more_wait_than_there_is_room_for_in_all_workers(autojump_clock):
    workers, at = Workers(), target(size=2)
    await workers.take("under way")
    async with trio.open_nursery() as nursery:
        for worker, name in ((0, "a1"), (1, "b1")):
            nursery.start_soon(workers.ask, worker, name, at)
            await trio.testing.wait_all_tasks_blocked()
        assert not any(queues.has_room(at, "c") for queues in workers.queues)
        await workers.ask(0, "c1", at)
        assert workers.short == ["c1"]
        for name in ("under way", "a1", "b1"):
            await workers.end(name)
    assert workers.served == ["under way", "a1", "b1"]


async def test_a_client_that_fills_the_queue_gives_places_up_to_one_at_another_worker(autojump_clock):
    workers, at = Workers(), target(size=4)
    await workers.take("under way")
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(workers.ask, 0, f"a{number}", at)
            await trio.testing.wait_all_tasks_blocked()
        for name in ("b0", "b1", "b2"):
            nursery.start_soon(workers.ask, 1, name, at)
            await trio.sleep(0.02)
        assert workers.short == ["a3", "a2", "b2"], "each has as many places as the other"
        for name in ("under way", "a0", "b0", "a1", "b1"):
            await workers.end(name)
    assert workers.served == ["under way", "a0", "b0", "a1", "b1"]


async def test_a_departed_request_or_dead_worker_blocks_no_queue(autojump_clock):
    workers, at = Workers(), target(size=10, wait="60s")
    await workers.take("under way")
    async with trio.open_nursery() as nursery:
        leaving = trio.CancelScope()

        async def leave() -> None:
            with leaving:
                await workers.ask(0, "a1", at)

        nursery.start_soon(leave)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(workers.ask, 1, "b1", at)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(workers.ask, 0, "c1", at)
        await trio.testing.wait_all_tasks_blocked()
        leaving.cancel()
        workers.alive = {0}
        await workers.end("under way")
        assert workers.served == ["under way", "c1"]
        nursery.cancel_scope.cancel()


async def test_it_waits_no_longer_than_its_queue_allows(autojump_clock):
    workers, at = Workers(), target(wait="3s")
    await workers.take("under way")
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(workers.ask, 0, "a1", at)
        nursery.start_soon(workers.ask, 1, "b1", at)
    assert trio.current_time() == pytest.approx(began + 3, abs=0.01)
    assert sorted(workers.short) == ["a1", "b1"]


# The order alone


def line(clock: float = 0.0) -> SharedLine:
    return SharedLine(LocalRows(16, lambda: clock), "gpu", lambda seat, process: True, lambda: clock)


def ticket(client: str, number: int) -> Ticket:
    return Ticket(client_digest(client), number % 3, 100, number, 60.0)


@given(st.lists(st.sampled_from("abc"), max_size=30), st.data())
def test_each_client_has_one_turn_before_another_has_two(clients, data):
    shared = line()
    tickets = [ticket(client, number) for number, client in enumerate(clients)]
    for one in tickets:
        assert shared.join(one, 1000)
    if tickets:
        gone = data.draw(st.sampled_from(tickets))
        if shared.tickets()[0] != gone:  # its turn would be the next client's
            shared.leave(gone)
            tickets.remove(gone)
    served: list[Ticket] = []
    while waiting := shared.tickets():
        served.append(waiting[0])
        shared.leave(waiting[0])
        shared.leave(waiting[0])  # a second call changes nothing
    assert sorted(served) == sorted(tickets)
    for client in {one.client for one in tickets}:
        assert [one for one in served if one.client == client] == [one for one in tickets if one.client == client]
    for number in range(len(served)):
        left = {one.client for one in served[number:]}
        assert {one.client for one in served[number : number + len(left)]} == left


def test_a_queue_has_as_many_entries_as_fit_into_its_row(monkeypatch):
    monkeypatch.setattr(shared_queue, "MOST", 3)
    shared = line()
    assert [shared.join(ticket("a", number), 100) for number in range(4)] == [True, True, True, False]
    assert len(shared.tickets()) == 3


def test_the_row_of_the_workers_memory_holds_the_longest_line():
    from gateway.shared.layout import SIZES

    assert SIZES["queues"].width >= shared_queue.MOST * shared_queue.BYTES
