"""Amounts that a gateway adds later, after its shared store has lost data, count once."""

import contextlib
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
import trio

from gateway.counters.counter import Claim, Level, SumCounter
from gateway.counters.counter_store import CounterStoreUnavailable, SendStep
from gateway.counters.remote import RemoteCounters
from tests.support.counters import budget, claim
from tests.support.set_clock import SetClock

LEASE = 6.0


class Store:
    """Sums in memory, for one process among several. ``steps`` are the steps performed."""

    title = "a store"

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._used: dict[str, int] = {}
        self._claims: dict[str, list[tuple[str, int]]] = {}
        self._number = 0
        self.steps: list[dict] = []
        self.is_away = False

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[SendStep]:
        if self.is_away:
            raise CounterStoreUnavailable("away")
        yield self._perform

    def lose_everything(self) -> None:
        self._used, self._claims, self._number = {}, {}, 0

    def add_elsewhere(self, counter: SumCounter, amount: int) -> None:
        """Add what another process used."""
        self._used[counter.key.hex()] = self.used_amount(counter) + amount

    def used_amount(self, counter: SumCounter) -> int:
        return self._used.get(counter.key.hex(), 0)

    def held_amount(self, counter: SumCounter) -> int:
        key = counter.key.hex()
        return sum(amount for debits in self._claims.values() for one, amount in debits if one == key)

    async def _perform(self, text: bytes, limit: float) -> bytes:
        await trio.lowlevel.checkpoint()
        if self.is_away:
            raise CounterStoreUnavailable("away")
        step = msgspec.json.decode(text)
        if step["number"] != self._number + 1 and not step["joins"]:
            return b'{"lost": 1}'
        self._number = step["number"]
        self.steps.append(step)
        for raised in step["raised"]:
            self._used[raised[1]] = max(self._used.get(raised[1], 0), int(raised[5]))
        if step["joins"]:
            self._claims = {}
        for name, debits in step["holds"]:
            self._claims[name] = [(debit[1], int(debit[5])) for debit in debits]
        for name, _ in step["ended"]:
            self._claims.pop(name, None)
        added = []
        for one in step["added"]:
            self._used[one[1]] = self._used.get(one[1], 0) + int(one[5])
            added.append(self._state(one))
        reserved = []
        for claims in step["reserved"]:
            for name, debits in claims:
                self._claims[name] = [(debit[1], int(debit[5])) for debit in debits]
            reserved.append((1, [self._state(debit) for _, debits in claims for debit in debits]))
        looked = [self._state(one) for one in step["looked"]]
        reply = {"time": self._clock(), "alive": 2, "reserved": reserved, "added": added, "looked": looked}
        return msgspec.json.encode(reply)

    def _state(self, counter: list) -> tuple[int, int, int, int]:
        held = sum(amount for debits in self._claims.values() for key, amount in debits if key == counter[1])
        return self._used.get(counter[1], 0), held, 0, 0


@pytest.fixture
def clock() -> SetClock:
    return SetClock(1000.0)


@pytest.fixture
def store(clock: SetClock) -> Store:
    return Store(clock)


@pytest.fixture
async def counters(store: Store, clock: SetClock, nursery) -> RemoteCounters:
    made = RemoteCounters(store, lease=LEASE, clock=clock)
    nursery.start_soon(made.run)
    return made


async def until(true: Callable[[], object]) -> None:
    with trio.fail_after(5):
        while not true():  # noqa: ASYNC110 - a step sets no event
            await trio.sleep(0.005)


async def reserve(counters: RemoteCounters, of: SumCounter, amount: int) -> Claim:
    taken = claim((of, amount))
    assert not await counters.reserve([taken])
    return taken


async def delay(counters: RemoteCounters, store: Store, of: SumCounter, amount: int) -> None:
    """Use ``amount`` after the loss of the store, so that it is reserved instead of added."""
    taken = await reserve(counters, of, amount)
    store.lose_everything()
    counters.settle(taken, [0])
    await reserve_nothing(counters)
    taken = await reserve(counters, of, amount)
    counters.settle(taken, [amount])
    await until(lambda: store.held_amount(of) == amount and store.used_amount(of) == 0)
    await reserve_nothing(counters)


async def reserve_nothing(counters: RemoteCounters) -> None:
    """Let the store perform a step after everything pending."""
    counters.settle(await reserve(counters, budget("other", 10**9), 1), [0])


async def test_a_raise_does_not_include_delayed_amounts(counters, store, clock):
    spent = budget("b", 1000)
    await delay(counters, store, spent, 70)
    counters.raise_to(spent, 100)  # the ledger has 30 of earlier and 70 of now
    await until(lambda: store.used_amount(spent) == 30)
    assert store.held_amount(spent) == 70
    clock.now += LEASE
    await reserve_nothing(counters)
    await until(lambda: counters.is_synced)
    assert (store.used_amount(spent), store.held_amount(spent)) == (100, 0)
    assert counters.level(spent) == Level(100, 0)


async def test_a_delayed_amount_counts_once_in_levels(counters, store, clock):
    spent = budget("b", 1000)
    await delay(counters, store, spent, 70)
    assert counters.level(spent) == Level(0, 70)
    clock.now += LEASE
    counters.settle(await reserve(counters, spent, 5), [5])
    await until(lambda: counters.is_synced)
    assert counters.level(spent) == Level(75, 0)


