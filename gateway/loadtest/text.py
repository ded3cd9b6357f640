"""A report as lines of text."""

from collections.abc import Iterable, Sequence

from gateway.loadtest.figures import COUNTED, PERCENTILES, duration, lines, load_of, plain, shown
from gateway.loadtest.report import RunResult
from gateway.loadtest.tally import MEASURES, Tally

WIDTH = 34


def summary(run: RunResult) -> str:
    """One run."""
    said = [
        f"{run.name}" + (f"  {run.url}" if run.target else ""),
        f"  {load_of(run)}" + ("; interrupted" if run.interrupted else ""),
        f"  {_counts(run.tally)}",
        f"  {plain(run.rate)} requests a second, {plain(run.tokens_per_second)} tokens a second{_bunches(run.tally)}",
        "",
        *_table(run.tally),
    ]
    if len(run.requests) > 1:
        for name, tally in run.requests.items():
            said += ["", f"  {name}: {_counts(tally)}", *_table(tally)]
    if run.tally.failures:
        said += ["", *_failures(run.tally)]
    return "\n".join([*said, "", *_loader(run)])


def comparison(runs: Sequence[RunResult]) -> str:
    """Several runs side by side, with the ratio of each to the first."""
    head = ["", runs[0].name]
    for run in runs[1:]:
        head += [run.name, ""]
    rows = [head]
    for line in lines(runs):
        first, *others = line.texts
        rows.append([line.label, first, *(cell for pair in zip(others, line.ratios, strict=True) for cell in pair)])
    said = _aligned(rows)
    notes = [f"note: {run.name}: {note}" for run in runs for note in run.overhead.notes]
    return "\n".join([*said, *notes])


def _counts(tally: Tally) -> str:
    kept = ("started", "whole", "error")
    return ", ".join(
        f"{tally.counts[name]} {label}" for name, label in COUNTED.items() if name in kept or tally.counts[name]
    )


def _bunches(tally: Tally) -> str:
    return f", {tally.events / tally.reads:.2f} content events a read" if tally.events else ""


def _table(tally: Tally) -> Iterable[str]:
    rows = [["", *(f"p{percent}" for percent in PERCENTILES), "max", "count"]]
    for name, label in MEASURES.items():
        histogram = tally.measures[name]
        if histogram.count:
            values = (*(histogram.percentile(percent) for percent in PERCENTILES), histogram.most)
            rows.append([f"  {label}", *map(shown(name), values), str(histogram.count)])
    return _aligned(rows) if len(rows) > 1 else ["  nothing was measured"]


def _failures(tally: Tally) -> Iterable[str]:
    yield "  errors, by kind and by what was waited for"
    for row in tally.failures:
        yield f"  {row.count:>7}  {row.kind:<{WIDTH}} {row.phase:<12} {row.example}".rstrip()


def _loader(run: RunResult) -> Iterable[str]:
    own = run.overhead
    lag = f"lag p50 {duration(own.lag.percentile(50))}, p99 {duration(own.lag.percentile(99))}"
    late = f"requests begun late by p99 {duration(own.late.percentile(99))}"
    yield f"  loader: {100 * own.cpu:.0f} % of a core, {lag}, {late}"
    if test := own.self_test:
        cost = f"{duration(test.stream)} of CPU a stream and {duration(test.event)} an event"
        yield f"  self-test: {cost}, seen {duration(test.delay_p50)} after it was sent (p99 {duration(test.delay_p99)})"
    for note in own.notes:
        yield f"  note: {note}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
