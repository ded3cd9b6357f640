"""Tables of loads, steps and figures as cells of text, for a terminal of 80 columns and for a page."""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from html import escape
from textwrap import wrap
from typing import Any, Final

import attrs

from loadtest.figures.confidence import MeanOfRuns
from loadtest.figures.measures import MEASURES, Formatter, format_duration, format_number, formatter_of
from loadtest.figures.result import RunResult
from loadtest.figures.tally import Tally
from loadtest.reports.words import describe_step


@attrs.frozen
class FigureTable:
    """Rows of equal length under a ``head``. The first cell of each row is its label."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    @property
    def lines(self) -> list[str]:
        return align([self.head, *self.rows], self.text_columns)

    @property
    def text_columns(self) -> list[int]:
        """The columns with text instead of figures."""
        return [i for i, name in enumerate(self.head) if not i or not name]


def align(rows: Sequence[Sequence[str]], words: Container[int] = (0,)) -> list[str]:
    """Return the rows as lines, with the columns in ``words`` aligned to the left, and others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i in words else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def format_share(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.3g} %"


_HEAD = ("begun", "errors", "good", "whole/s", "ttft p50", "p99", "duration p50", "p99")


def _load_row(name: str, tally: Tally, completed: float | None) -> list[str]:
    def at(measure: str, percentile: float) -> str:
        histogram = tally.measures[measure]
        return format_duration(histogram.percentile(percentile)) if histogram.count else "–"

    return [
        name,
        str(tally.counts["started"]),
        str(tally.counts["error"]),
        format_share(tally.goodput),
        "–" if completed is None else format_number(round(completed, 2)),
        *(at(measure, percentile) for measure in ("ttft", "duration") for percentile in (50, 99)),
    ]


def tables(runs: Sequence[RunResult]) -> list[FigureTable]:
    """Return the tables of several runs of a target, and of the steps of each run."""
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
    """Return a table with a row for each load on one target."""
    return FigureTable(target, ("load", *_HEAD), [_load_row(run.label, run.tally, run.completed_rate) for run in runs])


def steps_table(run: RunResult) -> FigureTable | None:
    """Return a table with a row for each step of a run, or ``None`` if it has only one."""
    steps: Sequence[Mapping[str, float | None]] = run.scenario.get("steps") or run.scenario.get("client_steps") or ()
    if len(steps) < 2:
        return None
    rows, begin = [], 0.0
    for number, step in enumerate(steps):
        seconds = step["seconds"] or 0.0
        tally = run.steps.get(number, Tally())
        rows.append(_load_row(describe_step(step), tally, _completion_rate(run, begin, begin + seconds)))
        begin += seconds
    return FigureTable(f"{run.name}, step by step", ("load", *_HEAD), rows)


def _completion_rate(run: RunResult, begin: float, end: float) -> float | None:
    """Return the mean of whole answers per second between two times, by their ends."""
    seconds = run.timeline.seconds[round(begin) : round(end)]
    return sum(second.whole for second in seconds) / len(seconds) if seconds else None


def search_table(run: RunResult) -> FigureTable | None:
    """Return a table with a row for each load of a search."""
    if run.search is None:
        return None
    return FigureTable(f"{run.name}: {run.search.answer}", run.search.head, [step.cells for step in run.search.steps])


REPEATED: Mapping[str, tuple[float, ...]] = {"ttft": (50, 99), "gap": (99,), "tpot": (50,), "duration": (50, 99)}
"""The percentiles to compare between repeated runs."""


def repeat_tables(target: str, runs: Iterable[RunResult]) -> list[FigureTable]:
    """Return a table for each repeated load: mean, range and bounds of the mean."""
    by_load: dict[str, list[RunResult]] = {}
    for run in runs:
        load, again, _ = run.label.rpartition("run ")
        if again:
            by_load.setdefault(load.rstrip(", "), []).append(run)
    return [
        FigureTable(
            f"{target} {load}".rstrip() + f", {len(several)} runs",
            ("", "mean", "least", "most", "95 % of the mean"),
            [*_mean_rows(several)],
        )
        for load, several in by_load.items()
        if len(several) > 1 and not any(run.interrupted for run in several)
    ]


