"""The queues of targets: their order, their bounds, and the requests that they wake."""

from collections.abc import Sequence

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from gateway.allowances.queue import FairLine, Queues, Waiter
from gateway.counters.counter import Claim, Debit, RateCounter, Shortage, SlotCounter
from gateway.counters.memory import LocalCounters
from gateway.routing.target import Target
from tests.support.one_slot import SLOTS, FarCounters, claim, target


class Place:
    """A target with one slot, and the order in which requests got it."""

    def __init__(self, counters: type[LocalCounters] = LocalCounters) -> None:
        self.counters = counters(clock=trio.current_time)
        self.queues = Queues(self.counters)
        self.served: list[str] = []
        self.tries = 0

    async def take(self, name: str) -> Sequence[Shortage]:
        self.tries += 1
        short = await self.counters.reserve([claim(name)])
        if not short:
            self.served.append(name)
        return short

    async def wait(self, name: str, client: str, at: Target, until: float = 1e9) -> Sequence[Shortage]:
        return await self.queues.wait(at, client, lambda: self.take(name), until)

    def end(self, name: str) -> None:
        self.counters.settle(claim(name), [1])


# The order alone


@given(st.lists(st.sampled_from("abc")))
def test_clients_take_turns_and_keep_their_own_order(clients):
    line = FairLine()
    waiters = [Waiter(client) for client in clients]
    for waiter in waiters:
        line.join(waiter)
    assert len(line) == len(waiters)
    served: list[Waiter] = []
    while (first := line.first) is not None:
        served.append(first)
        line.leave(first)
    assert len(line) == 0
    for client in "abc":
        assert [one for one in served if one.client == client] == [one for one in waiters if one.client == client]
    for number in range(len(served)):
        left = {one.client for one in served[number:]}
        assert {one.client for one in served[number : number + len(left)]} == left, "one each, until all had a turn"


# Waiting


async def test_it_waits_no_longer_than_its_queue_or_its_deadline_allows(autojump_clock):
    place = Place()
    await place.take("under way")
    began = trio.current_time()
    assert await place.wait("late", "a", target(wait="3s"))
    assert trio.current_time() == pytest.approx(began + 3)
    assert await place.wait("later", "a", target(wait="3s"), until=began + 4)
    assert trio.current_time() == pytest.approx(began + 4)
    assert place.queues.waiting(target()) == 0


async def test_a_request_that_times_out_gets_the_current_shortages(autojump_clock):
    place, at = Place(), target()
    await place.take("under way")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(place.wait, "first", "a", target(wait="10s"))
        await trio.testing.wait_all_tasks_blocked()
        (short,) = await place.wait("second", "a", at)
        assert short.debit == Debit(SLOTS, 1)
        place.end("under way")
    assert place.served == ["under way", "first"]


async def test_only_the_first_request_tries_and_only_when_room_is_likely(autojump_clock):
    place, at = Place(), target(wait="1s")
    await place.take("under way")
    async with trio.open_nursery() as nursery:
        for name in "abcd":
            nursery.start_soon(place.wait, name, name, at)
        await trio.testing.wait_all_tasks_blocked()
        assert place.tries == 2, "the first of them has looked, the others wait for their turn"
        other = Claim("other", (Debit(SlotCounter(b"other" + bytes(11), "other", 1), 1),))
        await place.counters.reserve([other])
        place.counters.settle(other, [1])
        await trio.testing.wait_all_tasks_blocked()
        assert place.tries == 2, "what another target has does not concern it"
        nursery.cancel_scope.cancel()


async def test_room_freed_by_other_processes_is_noticed(autojump_clock):
    place, at = Place(FarCounters), target()
    await place.take("under way")
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(place.wait, "waits", "a", at)
        await trio.testing.wait_all_tasks_blocked()
        place.end("under way")
    assert place.served == ["under way", "waits"]
    assert trio.current_time() - began <= 0.25 + 1e-6


async def test_a_rate_is_waited_for_until_it_has_refilled(autojump_clock):
    counters = LocalCounters(clock=trio.current_time)
    queues = Queues(counters)
    rate = RateCounter(b"rate" + bytes(12), "model_providers.gpu.requests", 60, 60.0, 1)
    began = trio.current_time()

    async def take(name: str) -> Sequence[Shortage]:
        return await counters.reserve([Claim(name, (Debit(rate, 1),))])

    assert not await take("now")
    assert not await queues.wait(target(), None, lambda: take("then"), 1e9)
    assert trio.current_time() - began == pytest.approx(1.0)


async def test_a_client_that_fills_the_queue_makes_room_for_others(autojump_clock):
    # One with a burst would have others refused for as long as it lasts.
    place, at = Place(), target(size=4)
    short: list[str] = []

    async def ask(name: str, client: str) -> None:
        if await place.wait(name, client, at):
            short.append(name)

    assert not await place.take("running")
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(ask, f"a{number}", "alice")
            await trio.testing.wait_all_tasks_blocked()
        for name in ("b0", "b1", "b2"):
            nursery.start_soon(ask, name, "bob")
            await trio.testing.wait_all_tasks_blocked()
        assert short == ["a3", "a2", "b2"], "each has as many places as the other"
        assert place.queues.waiting(at) == 4
        for name in ("running", "a0", "b0", "a1"):
            place.end(name)
            await trio.testing.wait_all_tasks_blocked()
    assert place.served == ["running", "a0", "b0", "a1", "b1"]
    assert place.queues.waiting(at) == 0