@pytest.mark.parametrize("is_answered", [True, False])
async def test_a_share_does_not_spend_delayed_amounts_again(counters, store, is_answered):
    spent = budget("b", 100)
    if is_answered:
        await delay(counters, store, spent, 70)
        store.is_away = True
    else:
        await delay(counters, store, budget("else", 100), 1)
        taken = await reserve(counters, spent, 70)
        store.is_away = True
        counters.settle(taken, [70])
    with contextlib.suppress(AssertionError):
        await reserve_nothing(counters)
    await until(lambda: counters.is_away)
    level = counters.level(spent)
    assert level.used + level.held == 70
    assert not await counters.reserve([claim((spent, 15))]), "half of the rest"
    assert await counters.reserve([claim((spent, 1))])


async def test_delayed_amounts_end_in_several_steps(counters, store, clock):
    spent = budget("b", 10**6)
    await delay(counters, store, spent, 1)
    for _ in range(449):
        counters.settle(await reserve(counters, spent, 1), [1])
    await reserve_nothing(counters)
    assert store.held_amount(spent) >= 440, "each in a step of its own"
    assert store.used_amount(spent) == 0
    del store.steps[:]
    clock.now += LEASE
    await reserve_nothing(counters)
    await until(lambda: counters.is_synced)
    assert (store.used_amount(spent), store.held_amount(spent)) == (450, 0)
    ended = [len(step["ended"]) for step in store.steps]
    assert max(ended) <= 202
    sums = [(sum(int(one[5]) for one in step["added"] if one[1] == spent.key.hex())) for step in store.steps]
    assert sum(sums) == 450
    assert len([amount for amount in sums if amount]) == 3


async def test_a_gateway_that_stops_adds_all_delayed_amounts(counters, store):
    spent = budget("b", 10**6)
    await delay(counters, store, spent, 1)
    for _ in range(449):
        counters.settle(await reserve(counters, spent, 1), [1])
    await counters.finish()
    assert store.used_amount(spent) == 450
    assert [step["leaves"] for step in store.steps][-1] == 1


async def test_an_unavailable_store_gets_no_request_for_earlier_sums(counters, store, monkeypatch):
    current = budget("slice 2", 100, "slice 1")
    await reserve(counters, current, 1)
    store.is_away = True
    with contextlib.suppress(AssertionError):
        await reserve_nothing(counters)
    await until(lambda: counters.is_away)
    sent = len(store.steps)
    for _ in range(10):
        assert await counters.earlier_sums(current) is None
    assert len(store.steps) == sent


async def test_a_refresh_includes_simultaneous_settlements_of_others(counters, store):
    """A level that was fresh was not refreshed, so none of several processes saw that together they reached a step."""
    spent = budget("b", 1000)
    taken = await reserve(counters, spent, 10)
    store.add_elsewhere(spent, 50)
    counters.settle(taken, [10])
    assert await counters.refresh([spent])
    assert counters.level(spent) == Level(60, 0)


@pytest.mark.parametrize("is_delayed", [True, False])
async def test_a_refresh_reports_that_the_store_lacks_amounts(counters, store, clock, is_delayed):
    spent = budget("b", 1000)
    if is_delayed:
        await delay(counters, store, spent, 10)
    else:
        taken = await reserve(counters, spent, 10)
        store.is_away = True
        counters.settle(taken, [10])
    assert not await counters.refresh([spent])
    store.is_away = False
    clock.now += LEASE
    await until(lambda: not counters.is_away)
    await reserve_nothing(counters)
    await until(lambda: counters.is_synced)
    assert await counters.refresh([spent])
    assert counters.level(spent).used == 10


async def test_a_distant_store_is_not_unavailable(autojump_clock, nursery):
    """With a round trip of 0.2 s, a reservation that arrived during a step waited for more than the limit."""

    class DistantStore(Store):
        async def _perform(self, text: bytes, limit: float) -> bytes:
            await trio.sleep(0.2)  # of the test's clock
            return await super()._perform(text, limit)

    counters = RemoteCounters(DistantStore(trio.current_time), clock=trio.current_time)
    nursery.start_soon(counters.run)
    await counters.read_clock()
    async with trio.open_nursery() as requests:
        for _ in range(20):
            requests.start_soon(reserve, counters, budget("b"), 1)
            await trio.sleep(0.07)
    assert counters.take_outage_reservations() == 0


async def test_a_slow_reply_does_not_let_the_next_request_wait_longer(autojump_clock, nursery):
    delays = iter([0.1, *[1.0] * 99])  # of the test's clock

    class SlowStore(Store):
        async def _perform(self, text: bytes, limit: float) -> bytes:
            await trio.sleep(next(delays))
            return await super()._perform(text, limit)

    counters = RemoteCounters(SlowStore(trio.current_time), clock=trio.current_time)
    nursery.start_soon(counters.run)
    await counters.read_clock()
    for _ in range(3):
        await reserve(counters, budget("b"), 1)
        assert counters.take_outage_reservations() == 1
        await until(lambda: not counters.is_away)
