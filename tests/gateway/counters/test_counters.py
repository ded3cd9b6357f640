"""One suite for the counters of every storage."""

from collections.abc import AsyncIterator

import attrs
import pytest

from gateway.counters.counter import Counters, Debit, Level, RateCounter, SumCounter
from gateway.counters.memory import LocalCounters
from gateway.counters.remote import RemoteCounters
from gateway.counters.workers import WorkerCounters
from gateway.shared.amounts import SharedAmounts
from gateway.shared.layout import AMOUNT_ROWS, Layout
from gateway.shared.memory import SharedMemory
from tests.support.counters import STORES, budget, claim, rate, slots

KINDS = ("memory", "workers", *STORES)


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
async def counters(request, kind, store, nursery) -> AsyncIterator[Counters]:
    """Yield counters of this kind, with the parameter as the most names that clients choose."""
    most = getattr(request, "param", 128)
    if store is not None:
        remote = RemoteCounters(store, limit=5.0, most_chosen=most)
        nursery.start_soon(remote.run)
        yield remote
        await remote.finish()
    elif kind == "memory":
        yield LocalCounters(most=most)
    else:
        with SharedMemory.make(Layout(3, {}, dict.fromkeys(AMOUNT_ROWS, most))) as memory:
            yield WorkerCounters(SharedAmounts(memory, memory.take_seat()))


@pytest.mark.parametrize("counters", [32], indirect=True)
async def test_no_client_can_take_all_counters_or_displace_a_spent_one(counters):
    """A flood of runs emptied budgets, or filled the memory of the store that all gateways share."""

    async def spend(counter: SumCounter | RateCounter) -> str | None:
        wanted = claim((counter, 5))
        if short := await counters.reserve([wanted]):
            return short[0].cause
        counters.settle(wanted, [5])
        return None

    def run(name: str, client: str) -> SumCounter:
        return attrs.evolve(budget(name, 10), chosen_by=client)

    spent = (budget("alice's day", 10), run("alice's run", "alice"))
    assert [[await spend(one) for _ in range(3)] for one in spent] == [[None, None, "no_room"]] * 2
    flood = [await spend(run(f"m{number}", "mallory")) for number in range(100)]
    assert (flood.count(None), flood.count("no_row")) == (16, 84)
    assert await spend(run("m0", "mallory")) is None, "runs in progress continue"
    assert [await spend(one) for one in spent] == ["no_room"] * 2
    assert [await spend(run(f"b{number}", "bob")) for number in range(6)] == [None] * 6
    assert await spend(attrs.evolve(rate("header value"), chosen_by="bob")) is None
    assert await spend(budget("bob's day", 10)) is None


async def test_a_budget_counts_reservations_and_charges_usage_once(counters):
    """BerriAI/litellm#27735, #30460"""
    spent = budget("b")
    first = claim((spent, 60))
    assert not await counters.reserve([first])
    (short,) = await counters.reserve([claim((spent, 41))])
    assert (short.used, short.held, short.wait, short.is_lasting) == (0, 60, None, False)
    (short,) = await counters.reserve([claim((spent, 101))])
    assert short.is_lasting
    for _ in range(3):
        counters.settle(first, [75])
    assert counters.level(spent) == Level(75, 0)
    (short,) = await counters.reserve([claim((spent, 26))])
    assert (short.used, short.held, short.is_lasting) == (75, 0, True)
    assert not await counters.reserve([claim((spent, 25))])


async def test_all_debits_are_reserved_or_none(counters):
    """The refused request consumes no ``requests`` (BerriAI/litellm#39309), and every exhausted counter is reported
    (maximhq/bifrost#3500)."""
    full, requests, spent = slots("s", 0), rate("r"), budget("b", 5)
    short = await counters.reserve([claim((requests, 1), (full, 1)), claim((spent, 6), (slots("t"), 1))])
    assert [one.debit.counter for one in short] == [full, spent]
    assert [counters.level(one) for one in (full, requests, spent, slots("t"))] == [Level(0, 0)] * 4


async def test_slots_are_released_once(counters):
    both = slots("s")
    claims = [claim((both, 1)), claim((both, 1))]
    for one in claims:
        assert not await counters.reserve([one])
    (short,) = await counters.reserve([claim((both, 1))])
    assert (short.used + short.held, short.wait) == (2, None)
    for _ in range(3):
        counters.settle(claims[0], [1])
    assert counters.level(both).held == 1
    counters.settle(claims[1], [1])
    assert counters.level(both) == Level(0, 0)


async def test_a_rate_states_when_the_same_request_would_pass(counters):
    tokens = rate("t", 3600, 3600.0, 100)
    assert not await counters.reserve([claim((tokens, 70))])
    (short,) = await counters.reserve([claim((tokens, 50))])
    assert short.wait == pytest.approx(20, abs=2)
    assert short.used == pytest.approx(70, abs=2)


