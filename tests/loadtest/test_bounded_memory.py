"""What a long load keeps in memory: a run of an hour at 100 a second takes some 17 MiB more than its first minute.

guidellm's documentation samples its answers because files swell; a million requests hung another tester
(elastic/rally#285).
"""

import random

import pytest

from loadtest.exchange.record import Problem
from loadtest.figures.run_figures import RunFigures
from loadtest.figures.tally import KINDS, Tally
from loadtest.figures.timeline import FINE, LoadTimeline
from tests.support.load_records import exchange_record, shift_record

SECONDS, EACH = 4000, 2


def hour(seed: int, seconds: int = SECONDS) -> LoadTimeline:
    """Return a timeline with some answers a second."""
    timeline, rng = LoadTimeline(), random.Random(seed)
    record = exchange_record(contents=(1.2,), planned=1.0)
    for second in range(seconds):
        for _ in range(EACH):
            timeline.record_end(shift_record(record, second + rng.random()), good=True)
            timeline.record_begin(second)
    return timeline


def test_a_long_run_keeps_few_histograms_and_loses_nothing():
    timeline = hour(1)
    seconds = timeline.seconds
    kept = [number for number, second in enumerate(seconds) if second.ttft.count]
    assert len(kept) <= FINE
    assert timeline.together == 8
    assert not any(number % 8 for number in kept)
    assert sum(second.ttft.count for second in seconds) == sum(second.started for second in seconds) == EACH * SECONDS
    assert max(second.started for second in seconds) == EACH  # counts stay those of one second
    rows = timeline.dump()
    assert rows[801]["ttft_p50"] == rows[800]["ttft_p50"] == pytest.approx(0.2, rel=0.01)
    assert LoadTimeline.load(rows).dump() == rows


def test_timelines_of_several_processes_are_as_of_one():
    both, short = hour(1, 1000), LoadTimeline()
    short.record_end(exchange_record(), good=True)
    short.merge(both)
    one = hour(1, 1000)
    one.record_end(exchange_record(), good=True)
    assert short.dump() == one.dump()
    assert short.together == one.together


def test_servers_cannot_make_kinds_without_end():
    tally = Tally()
    for number in range(3 * KINDS):
        tally.add(exchange_record(finish=f"reason {number}"))
        tally.add(exchange_record(end="error", problem=Problem(f"error event: {number}", "stream", "x" * 100)))
    assert len(tally.finishes) == len(tally.failures) == KINDS + 1
    assert tally.finishes["other"] == 2 * KINDS
    assert sum(row.count for row in tally.failures) == 3 * KINDS
    other = Tally()
    other.add(exchange_record(finish="one more"))
    other.merge(tally)
    assert sum(other.finishes.values()) == 3 * KINDS + 1


def test_merged_tallies_have_a_limited_number_of_kinds():
    """Each second of each process may have as many."""
    whole = Tally()
    for second in range(3):
        part = Tally()
        for number in range(KINDS):
            part.add(exchange_record(finish=f"reason {second} {number}"))
            part.add(exchange_record(end="error", problem=Problem(f"error event: {second} {number}", "stream", "no")))
        whole.merge(Tally.load(part.dump()))
    assert len(whole.finishes) == len(whole.failures) == KINDS + 1
    assert sum(whole.finishes.values()) == sum(row.count for row in whole.failures) == 3 * KINDS


def test_values_of_many_records_take_the_room_of_few():
    figures, rng = RunFigures(), random.Random(1)
    for number in range(1000):
        gaps = [rng.lognormvariate(-4, 0.5) for _ in range(20)]
        times = tuple(number / 100 + 0.1 + sum(gaps[:n]) for n in range(len(gaps)))
        figures.add(exchange_record(number=number, planned=number / 100, contents=times, first_output=times[0]))
    gap = figures.total.measures["gap"]
    assert gap.count == 19_000
    assert len(gap.buckets) < 800
