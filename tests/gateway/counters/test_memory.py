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


async def test_a_claim_takes_all_or_nothing(counters):
    """BerriAI/litellm#39309: a refused request used up what had been looked at first."""
    assert await counters.reserve([claim("a", (SLOTS, 1))]) == ()
    short = await counters.reserve([claim("b", (RATE, 100)), claim("c", (SUM, 10), (SLOTS, 1))])
    assert [one.debit.counter for one in short] == [SLOTS]
    assert counters.level(RATE) == Level(0)
    assert counters.level(SUM) == Level(0, 0)


async def test_all_that_is_short_is_named(counters):
    """maximhq/bifrost#3500"""
    await counters.reserve([claim("a", (SLOTS, 1), (SUM, 1000), (RATE, 10_000))])
    short = await counters.reserve([claim("b", (SLOTS, 1), (SUM, 1), (RATE, 1000))])
    assert [one.debit.counter for one in short] == [SLOTS, SUM, RATE]
    assert [one.wait for one in short] == [None, None, pytest.approx(6.0)]


async def test_a_claim_is_settled_once(counters):
    """BerriAI/litellm#30460"""
    mine = claim("a", (SLOTS, 1), (SUM, 100), (RATE, 1000))
    await counters.reserve([mine])
    for _ in range(3):
        counters.settle(mine, [1, 30, 200])
    assert counters.level(SLOTS) == Level(0, 0)
    assert counters.level(SUM) == Level(30, 0)
    assert counters.level(RATE) == Level(200)


async def test_a_sum_that_reservations_fill_is_not_used_up(counters):
    """BerriAI/litellm#27735"""
    await counters.reserve([claim("a", (SUM, 900))])
    (short,) = await counters.reserve([claim("b", (SUM, 200))])
    assert not short.is_lasting
    (short,) = await counters.reserve([claim("c", (SUM, 1001))])
    assert short.is_lasting


async def test_earlier_slices_of_a_rolling_period_count(counters):
    first = claim("a", (SUM, 600))
    await counters.reserve([first])
    counters.settle(first, [600])
    later = SumCounter(b"later", "alice.budget", 1000, until=2e9, earlier=(SUM.key,))
    (short,) = await counters.reserve([claim("b", (later, 500))])
    assert (short.used, short.held) == (600, 0)
    assert counters.level(later) == Level(600, 0)


async def test_for_nothing_there_is_always_room(counters):
    spent = claim("a", (SUM, 1000), (RATE, 10_000))
    await counters.reserve([spent])
    counters.settle(spent, [5000, 50_000])
    assert await counters.reserve([claim("b", (SUM, 0), (RATE, 0))]) == ()


async def test_who_names_runs_pushes_nobody_elses_budget_out(clock):
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


async def test_a_period_that_is_over_is_forgotten(clock):
    now = 1e9
    counters = LocalCounters(clock, now=lambda: now)
    for number in range(2000):
        now += 3600
        period = SumCounter(b"hour %d" % number, "alice.budget", 10, until=now + 3600)
        one = claim(f"hour {number}", (period, 5))
        await counters.reserve([one])
        counters.settle(one, [5])
    assert counters.size < 600


async def test_who_listens_hears_of_every_settlement_once(counters):
    heard = []
    counters.on_settled(heard.append)
    mine = claim("a", (SLOTS, 1))
    await counters.reserve([mine])
    counters.settle(mine, [1])
    counters.settle(mine, [1])
    assert heard == [mine]
