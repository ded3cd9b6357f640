"""Requests that wait for room in a client's budget: when they are woken, and how much work that is (CWE-400)."""

from collections import Counter

import pytest
import trio
import trio.testing

from gateway.allowances.queue import POLL
from gateway.allowances.room import FEW, WOKEN, Room
from gateway.counters.counter import Claim, Debit, SumCounter, new_claim
from gateway.counters.memory import LocalCounters
from tests.support.one_slot import FarCounters

BUDGET = SumCounter(b"mallory", "client_keys.mallory.budgets", 10, 1e12)
OTHER = SumCounter(b"alice", "client_keys.alice.budgets", 10, 1e12)


class Budget:
    """The requests that wait for a budget: how often each client checked, and the order in which they found room."""

    def __init__(self, counters: type[LocalCounters] = LocalCounters) -> None:
        self.counters = counters(clock=trio.current_time)
        self.room = Room(self.counters)
        self.looks = Counter[str]()
        self.served: list[str] = []
        self.claims: dict[str, Claim] = {}

    async def request(self, name: str, amount: int, client: str, until: float = 1e9) -> None:
        """Reserve ``amount``, as ``Reservation`` does."""
        has_waited = False
        while True:
            self.looks[client] += 1
            claim = new_claim(Debit(BUDGET, amount))
            if not await self.counters.reserve([claim]):
                break
            has_waited = True
            if not await self.room.wait(BUDGET, client, until):
                return
        self.claims[name] = claim
        self.served.append(name)
        if has_waited:
            self.room.wake(BUDGET)

    def end(self, name: str, used: int = 0) -> None:
        self.counters.settle(self.claims.pop(name), [used])


async def test_the_end_of_another_client_s_request_wakes_no_waiting_request(autojump_clock):
    budget = Budget()
    async with trio.open_nursery() as nursery:
        await budget.request("first", 10, "mallory")
        for number in range(300):
            nursery.start_soon(budget.request, str(number), 10, "mallory")
        await trio.testing.wait_all_tasks_blocked()
        looks = budget.looks.total()
        for _ in range(100):
            claim = new_claim(Debit(OTHER, 1))
            assert not await budget.counters.reserve([claim])
            budget.counters.settle(claim, [0])
        await trio.testing.wait_all_tasks_blocked()
        assert budget.looks.total() == looks
        nursery.cancel_scope.cancel()


async def test_an_end_wakes_few_requests_and_all_get_their_turn(autojump_clock):
    budget, began = Budget(), trio.current_time()
    async with trio.open_nursery() as nursery:
        await budget.request("first", 10, "mallory")
        for number in range(100):
            nursery.start_soon(budget.request, str(number), 10, "mallory")
        await trio.testing.wait_all_tasks_blocked()
        name = "first"
        for served in range(1, 101):
            looks = budget.looks.total()
            budget.end(name)
            await trio.testing.wait_all_tasks_blocked()
            assert len(budget.served) == served + 1
            assert budget.looks.total() - looks <= 2 * WOKEN
            name = budget.served[-1]
    assert trio.current_time() - began < POLL


async def test_one_end_makes_room_for_many_small_requests(autojump_clock):
    budget = Budget()
    async with trio.open_nursery() as nursery:
        await budget.request("large", 10, "mallory")
        began = trio.current_time()
        for number in range(10):
            nursery.start_soon(budget.request, str(number), 1, "mallory")
        await trio.testing.wait_all_tasks_blocked()
        budget.end("large")
        await trio.testing.wait_all_tasks_blocked()
        assert len(budget.served) == 11
        assert trio.current_time() == began


async def test_an_end_wakes_requests_of_each_client(autojump_clock):
    budget = Budget()
    async with trio.open_nursery() as nursery:
        await budget.request("first", 10, "mallory")
        for number in range(50):
            nursery.start_soon(budget.request, f"m{number}", 10, "mallory")
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(budget.request, "alice", 10, "alice")
        await trio.testing.wait_all_tasks_blocked()
        looks = budget.looks["alice"]
        budget.end("first")
        await trio.testing.wait_all_tasks_blocked()
        assert budget.looks["alice"] > looks
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("number", [1, 10 * FEW])
async def test_room_that_another_process_frees_is_found(autojump_clock, number):
    """Each of many requests checks less often, so that together they check as often as a few requests."""
    budget = Budget(FarCounters)
    async with trio.open_nursery() as nursery:
        await budget.request("first", 10, "mallory")
        for one in range(number):
            nursery.start_soon(budget.request, str(one), 10, "mallory", trio.current_time() + 5)
        await trio.testing.wait_all_tasks_blocked()
        looks = budget.looks.total()
        await trio.sleep(4)
        assert budget.looks.total() - looks <= 4 / POLL * FEW + number
        budget.end("first")
        await trio.sleep(2)
        assert len(budget.served) == 2
        nursery.cancel_scope.cancel()


async def test_a_request_waits_for_room_at_most_until_its_deadline(autojump_clock):
    budget = Budget()
    await budget.request("first", 10, "mallory")
    began = trio.current_time()
    await budget.request("second", 10, "mallory", began + 5)
    assert trio.current_time() == began + 5
    assert budget.served == ["first"]
