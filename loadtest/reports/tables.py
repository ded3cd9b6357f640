"""Tables with a row for each load, step or figure, as cells of text: for a terminal of 80 columns and for a page."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from html import escape
from textwrap import wrap
from typing import Any, Final

import attrs

from loadtest.figures.confidence import MeanOfRuns
from loadtest.figures.measures import MEASURES, Shown, duration, plain, shown
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Tally
from loadtest.reports.words import describe_step


@attrs.frozen
class FigureTable:
    """Rows under a ``head``, all of the same length; the first cell of each says what it is about."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def lines(self) -> list[str]:
        return aligned([self.head, *self.rows], self.words)

    @property
    def words(self) -> list[int]:
        """The columns that hold words rather than figures."""
        return [i for i, name in enumerate(self.head) if not i or not name]


def aligned(rows: Sequence[Sequence[str]], words: Container[int] = (0,)) -> list[str]:
    """The columns that hold ``words`` to the left, and figures to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i in words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.3g} %"


_HEAD = ("begun", "errors", "good", "whole/s", "ttft p50", "p99", "duration p50", "p99")


def _row(name: str, tally: Tally, completed: float | None) -> list[str]:
    def at(measure: str, percentile: float) -> str:
        histogram = tally.measures[measure]
        return duration(histogram.percentile(percentile)) if histogram.count else "–"

    return [
        name,
        str(tally.counts["started"]),
        str(tally.counts["error"]),
        percent(tally.goodput),
        "–" if completed is None else plain(round(completed, 2)),
        *(at(measure, percentile) for measure in ("ttft", "duration") for percentile in (50, 99)),
    ]


def tables(runs: Sequence[RunResult]) -> list[FigureTable]:
    """Those that several runs of a target have in common, and those of the steps of each."""
    found = [table for run in runs for table in (search_table(run), steps_table(run)) if table is not None]
    by_target: dict[str, list[RunResult]] = {}
    for run in runs:
        if run.label:
            by_target.setdefault(run.target or run.url, []).append(run)
    for target, several in by_target.items():
        found.append(loads_table(target, several))
        found += repeat_tables(target, several)
    return found


def loads_table(target: str, runs: Sequence[RunResult]) -> FigureTable:
    """A row for each load on one target."""
    return FigureTable(target, ("load", *_HEAD), [_row(run.label, run.tally, run.completed) for run in runs])


def steps_table(run: RunResult) -> FigureTable | None:
    """A row for each step of a run, if it has several."""
    steps: Sequence[Mapping[str, float | None]] = run.scenario.get("steps") or run.scenario.get("client_steps") or ()
    if len(steps) < 2:
        return None
    rows, begin = [], 0.0
    for number, step in enumerate(steps):
        seconds = step["seconds"] or 0.0
        tally = run.steps.get(number, Tally())
        rows.append(_row(describe_step(step), tally, _completed(run, begin, begin + seconds)))
        begin += seconds
    return FigureTable(f"{run.name}, step by step", ("load", *_HEAD), rows)


def _completed(run: RunResult, begin: float, end: float) -> float | None:
    """Whole answers that ended in each of the whole seconds between two times, whenever they began."""
    seconds = run.timeline.seconds[round(begin) : round(end)]
    return sum(second.whole for second in seconds) / len(seconds) if seconds else None


def search_table(run: RunResult) -> FigureTable | None:
    """A row for each load that a search tried."""
    if run.search is None:
        return None
    return FigureTable(f"{run.name}: {run.search.answer}", run.search.head, [step.cells for step in run.search.steps])


REPEATED: Mapping[str, tuple[float, ...]] = {"ttft": (50, 99), "gap": (99,), "tpot": (50,), "duration": (50, 99)}
"""The percentiles that are compared between repeated runs."""


def repeat_tables(target: str, runs: Iterable[RunResult]) -> list[FigureTable]:
    """For each load that was run several times: mean, range and bounds of the mean."""
    by_load: dict[str, list[RunResult]] = {}
    for run in runs:
        load, again, _ = run.label.rpartition("run ")
        if again:
            by_load.setdefault(load.rstrip(", "), []).append(run)
    return [
        FigureTable(
            f"{target} {load}".rstrip() + f", {len(several)} runs",
            ("", "mean", "least", "most", "95 % of the mean"),
            [*_means(several)],
        )
        for load, several in by_load.items()
        if len(several) > 1 and not any(run.interrupted for run in several)
    ]


def _means(runs: Sequence[RunResult]) -> Iterable[list[str]]:
    yield _mean("completed a second", plain, [run.completed for run in runs])
    yield _mean("good", percent, [run.tally.goodput for run in runs])
    if any(run.steady_tokens_per_second for run in runs):
        yield _mean("tokens a second", plain, [run.steady_tokens_per_second for run in runs])
    for name, percentiles in REPEATED.items():
        histograms = [run.tally.measures[name] for run in runs]
        if all(histogram.count for histogram in histograms):
            for at in percentiles:
                values = [histogram.percentile(at) for histogram in histograms]
                yield _mean(f"{MEASURES[name].label}, p{at:g}", shown(name), values)


def _mean(label: str, show: Shown, values: Sequence[float | None]) -> list[str]:
    known = [value for value in values if value is not None]
    if not known:
        return [label, *["–"] * 4]
    found = MeanOfRuns.of(known)
    low, high = found.bounds or (found.mean, found.mean)
    bounds = f"{show(max(0.0, low))} – {show(high)}"
    return [label, show(found.mean), show(found.least), show(found.most), bounds]


_NAME: Final = 16  # characters of a heading from which on it is wrapped


def html_table(head: Sequence[str], rows: Iterable[Sequence[Any]], text: Container[int] = (0,)) -> str:
    """A table whose columns with these numbers hold ``text`` rather than figures."""

    def cell(tag: str, i: int, value: Any) -> str:
        kind = ' class="text"' if i in text else ' class="ratio"' if str(value).startswith("×") else ""
        kind = ' class="named"' if tag == "th" and len(str(value)) > _NAME else kind
        return f"<{tag}{kind}>{escape(str(value))}</{tag}>"

    body = "".join(f"<tr>{''.join(cell('td', i, value) for i, value in enumerate(row))}</tr>" for row in rows)
    top = "".join(cell("th", i, value) for i, value in enumerate(head))
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


COLUMNS: Final = 80
_UNIT: Final = re.compile(r"(?<=\d) (?=(?:ms|s|µs|%)(?!\w))")
_KEPT: Final = "\N{NO-BREAK SPACE}"  # in place of it, so that a number stays with its unit
_APART: Final = 2  # spaces between columns


def fitted(line: str, most: int = 0) -> list[str]:
    """The line, wrapped with its own indent and two more; of ``most`` lines, if that is given, the last ends in …."""
    text = line.lstrip(" ")
    indent = " " * (len(line) - len(text))
    if len(line) <= COLUMNS:
        return [line]
    text = _UNIT.sub(_KEPT, text)
    said = wrap(text, COLUMNS, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False,
                max_lines=most or None, placeholder=" …")  # fmt: skip
    return [one.replace(_KEPT, " ") for one in said]


def cut(text: str, most: int) -> str:
    """The text, or as much of its begin as leaves room for a …."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def fitted_table(table: FigureTable) -> Sequence[str]:
    """As it is where it fits; else its last column, if that is of words, in lines of its own. Columns stay in pairs:
    a percentile beside the other one of its measure."""
    if fits(table):
        return table.lines
    without = FigureTable(table.title, table.head[:-1], [row[:-1] for row in table.rows])
    if table.head[-1] or not fits(without):
        return stacked([table.head, *table.rows], together=2)
    rows = without.lines
    return [rows[0], *(part for line, row in zip(rows[1:], table.rows, strict=True)
                       for part in (line, *fitted(f"    {row[-1]}")) if part.strip())]  # fmt: skip


def fits(table: FigureTable) -> bool:
    """Whether a terminal has room for its lines."""
    return all(len(line) <= COLUMNS for line in table.lines)


def stacked(rows: Sequence[Sequence[str]], together: int = 1) -> list[str]:
    """A table whose columns, but the first, are so many that it is too wide, as several tables one below the other, all
    with the first column. So many of its columns stay ``together``, counted from the end."""
    columns = range(len(rows[0]))
    widths = [max(len(row[i]) for row in rows) + _APART for i in columns]
    said: list[str] = []
    for taken in _parts(columns, widths, together):
        block = aligned([[row[i] for i in (0, *taken)] for row in rows])
        said += ["", *block] if said else block
    return said


def _parts(columns: Sequence[int], widths: Sequence[int], together: int) -> Iterator[list[int]]:
    taken: list[int] = []
    for group in _groups(columns, together):
        if taken and sum(widths[i] for i in (0, *taken, *group)) - _APART > COLUMNS:
            yield taken
            taken = []
        taken += group
    yield taken


def _groups(columns: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    rest = (len(columns) - 1) % size
    if rest:
        yield columns[1 : 1 + rest]
    for first in range(1 + rest, len(columns), size):
        yield columns[first : first + size]
