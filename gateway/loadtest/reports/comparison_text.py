"""A comparison of two runs as lines of text, and as a part of a page."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from textwrap import wrap
from typing import Final

from gateway.loadtest.figures.measures import MEASURES
from gateway.loadtest.figures.numbers import shown
from gateway.loadtest.reports.compared_runs import ComparedTarget, LoadComparison
from gateway.loadtest.reports.comparing import CONFIDENCE, ERRORS, ComparedFigure, ComparedLoad

WIDTH: Final = 80
EVIDENCE: Final = {
    "lines": "Intervals: bootstrap over blocks of seconds, from the lines of both logs.",
    "buckets": "Intervals: from the ranks of the reports' buckets, as if no answer had waited for another. With a log "
    "beside each report (--log) they are made from its lines, and are truer.",
}
TOGETHER: Final = (
    f"All intervals of a table hold at once: of 100 comparisons of a server with itself, {100 * CONFIDENCE:.0f} see no "
    "difference."
)


def text(found: LoadComparison) -> str:
    """The whole of it."""
    said: list[str] = []
    for target in found.targets:
        said += [*_of_target(target, found.names), ""]
    said += [f"not in both: {name}" for name in found.unmatched]
    return "\n".join(said).rstrip("\n")


def headline(target: ComparedTarget, names: tuple[str, str]) -> str:
    """The verdict, as a sentence without its point."""
    where = f"{target.name}: " if target.name else ""
    if target.verdict in ("no difference seen", "nothing to compare", "too few requests for a verdict"):
        return f"{where}{target.verdict} between {names[0]} and {names[1]}"
    word = "has" if target.verdict.endswith("errors") and "," not in target.verdict else "is"
    return f"{where}{names[1]} {word} {target.verdict}, against {names[0]}"


def _of_target(target: ComparedTarget, names: tuple[str, str]) -> Iterator[str]:
    yield from (f"different: {difference}" for difference in target.differences)
    yield headline(target, names)
    yield ""
    yield from _aligned(_rows(target.total, names))
    for kind in target.kinds:
        yield ""
        yield f"{kind.name}"
        yield from _aligned(_rows(kind, names))
    yield ""
    for note in notes(target, names):
        yield from wrap(note, WIDTH)


def notes(target: ComparedTarget, names: tuple[str, str]) -> Iterable[str]:
    """What a reader has to know of how it was found, and of the runs."""
    yield f"{EVIDENCE[target.total.evidence]} {TOGETHER}"
    if target.total.remark:
        yield f"note: {target.total.remark}"
    for name, said in zip(names, target.notes, strict=True):
        yield from (f"note: {name}: {note}" for note in said)


def _rows(load: ComparedLoad, names: tuple[str, str]) -> list[list[str]]:
    rows = [["", *names, "ratio", "interval", ""]]
    for figure in load.figures:
        change = "" if figure.change == "no difference seen" else figure.change
        rows.append([label(figure), *values(figure), *_ratio(figure), change])
    return rows


def label(figure: ComparedFigure) -> str:
    """What a row is about."""
    if (figure.name, figure.statistic) == ERRORS:
        return "errors"
    return f"{MEASURES[figure.name].label}, {figure.statistic}"


def values(figure: ComparedFigure) -> tuple[str, str]:
    """Before and after."""
    if figure.name == ERRORS[0]:
        return f"{100 * figure.before:.3g} %", f"{100 * figure.after:.3g} %"
    show = shown(figure.name)
    return show(figure.before), show(figure.after)


def _ratio(figure: ComparedFigure) -> tuple[str, str]:
    if figure.name == ERRORS[0]:
        return f"{100 * figure.ratio:+.3g} %", f"{100 * figure.low:+.3g} to {100 * figure.high:+.3g} %"
    return f"×{figure.ratio:.3f}", f"{figure.low:.3f} to {figure.high:.3f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    last = len(widths) - 1
    return [
        "  ".join(
            cell.ljust(width) if i in (0, last) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def html(found: LoadComparison) -> str:
    """The same as HTML, to stand in a page."""
    return "\n".join(part for target in found.targets for part in _html_of(target, found.names))


def _html_of(target: ComparedTarget, names: tuple[str, str]) -> Iterator[str]:
    yield f"<h2>{escape(headline(target, names))}</h2>"
    yield from (f'<p class="note">Different: {escape(difference)}</p>' for difference in target.differences)
    for load in (target.total, *target.kinds):
        if load.name:
            yield f"<h3>{escape(load.name)}</h3>"
        yield _html_table(_rows(load, names))
    yield from (f'<p class="soft">{escape(note)}</p>' for note in notes(target, names))


def _html_table(rows: Sequence[Sequence[str]]) -> str:
    head, *body = ("".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) for tag, row in _tagged(rows))
    lines = "".join(f"<tr>{row}</tr>" for row in body)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _tagged(rows: Sequence[Sequence[str]]) -> Iterator[tuple[str, Sequence[str]]]:
    yield from (("td" if number else "th", row) for number, row in enumerate(rows))
