"""``--csv``: a report as a table, with a row for each figure of each target and kind of request."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from loadtest.figures.measures import MEASURES
from loadtest.figures.result import RunResult
from loadtest.figures.tally import COUNTS, Tally

ALL: Final = ""  # the kind of all requests together
_UNITS: Final = {"s": "_seconds"}  # what the other names end in already


def csv_of(runs: Sequence[RunResult]) -> bytes:
    """The whole file. Numbers stand in ``value``, what has many values in the columns behind it."""
    percentiles = sorted({percent for run in runs for percent in run.percentiles})
    head = ["target", "kind", "name", "value", "count", "min", "mean", "stdev"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, *(f"p{percent:g}" for percent in percentiles), "max"])
    for run in runs:
        writer.writerows(_rows(run, percentiles))
    return text.getvalue().encode()


def _rows(run: RunResult, percentiles: Sequence[float]) -> Iterator[list[Any]]:
    empty = [None] * (5 + len(percentiles))
    for name, value in _rates(run):
        yield [run.name, ALL, name, value, *empty]
    for kind, tally in {ALL: run.tally, **run.requests}.items():
        for name, count in _counts(tally):
            yield [run.name, kind, name, count, *empty]
        for name, measure in MEASURES.items():
            yield [run.name, kind, name + _UNITS.get(measure.unit, ""), None, *_values(tally, name, percentiles)]


def _rates(run: RunResult) -> Iterable[tuple[str, float]]:
    yield "offered_per_second", run.rate
    yield "completed_per_second", run.completed
    yield "good_per_second", run.goodput_rate
    yield "tokens_per_second_in_all", run.tokens_per_second
    yield "tokens_per_second_steady", run.steady_tokens_per_second


def _counts(tally: Tally) -> Iterable[tuple[str, float | None]]:
    yield from ((name, tally.counts[name]) for name in COUNTS)
    yield "goodput", tally.goodput


def _values(tally: Tally, name: str, percentiles: Sequence[float]) -> list[float | None]:
    found = tally.measures[name]
    if not found.count:
        return [0, *[None] * (4 + len(percentiles))]
    told = (found.least, found.mean, found.deviation, *map(found.percentile, percentiles), found.most)
    return [found.count, *(round(value, 6) for value in told)]
