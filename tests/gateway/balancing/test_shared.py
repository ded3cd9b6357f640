"""Pins and open answers that several workers have in common (BerriAI/litellm#16011)."""

from collections.abc import Iterator

import pytest

from gateway.balancing.affinity import Affinity
from gateway.balancing.balancer import Balancer
from gateway.shared.layout import Layout
from gateway.shared.memory import SharedMemory
from gateway.shared.tables import SharedTables
from tests.support.groups import group, plan, route

PLAN = plan(group(1, 1, 1), route())


@pytest.fixture
def workers() -> Iterator[list[Balancer]]:
    with SharedMemory.make(Layout(3)) as memory:
        tables = SharedTables.of(memory)
        yield [Balancer(tables.pins, tables.open_answers) for _ in range(3)]


def ask(worker: Balancer, affinity: Affinity | None = None) -> str:
    """The member that is asked; its answer stays open."""
    arranged = worker.arrange(PLAN, affinity, 0.0)
    worker.loads.opened(arranged.first)
    worker.landed(arranged, arranged.first, affinity)
    return arranged.first.model


def test_a_conversation_stays_with_its_member_whichever_worker_gets_its_turns(workers):
    for number in range(20):
        affinity = Affinity(b"conversation %d" % number, 300.0, "session")
        assert len({ask(workers[turn % 3], affinity) for turn in range(9)}) == 1


def test_the_least_busy_member_is_that_of_all_workers(workers):
    asked = [ask(worker) for worker in workers * 4]
    assert sorted(asked.count(name) for name in set(asked)) == [4, 4, 4]


def test_an_open_answer_is_one_for_all_until_it_is_closed(workers):
    place = PLAN.first.identity.place
    for _ in range(2):
        workers[0].loads.opened(PLAN.first)
    assert [worker.loads.counts.count(place) for worker in workers] == [2, 2, 2]
    for _ in range(2):
        workers[0].loads.closed(PLAN.first)
    assert [worker.loads.counts.count(place) for worker in workers] == [0, 0, 0]
