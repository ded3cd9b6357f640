"""Formats a comparison of two runs as text, and as a part of a page."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

from loadtest.figures.measures import MEASURES, formatter_of
from loadtest.reports.compared_runs import ComparedTarget, LoadComparison
from loadtest.reports.comparing import CONFIDENCE, ERRORS, ComparedFigure, ComparedLoad
from loadtest.reports.tables import FigureTable, fit_table, fits_terminal, html_table, wrap_line

TOGETHER: Final = (
    f"All intervals of a table hold together: of 100 comparisons of a server with itself, {100 * CONFIDENCE:.0f} "
    "find no difference"
)
EVIDENCE: Final = {
    "lines": f"Intervals: bootstrap over blocks of seconds, from the lines of both logs. {TOGETHER}.",
    "buckets": (
        "Intervals: from the ranks of the reports' buckets, assuming that answers do not wait for each other. "
        f"{TOGETHER}, but fewer if answers wait in a queue. For better intervals, write a log with each report (--log)."
    ),
}


def text(found: LoadComparison) -> str:
    said: list[str] = []
    for target in found.targets:
        said += [*_target_lines(target, found.names), ""]
    said += [f"not in both: {name}" for name in found.unmatched]
    return "\n".join(said).rstrip("\n")


def headline(target: ComparedTarget, names: tuple[str, str]) -> str:
    """Return the verdict as a sentence without a full stop."""
    where = f"{target.name}: " if target.name else ""
    if target.verdict in ("no difference seen", "nothing to compare", "too few requests for a verdict"):
        return f"{where}{target.verdict} between {names[0]} and {names[1]}"
    word = "has" if target.verdict.endswith("errors") and "," not in target.verdict else "is"
    return f"{where}{names[1]} {word} {target.verdict}, against {names[0]}"


def _target_lines(target: ComparedTarget, names: tuple[str, str]) -> Iterator[str]:
    for line in (*(f"different: {difference}" for difference in target.differences), headline(target, names)):
        yield from wrap_line(line)
    yield ""
    yield from _load_table(target.total, names)
    for kind in target.kinds:
        yield ""
        yield from wrap_line(kind.name)
        yield from _load_table(kind, names)
    yield ""
    for note in notes(target, names):
        yield from wrap_line(note)


def _load_table(load: ComparedLoad, names: tuple[str, str]) -> Sequence[str]:
    table = _table(load, names)
    return fit_table(table if fits_terminal(table) else _table(load, ("first", "second")))


def notes(target: ComparedTarget, names: tuple[str, str]) -> Iterable[str]:
    """Yield notes on the method and on the runs."""
    yield EVIDENCE[target.total.evidence]
    if target.total.remark:
        yield f"note: {target.total.remark}"
    for name, said in zip(names, target.notes, strict=True):
        yield from (f"note: {name}: {note}" for note in said)


def _table(load: ComparedLoad, names: tuple[str, str]) -> FigureTable:
    rows = []
    for figure in load.figures:
        change = "" if figure.change == "no difference seen" else figure.change
        rows.append([row_label(figure), *format_values(figure), *_format_ratio(figure), change])
    return FigureTable(load.name, ("", *names, "ratio", "interval", ""), rows)


def row_label(figure: ComparedFigure) -> str:
    if (figure.name, figure.statistic) == ERRORS:
        return "errors"
    return f"{MEASURES[figure.name].label}, {figure.statistic}"


def format_values(figure: ComparedFigure) -> tuple[str, str]:
    """Return the formatted values of both runs."""
    if figure.name == ERRORS[0]:
        return f"{100 * figure.before:.3g} %", f"{100 * figure.after:.3g} %"
    show = formatter_of(figure.name)
    return show(figure.before), show(figure.after)


def _format_ratio(figure: ComparedFigure) -> tuple[str, str]:
    if figure.name == ERRORS[0]:
        return f"{100 * figure.ratio:+.3g} %", f"{100 * figure.low:+.3g} to {100 * figure.high:+.3g} %"
    return f"×{figure.ratio:.3f}", f"{figure.low:.3f} to {figure.high:.3f}"


def html(found: LoadComparison) -> str:
    """Return the comparison as HTML for a page."""
    return "\n".join(part for target in found.targets for part in _target_html(target, found.names))


def _target_html(target: ComparedTarget, names: tuple[str, str]) -> Iterator[str]:
    yield f"<h2>{escape(headline(target, names))}</h2>"
    yield from (f'<p class="note">Different: {escape(difference)}</p>' for difference in target.differences)
    for load in (target.total, *target.kinds):
        if load.name:
            yield f"<h3>{escape(load.name)}</h3>"
        table = _table(load, names)
        yield html_table(table.head, table.rows, table.text_columns)
    yield from (f'<p class="soft">{escape(note)}</p>' for note in notes(target, names))
