"""The figures of several processes, put together."""

import pickle
import random

import attrs
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtest.exchange.record import AnswerTokens, ExchangeRecord, Problem
from loadtest.figures.histogram import Histogram
from loadtest.figures.notes import notes
from loadtest.figures.result import RunResult
from loadtest.figures.run_figures import RunFigures
from loadtest.figures.tally import Tally
from loadtest.figures.timeline import LoadTimeline
from loadtest.reports.text import summary
from loadtest.run.overhead import Overhead
from tests.support.examples import examples


def record(rng: random.Random) -> ExchangeRecord:
    """An exchange of some kind and some end, somewhere in ten seconds."""
    planned = rng.uniform(-1, 10)
    times = sorted(planned + rng.lognormvariate(-1, 1) for _ in range(rng.randrange(6)))
    ended = (times[-1] if times else planned) + rng.random()
    end = rng.choice(("whole", "whole", "error", "unfinished", "cancelled", "interrupted"))
    failed = Problem(rng.choice(("cut", "timeout")), "stream") if end in ("error", "unfinished") else None
    return ExchangeRecord(
        number=0, request=rng.choice("ab"), api="chat", streamed=True, manner="reads", turn=rng.choice((1, 2)),
        step=rng.choice((0, 1)), planned=planned, queued=0.0, began=planned, connected=rng.choice((None, 0.001)),
        sent=planned, first_byte=planned + 0.1, first_event=times[0] if times else None, contents=tuple(times),
        first_output=times[-1] if times else None, end_event=None, ended=ended, status=200, end=end, problem=failed,
        tokens=AnswerTokens(output=rng.choice((None, 7))), asked_input=None, asked_output=None,
        finish="stop", request_id="", route=(), resent=False, version="1.1", events=len(times), reads=3, received=100,
        waived=(),
    )  # fmt: skip


def filled(records, late=()) -> RunFigures:
    figures = RunFigures()
    for one in records:
        figures.record_begin(one.planned, 0.001)
        figures.add(one, ["ttft<1s"] if one.ended > 5 else [])
    for at, in_flight in late:
        figures.timeline.record_state(at, in_flight, 0.01)
    return figures


def plain(figures: RunFigures):
    """All of it, in an order of its own, with sums as exact as sums of floats are whatever their order."""
    cells = sorted((attrs.astuple(cell), tally.dump()) for cell, tally in figures.cells.items())
    counts = figures.last, figures.unbegun, figures.cut_off, sorted(figures.conversing), attrs.astuple(figures.refusals)
    sums = [one.dump() for one in (figures.late, figures.lag, figures.retry_waits, figures.probes)]
    value = {"cells": cells, "timeline": figures.timeline.dump(), "counts": counts, "sums": sums}
    return rounded(msgspec.json.decode(msgspec.json.encode(value)))


def rounded(value):
    match value:
        case float():
            return float(f"{value:.9g}")
        case dict():
            return {key: rounded(item) for key, item in value.items() if key != "errors"} | {
                "errors": sorted(map(str, value.get("errors", ())))
            }
        case list():
            return [rounded(item) for item in value]
    return value


def through(figures: RunFigures) -> RunFigures:
    """As another process has them."""
    return pickle.loads(pickle.dumps(figures))


@settings(max_examples=examples(30))
@given(st.integers(0, 10**9), st.integers(1, 4))
def test_shares_put_together_equal_all_at_once_bucket_by_bucket(seed, processes):
    """Percentiles cannot be averaged: scylladb/scylla-cluster-tests#3133, grafana/k6-operator#812."""
    rng = random.Random(seed)
    records = [record(rng) for _ in range(rng.randrange(60))]
    found = RunFigures()
    for index in range(processes):
        found.merge(through(filled(records[index::processes])))
    assert plain(found) == plain(filled(records))


def test_partial_figures_of_a_process_are_not_counted_twice():
    rng = random.Random(1)
    records = [record(rng) for _ in range(40)]
    looks = [(1.1, 5), (1.4, 7), (1.8, 6), (2.2, 3)]
    found = RunFigures()
    for part in range(4):
        found.add_later(through(filled(records[10 * part : 10 * part + 10], looks[part : part + 1])))
    assert plain(found) == plain(filled(records, looks))
    both = RunFigures()
    both.merge(found)
    both.merge(filled((), [(1.3, 4)]))
    assert [second.in_flight for second in both.timeline.seconds[1:3]] == [11, 3]


def result(overhead: Overhead) -> RunResult:
    return RunResult("", "http://a", "", {}, 1.0, 1.0, False, Tally(), {}, LoadTimeline(), overhead)


def test_a_note_names_the_process_that_was_the_limit():
    """gpustack/gpustack#2324, vllm-project/guidellm#487: the limit was one of the client's own."""
    quick, slow = Histogram(), Histogram()
    quick.add(0.001)
    slow.add(0.05)
    parts = {"process 1": Overhead(quick, quick, 0.5), "process 2": Overhead(slow, quick, 0.95)}
    several = result(Overhead(slow, quick, 1.45, parts=parts))
    assert [note.partition(",")[0].partition(":")[0] for note in notes(several)] == [
        "The loader was late by 50 ms (p99 of its event loop in process 2)",
        "The loader used 95 % of its core in process 2",
    ]
    calm = result(Overhead(quick, quick, 1.6, parts={"a": parts["process 1"], "b": parts["process 1"]}))
    assert notes(calm) == ()
    assert Overhead.load(msgspec.json.decode(msgspec.json.encode(several.overhead.dump()))).parts.keys() == parts.keys()


def test_the_figures_of_each_process_fit_a_terminal():
    one = Histogram()
    one.extend([0.001, 0.0123])
    parts = {f"part {number} process 1": Overhead(one, one, 0.5) for number in (1, 2)}
    said = summary(result(Overhead(one, one, 1.0, parts=parts, apart=0.0042))).splitlines()
    at = said.index("  2 processes, begun 4.2 ms apart   CPU  lag p50  lag p99  late p99")
    assert said[at + 1] == "    part 1 process 1               50 %     1 ms  12.3 ms   12.3 ms"
    assert max(map(len, said[at : at + 3])) <= 80
