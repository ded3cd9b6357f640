"""Counters in one process: all of a claim or nothing, settled once, and what of them is forgotten."""

import pytest

from gateway.counters.counter import Claim, Debit, Level, RateCounter, SlotCounter, SumCounter
from gateway.counters.memory import LocalCounters

RATE = RateCounter(b"rate", "alice.tokens", 10_000, 60.0, 10_000)
SLOTS = SlotCounter(b"slots", "alice.concurrent", 1)
SUM = SumCounter(b"sum", "alice.budget", 1000, until=2e9)


@pytest.fixture
def counters(clock):
    return LocalCounters(clock, now=lambda: 1e9)


def claim(id, *debits):
    return Claim(id, tuple(Debit(counter, amount) for counter, amount in debits))


async def test_a_debit_of_0_always_fits(counters):
    spent = claim("a", (SUM, 1000), (RATE, 10_000))
    await counters.reserve([spent])
    counters.settle(spent, [5000, 50_000])
    assert await counters.reserve([claim("b", (SUM, 0), (RATE, 0))]) == ()


async def test_many_run_names_do_not_evict_configured_budgets(clock):
    counters = LocalCounters(clock, now=lambda: 1e9, most=10)
    spent = claim("a", (SUM, 900))
    await counters.reserve([spent])
    counters.settle(spent, [900])
    for number in range(100):
        run = SumCounter(b"run %d" % number, "alice.run", 10, until=2e9, by_clients=True)
        one = claim(f"run {number}", (run, 5))
        await counters.reserve([one])
        counters.settle(one, [5])
    assert counters.level(SUM) == Level(900, 0)
    assert counters.level(run) == Level(5, 0)
    assert counters.level(SumCounter(b"run 1", "alice.run", 10, until=2e9)) == Level(0, 0)


async def test_an_ended_period_is_dropped(clock):
    now = 1e9
    counters = LocalCounters(clock, now=lambda: now)
    for number in range(2000):
        now += 3600
        period = SumCounter(b"hour %d" % number, "alice.budget", 10, until=now + 3600)
        one = claim(f"hour {number}", (period, 5))
        await counters.reserve([one])
        counters.settle(one, [5])
    assert counters.size < 600