async def test_a_rate_is_corrected_by_the_actual_amount(counters):
    tokens = rate("t", 3600, 3600.0, 100)
    one, two = claim((tokens, 50)), claim((tokens, 20))
    assert not await counters.reserve([one, two])
    for _ in range(2):
        counters.settle(one, [10])
    assert counters.level(tokens).used == pytest.approx(30, abs=2)
    counters.settle(two, [90])
    assert counters.level(tokens).used == pytest.approx(100, abs=2)
    (short,) = await counters.reserve([claim((tokens, 1))])
    assert short.wait == pytest.approx(1, abs=2)


async def test_a_debit_larger_than_the_burst_passes_when_it_is_full(counters):
    tokens = rate("t", 3600, 3600.0, 100)
    assert not await counters.reserve([claim((tokens, 500))])
    (short,) = await counters.reserve([claim((tokens, 1))])
    assert short.wait == pytest.approx(401, abs=2)


async def test_the_sums_of_earlier_slices_are_known_one_by_one(counters):
    """A budget reports by them when it refills."""
    current = budget("slice 4", 100, "slice 3", "slice 2", "slice 1")
    for counter, amount in ((budget("slice 3", 100), 30), (budget("slice 1", 100), 10), (current, 5)):
        wanted = claim((counter, amount))
        assert not await counters.reserve([wanted])
        counters.settle(wanted, [amount])
    for _ in range(2):
        assert [*await counters.earlier_sums(current)] == [30, 0, 10]
        await counters.refresh([current])
        assert counters.level(current) == Level(45, 0)


async def test_earlier_slices_of_a_rolling_budget_count(counters):
    earlier = budget("slice 1", 100)
    first, second = claim((earlier, 30)), claim((earlier, 30))
    assert not await counters.reserve([first, second])
    counters.settle(first, [40])
    later = budget("slice 2", 100, "slice 1", "slice 0")
    (short,) = await counters.reserve([claim((later, 31))])
    assert (short.used, short.held) == (40, 30)
    assert not await counters.reserve([claim((later, 30))])
    assert counters.level(later) == Level(40, 60)


async def test_a_shortage_is_reported_without_reserving(counters):
    spent, both = budget("b"), slots("s", 1)
    assert counters.shortage_for(Debit(spent, 100)) is None
    assert counters.shortage_for(Debit(spent, 101)) is not None
    taken = claim((both, 1))
    assert not await counters.reserve([taken])
    assert counters.shortage_for(Debit(both, 1)) is not None
    counters.settle(taken, [1])
    assert counters.shortage_for(Debit(both, 1)) is None


async def test_callbacks_receive_settled_claims(counters):
    heard = []
    counters.on_settled(lambda *given: heard.append(given))
    taken = claim((slots("s"), 1))
    counters.settle(taken, [1])
    assert heard == []
    assert not await counters.reserve([taken])
    counters.settle(taken, [1])
    counters.settle(taken, [1])
    assert heard == [(taken, [1])]


async def test_raising_a_sum_is_a_minimum_and_counts_once(counters):
    """Reseeding multiplied spending (BerriAI/litellm#28247)."""
    spent = budget("b")
    for used in (40, 40, 30):
        counters.raise_to(spent, used)
    assert not await counters.reserve([claim((spent, 60))])
    assert await counters.reserve([claim((spent, 1))])


async def test_amounts_are_exact_beyond_the_precision_of_floats(counters):
    """A float of dollars loses cents; 9,007 dollars and a billionth are exact here."""
    spent = budget("b", 10**18)
    taken = claim((spent, 10**15 + 1))
    assert not await counters.reserve([taken])
    counters.settle(taken, [9_007_199_254_740 * 1000 + 1])
    assert counters.level(spent).used == 9_007_199_254_740_001


@pytest.mark.parametrize("amount", [-900_000, -(10**30), 2**63, 2**64, 10**19, 10**30])
async def test_an_amount_too_large_for_a_store_loses_no_charge_or_reservation(counters, amount):
    """A provider states any number of tokens. A refund is impossible, and other settlements still count."""
    spent, other, tokens, places = budget("b", 10**20), budget("o"), rate("t", 10**9, 60.0), slots("s", 3)
    taken = claim((spent, amount), (other, 5), (tokens, 7), (places, 1))
    if not await counters.reserve([taken]):
        counters.settle(taken, [0, 0, 0, 0])
    taken = claim((spent, 10), (other, 5), (tokens, 7), (places, 1))
    assert not await counters.reserve([taken])
    counters.settle(taken, [amount, 5, amount, 1])
    for _ in range(12):
        more = claim((spent, 3), (other, 1))
        if await counters.reserve([more]):
            break
        counters.settle(more, [amount, 1])
    await counters.refresh([spent, other, places])
    used, others = counters.level(spent), counters.level(other)
    assert others.used > 5
    assert others.held == counters.level(places).held == 0
    assert used.used == 0 if amount < 0 else used.used >= 10**17
    counters.raise_to(spent, 10**30)
    assert await counters.reserve([claim((spent, 10**6))])
    assert not await counters.reserve([claim((other, 1))])
