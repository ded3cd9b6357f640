"""Counters in one process: they reserve claims wholly or not at all, settle them once, and forget idle ones."""

import itertools

import pytest

from gateway.counters.counter import Claim, Debit, RateCounter, SumCounter
from gateway.counters.memory import LocalCounters

RATE = RateCounter(b"rate", "alice.tokens", 10_000, 60.0, 10_000)
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


async def spend(counters, counter, amount=5):
    """Spend ``amount``, and return the cause if it is refused."""
    one = claim(f"{next(NUMBERS)}", (counter, amount))
    if short := await counters.reserve([one]):
        return short[0].cause
    counters.settle(one, [amount])
    return None


NUMBERS = itertools.count()


def run(name, client, until=2e9):
    return SumCounter(name.encode(), "run", 10, until, chosen_by=client)


async def test_runs_that_ended_and_rates_that_refilled_make_room(clock):
    now = 1e9
    counters = LocalCounters(clock, now=lambda: now, most=20)
    for hour in range(10):
        now += 3600
        clock.now += 3600
        for number in range(10):
            rate = RateCounter(b"rate %d %d" % (hour, number), "r", 10, 60.0, 10, chosen_by="b")
            assert await spend(counters, rate) is None
            assert await spend(counters, run(f"{hour} {number}", "a", now + 1800)) is None
    assert counters.size <= 20


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
