"""One step of a search: when it ends, on a server that is a queue in virtual time."""

import random
from bisect import bisect_right
from statistics import pstdev

import attrs
import pytest

from loadtest.run.step_watch import LimitEvidence, StepLength, StepWatch, step_state
from tests.support.simulated_queue import SimulatedQueue, starts

SECONDS = 5.0


def constant(rng: random.Random) -> float:
    return 0.5


def spread(rng: random.Random) -> float:
    return rng.lognormvariate(-0.94, 0.7)  # a mean of half a second


def watched(queue: SimulatedQueue, rate: float, seed: int | None = None, seconds: float = SECONDS):
    """When a step is over because its backlog grows, as a part of its time (1: never), and what was seen until then;
    arrivals are even where no ``seed`` is given."""
    rng = None if seed is None else random.Random(seed)
    answers = queue.answers(starts(rate, seconds, rng), rng or random.Random(0))
    begun, ends = [one.planned for one in answers], sorted((one.ended, one.wait_seconds) for one in answers)
    watch, seen = StepWatch(seconds / 12), 0
    for tick in range(int(10 * seconds)):
        now = tick / 10
        while seen < len(ends) and ends[seen][0] <= now:
            watch.count_ends(*ends[seen])
            seen += 1
        watch.count_under_way(now, bisect_right(begun, now) - seen)
        if watch.backlog_grows:
            return now / seconds, watch
    return 1.0, watch


EIGHT = SimulatedQueue(8, constant)


def test_a_step_at_twice_the_capacity_is_over_before_half_its_time():
    at, watch = watched(EIGHT, 32)
    assert at < 0.5
    growth = watch.growth
    assert growth.under_way[1] > 2 * growth.under_way[0]
    assert growth.waited[1] > 1.2 * growth.waited[0]


def test_a_step_at_twice_the_capacity_ends_early_whatever_the_spread():
    found = [watched(SimulatedQueue(8, service), 32, seed)[0] for service in (constant, spread) for seed in range(50)]
    assert max(found) < 1
    assert sorted(found)[80] <= 0.6


def test_even_arrivals_just_above_capacity_pile_up_and_just_below_do_not():
    assert watched(EIGHT, 16.6)[0] < 1
    assert watched(EIGHT, 15.8)[0] == 1


@pytest.mark.parametrize("service", [pytest.param(constant, marks=pytest.mark.soak), spread])
def test_a_step_below_capacity_is_hardly_ever_mistaken_for_one_above(service):
    queue = SimulatedQueue(8, service)
    wrong = sum(watched(queue, 13, seed)[0] < 1 for seed in range(150))
    assert wrong <= 10


def test_filling_the_server_is_no_backlog():
    """Answers of half the step's time: those under way rise all the while until the first have ended."""
    assert watched(SimulatedQueue(1000, lambda rng: 0.5 * SECONDS), 20)[0] == 1


def test_a_step_continues_until_it_has_enough_values():
    watch, length = StepWatch(1), StepLength(5, 30)
    clean, some = LimitEvidence(0.99, 298, 0), LimitEvidence(0.99, 400, 2)
    cases = [
        (4, [clean], "narrow", "go on"),  # not before its time
        (5, [clean], "climb", "enough"),  # a look is enough on the way up
        (5, [clean], "narrow", "enough"),  # none over: the answer will be seen for longer
        (5, [some], "narrow", "go on"),
        (5, [clean], "confirm", "go on"),
        (5, [LimitEvidence(0.99, 299, 0)], "confirm", "enough"),
        (5, [LimitEvidence(0.99, 627, 2)], "confirm", "go on"),
        (5, [LimitEvidence(0.99, 628, 2)], "confirm", "enough"),
        (5, [LimitEvidence(0.99, 628, 2), LimitEvidence(0.95, 58, 0)], "confirm", "go on"),
        (5, [LimitEvidence(0.95, 59, 0)], "confirm", "enough"),
        (30, [clean], "confirm", "enough"),  # it cannot go on for ever: undecided
        (1, [LimitEvidence(0.99, 2, 2)], "climb", "missed"),
        (1, [LimitEvidence(0.99, 1, 1)], "climb", "go on"),
        (5, [], "confirm", "enough"),  # conditions that need no number of values
    ]
    for elapsed, evidence, purpose, wanted in cases:
        assert step_state(elapsed, length, evidence, purpose, watch) == wanted, (elapsed, evidence, purpose)


def test_a_backlog_ends_any_step():
    _, watch = watched(EIGHT, 32)
    assert step_state(2, StepLength(5, 30), [], "climb", watch) == "backlog"


def test_a_look_on_the_way_up_goes_on_where_more_are_under_way_than_there_should_be():
    watch, length = StepWatch(1), StepLength(2, 8, crowd=24)
    for at, under_way, wanted in ((1, 48, "go on"), (2, 48, "go on"), (2, 16, "enough"), (8, 48, "enough")):
        watch.count_under_way(at, under_way)
        assert step_state(at, length, [], "climb", watch) == wanted, (at, under_way)


def test_growing_requests_under_way_are_a_backlog_even_without_ends():
    """A server that serves all concurrent requests and ever more slowly ends none of them for long."""
    length = StepLength(2, 8, crowd=24)
    for fills, wanted in ((10, "backlog"), (0, "enough")):  # or as many as ever, which is slow and no backlog
        watch = StepWatch(1)
        for at in range(9):
            watch.count_under_way(at, 100 + fills * at)
        assert step_state(7, length, [], "climb", watch) == "go on", fills
        assert step_state(8, length, [], "climb", watch) == wanted, fills
        assert watch.growth.under_way == (100, 100 + 7 * fills), fills


def test_answers_of_one_queue_count_less_than_independent_ones():
    """At 13.5 a second 5 % of an M/D/8 queue's answers take longer than a second, and come in clumps: many a stretch
    of 25 s has none of them. At even distances each answer is one."""
    lucky = sure = 0
    for seed in range(60):
        answers = EIGHT.answers(starts(13.5, 25, random.Random(seed)), random.Random(0))
        waits = [one.wait_seconds for one in answers]
        evidence = LimitEvidence(0.99, len(waits), sum(wait > 1 for wait in waits))
        lucky += evidence.is_kept
        sure += attrs.evolve(evidence, dependent=alike(answers)).is_kept
    assert lucky >= 6
    assert sure <= 3  # of 60, as 95 % confidence allows
    even = [attrs.evolve(one, ended=one.ended + random.Random(one.planned).uniform(0, 0.05)) for one in
            EIGHT.answers(starts(15, 25), random.Random(0))]  # fmt: skip
    assert alike(even) == 1


def alike(answers) -> float:
    watch = StepWatch(10 / 12)
    for one in answers:
        watch.count_ends(one.ended, one.wait_seconds)
    return watch.dependent_answers(pstdev(one.wait_seconds for one in answers))


def test_dependent_values_state_how_many_more_are_needed():
    few = LimitEvidence(0.99, 600, 0, dependent=10)
    assert not few.is_decided
    assert few.missing_values_text == "sure of 95.1 %, for 99 % it takes 2990 answers"
    assert LimitEvidence(0.99, 2990, 0, dependent=10).is_kept
    assert not LimitEvidence(0.99, 300, 9, dependent=10).is_missed()  # one clump
    assert LimitEvidence(0.99, 300, 60, dependent=10).is_missed()