def _mean_rows(runs: Sequence[RunResult]) -> Iterable[list[str]]:
    yield _mean_row("completed a second", format_number, [run.completed_rate for run in runs])
    yield _mean_row("good", format_share, [run.tally.goodput for run in runs])
    if any(run.steady_tokens_per_second for run in runs):
        yield _mean_row("tokens a second", format_number, [run.steady_tokens_per_second for run in runs])
    for name, percentiles in REPEATED.items():
        histograms = [run.tally.measures[name] for run in runs]
        if all(histogram.count for histogram in histograms):
            for at in percentiles:
                values = [histogram.percentile(at) for histogram in histograms]
                yield _mean_row(f"{MEASURES[name].label}, p{at:g}", formatter_of(name), values)


def _mean_row(label: str, show: Formatter, values: Sequence[float | None]) -> list[str]:
    known = [value for value in values if value is not None]
    if not known:
        return [label, *["–"] * 4]
    found = MeanOfRuns.of(known)
    low, high = found.bounds or (found.mean, found.mean)
    bounds = f"{show(max(0.0, low))} – {show(high)}"
    return [label, show(found.mean), show(found.least), show(found.most), bounds]


_NAME: Final = 16  # longer headings are wrapped


def html_table(head: Sequence[str], rows: Iterable[Sequence[Any]], text: Container[int] = (0,)) -> str:
    """Return an HTML table. The columns in ``text`` have text instead of figures."""

    def cell(tag: str, i: int, value: Any) -> str:
        kind = ' class="text"' if i in text else ' class="ratio"' if str(value).startswith("×") else ""
        kind = ' class="named"' if tag == "th" and len(str(value)) > _NAME else kind
        return f"<{tag}{kind}>{escape(str(value))}</{tag}>"

    body = "".join(f"<tr>{''.join(cell('td', i, value) for i, value in enumerate(row))}</tr>" for row in rows)
    top = "".join(cell("th", i, value) for i, value in enumerate(head))
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


COLUMNS: Final = 80
_UNIT: Final = re.compile(r"(?<=\d) (?=(?:ms|s|µs|%)(?!\w))")
_KEPT: Final = "\N{NO-BREAK SPACE}"  # joins a number with its unit
_APART: Final = 2  # spaces between columns


def wrap_line(line: str, most: int = 0) -> list[str]:
    """Wrap a line, with its indent and two more spaces. With ``most``, later lines are replaced by "…"."""
    text = line.lstrip(" ")
    indent = " " * (len(line) - len(text))
    if len(line) <= COLUMNS:
        return [line]
    text = _UNIT.sub(_KEPT, text)
    said = wrap(text, COLUMNS, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False,
                max_lines=most or None, placeholder=" …")  # fmt: skip
    return [one.replace(_KEPT, " ") for one in said]


def shorten(text: str, most: int) -> str:
    """Return the text, shortened to ``most`` characters with a final "…"."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def fit_table(table: FigureTable) -> Sequence[str]:
    """Return the lines of a table.

    If it is too wide, its last column moves to separate lines if it is text, or else the columns are split, with
    percentiles of one measure in pairs.
    """
    if fits_terminal(table):
        return table.lines
    without = FigureTable(table.title, table.head[:-1], [row[:-1] for row in table.rows])
    if table.head[-1] or not fits_terminal(without):
        return stack_columns([table.head, *table.rows], together=2)
    rows = without.lines
    return [rows[0], *(part for line, row in zip(rows[1:], table.rows, strict=True)
                       for part in (line, *wrap_line(f"    {row[-1]}")) if part.strip())]  # fmt: skip


def fits_terminal(table: FigureTable) -> bool:
    """Return whether the table fits into a terminal."""
    return all(len(line) <= COLUMNS for line in table.lines)


def stack_columns(rows: Sequence[Sequence[str]], together: int = 1) -> list[str]:
    """Split a table that is too wide into tables one below another, each with the first column.

    Groups of ``together`` columns, counted from the end, stay together.
    """
    columns = range(len(rows[0]))
    widths = [max(len(row[i]) for row in rows) + _APART for i in columns]
    said: list[str] = []
    for taken in _split_columns(columns, widths, together):
        block = align([[row[i] for i in (0, *taken)] for row in rows])
        said += ["", *block] if said else block
    return said


def _split_columns(columns: Sequence[int], widths: Sequence[int], together: int) -> Iterator[list[int]]:
    taken: list[int] = []
    for group in _column_groups(columns, together):
        if taken and sum(widths[i] for i in (0, *taken, *group)) - _APART > COLUMNS:
            yield taken
            taken = []
        taken += group
    yield taken


def _column_groups(columns: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    rest = (len(columns) - 1) % size
    if rest:
        yield columns[1 : 1 + rest]
    for first in range(1 + rest, len(columns), size):
        yield columns[first : first + size]
