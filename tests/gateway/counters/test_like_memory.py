"""Any sequence of steps has the same outcome wherever it is counted: each backend against the one in memory."""

import time
from collections.abc import Sequence

import pytest
import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gateway.counters.counter import Claim, Counter, Counters, Debit, SlotCounter, SumCounter
from gateway.counters.memory import LocalCounters
from gateway.counters.remote import RemoteCounters
from gateway.counters.workers import WorkerCounters
from gateway.shared.amounts import SharedAmounts
from gateway.shared.layout import AMOUNT_ROWS, GROUP, Layout
from gateway.shared.memory import SharedMemory
from tests.support.counters import STORES, key
from tests.support.examples import examples


def _counters_of_each_kind(run: int) -> list[Counter]:
    until = time.time() + 86_400.0
    return [
        SlotCounter(key(f"{run} s"), "s", 3),
        SumCounter(key(f"{run} a"), "a", 50, until),
        SumCounter(key(f"{run} b"), "b", 120, until, (key(f"{run} a"),)),
        SumCounter(key(f"{run} c"), "c", 10**15, until),
    ]


AMOUNTS = st.integers(0, 40)
RESERVE = st.tuples(st.just("reserve"), st.lists(st.tuples(st.integers(0, 3), AMOUNTS), min_size=1, max_size=4))
SETTLE = st.tuples(st.just("settle"), st.integers(0, 30), AMOUNTS)
RAISE = st.tuples(st.just("raise"), st.integers(1, 3), AMOUNTS)
STEPS = st.lists(st.one_of(RESERVE, RESERVE, SETTLE, SETTLE, RAISE), max_size=25)
RUNS = iter(range(10**9))


async def play(steps: Sequence[tuple], of: Counters, every: Sequence[Counter], run: int) -> list[object]:
    """Play the steps, and return their results and the levels of all counters at the end."""
    taken, seen = [], []
    for number, step in enumerate(steps):
        match step:
            case ("reserve", wanted):
                debits = {which: 1 if which == 0 else amount for which, amount in wanted}
                claim = Claim(f"{run}.{number}", tuple(Debit(every[which], size) for which, size in debits.items()))
                short = await of.reserve([claim])
                seen.append([(one.debit, one.used, one.held, one.is_lasting) for one in short])
                taken += [] if short else [claim]
            case ("settle", which, amount) if taken:
                claim = taken[which % len(taken)]  # also one that is settled already
                of.settle(claim, [amount for _ in claim.debits])
            case ("raise", which, amount):
                of.raise_to(every[which], amount)  # type: ignore[arg-type]
    too_much = Claim(f"{run}.end", tuple(Debit(one, 10**15 + 1) for one in every))
    seen.append([(one.used, one.held) for one in await of.reserve([too_much])])
    return seen


@pytest.mark.parametrize("kind", ["workers", *STORES])
def test_every_backend_behaves_like_the_one_in_memory(kind, store):
    async def compare(steps: Sequence[tuple]) -> None:
        run = next(RUNS)
        every = _counters_of_each_kind(run)
        expected = await play(steps, LocalCounters(), every, run)
        if store is not None:
            remote = RemoteCounters(store, limit=5.0)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(remote.run)
                assert await play(steps, remote, every, run) == expected
                await remote.finish()
        else:
            with SharedMemory.make(Layout(3, {}, dict.fromkeys(AMOUNT_ROWS, 8 * GROUP))) as memory:
                shared = WorkerCounters(SharedAmounts(memory, memory.take_seat()))
                assert await play(steps, shared, every, run) == expected

    @settings(max_examples=examples(50), deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
    @given(steps=STEPS)
    def holds(steps: Sequence[tuple]) -> None:
        trio.run(compare, steps)

    holds()
