"""Pins and open answers that several workers have in common."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from gateway.balancing.affinity import Affinity
from gateway.balancing.balancer import Balancer
from gateway.balancing.loads import MeasuredLoads
from gateway.balancing.pins import Pin
from gateway.balancing.shared import SharedOpenCounts, SharedPins
from gateway.shared.counts import SharedCounts
from gateway.shared.layout import GROUP, Layout, TableSize
from gateway.shared.memory import SharedMemory
from gateway.shared.shared_rows import SharedRows
from tests.support.groups import group, names, route

LAYOUT = Layout(3, {"pins": TableSize(16 * GROUP, 16)}, 16 * GROUP)
MEMBER = b"12345678"


class Clock:
    now = 50_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    with SharedMemory.make(LAYOUT) as memory:
        yield memory


@pytest.fixture
def pins(memory, clock) -> SharedPins:
    return SharedPins(SharedRows(memory, memory.take_seat(), "pins", clock), clock)


def key(number: int) -> bytes:
    return number.to_bytes(8, "little") + b"of a pin"


def test_a_pin_holds_until_its_time_is_over_by_the_clock_of_whoever_asks(pins, clock):
    """Processes that count their time from their own beginning agree."""
    pins.put(key(1), Pin(MEMBER, 10.0), 0.0)
    assert pins.get(key(1), 0.0) == Pin(MEMBER, 10.0)
    assert pins.get(key(1), 7000.0) == Pin(MEMBER, 7010.0)
    clock.now += 9.5
    assert pins.get(key(1), 7009.5) == Pin(MEMBER, 7010.0)
    clock.now += 0.5
    assert pins.get(key(1), 7010.0) is None
    assert pins.get(key(2), 0.0) is None


def test_the_number_of_pins_is_bounded(pins):
    for number in range(1000):
        pins.put(key(number), Pin(MEMBER, 300.0), 0.0)
    assert sum(pins.get(key(number), 0.0) is not None for number in range(1000)) == 16 * GROUP


@pytest.fixture
def workers(memory, clock) -> list[Balancer]:
    rows, counts = SharedRows(memory, seat := memory.take_seat(), "pins", clock), SharedCounts(memory, seat)
    picks = count()

    def chance() -> float:
        return next(picks) % 7 / 7

    return [Balancer(MeasuredLoads(SharedOpenCounts(counts)), SharedPins(rows, clock), chance) for _ in range(3)]


def first(worker: Balancer, members: Any, affinity: Affinity | None = None) -> str:
    """Who is asked first; its answer stays open."""
    order = worker.arrange(route(), members, affinity, 0.0)
    worker.loads.opened(order[0].target)
    worker.landed(route(), order, order[0], affinity, 0.0)
    return names(order)[0]


def test_a_conversation_stays_with_its_member_whichever_worker_gets_its_turns(workers):
    members = group(1, 1, 1)
    for number in range(20):
        affinity = Affinity(b"conversation %d" % number, 300.0, "session")
        assert len({first(workers[turn % 3], members, affinity) for turn in range(9)}) == 1


def test_the_least_busy_member_is_that_of_all_workers(workers):
    members = group(1, 1, 1)
    asked = [first(worker, members) for worker in workers * 4]
    assert sorted(asked.count(name) for name in set(asked)) == [4, 4, 4]


def test_an_open_answer_is_one_for_all_until_it_is_closed(workers):
    target = group(1)[0].target
    workers[0].loads.opened(target)
    workers[0].loads.opened(target)
    assert [worker.loads.open_answers(target) for worker in workers] == [2] * 3
    workers[0].loads.closed(target)
    workers[0].loads.closed(target)
    assert [worker.loads.open_answers(target) for worker in workers] == [0] * 3
