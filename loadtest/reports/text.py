"""The report as text of at most 80 columns, and the words that all reports share."""

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any, Final

from loadtest.figures.histogram import PERCENTILES
from loadtest.figures.measures import MEASURES, format_duration, format_number, formatter_of
from loadtest.figures.notes import notes
from loadtest.figures.result import Overhead, RunResult
from loadtest.figures.rounds import ComparedFigure, verdict_of
from loadtest.figures.tally import Tally
from loadtest.plan.limits import ConditionVerdict

COLUMNS: Final = 80
_EXAMPLE: Final = 3  # lines of a server's message
_NAME: Final = 9  # characters of a server's name above its column

COUNTED: Final = {
    "started": "requests begun",
    "whole": "whole answers",
    "errors": "errors",
    "not_whole": "streams not whole",
    "unfinished": "unfinished",
    "cancelled": "left as planned",
    "interrupted": "interrupted",
}
_ALWAYS: Final = ("started", "whole", "errors")
_SHOWN: Final = (
    "connect", "ttfb", "ttft", "ttfo", "gap", "stall", "tpot", "duration", "asked_input", "input_tokens",
    "output_tokens", "left_after",
)  # fmt: skip


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


def wrap_line(line: str, most: int = 0) -> list[str]:
    """Wrap a line, with its indent and two more spaces. With ``most``, later lines are replaced by "…"."""
    text = line.lstrip(" ")
    indent = " " * (len(line) - len(text))
    return [line] if len(line) <= COLUMNS else wrap(
        text, COLUMNS, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False,
        max_lines=most or None, placeholder=" …",
    )  # fmt: skip


def shown_measures(tally: Tally) -> Sequence[str]:
    """Return the measures to show: those with values, without the first output if it is the first token."""
    same = tally.measures["ttfo"].total == tally.measures["ttft"].total
    return [name for name in _SHOWN if tally.measures[name].count and not (name == "ttfo" and same)]


def describe_load(plan: Mapping[str, Any], seconds: float) -> str:
    """Describe the load on a target. ``plan`` is that of a report."""
    if plan["rate"] is None:
        clients = plan["concurrency"]
        text = f"{clients} client{'' if clients == 1 else 's'}, each sends its next request after a response"
    else:
        text = f"{format_number(plan['rate'])}/s ({'Poisson' if plan['poisson'] else 'evenly spaced'})"
    count = f", {plan['count']} requests" if plan["count"] else ""
    long = "until all have begun" if math.isinf(seconds) else f"for {format_number(round(seconds, 1))} s"
    warmup = f" after {format_number(plan['warmup'])} s of warm-up" if plan["warmup"] else ""
    rounds = f", in {plan['rounds']} rounds" if plan["rounds"] > 1 else ""
    return f"{text}{count}, {long}{warmup}{rounds}"


def describe_counts(tally: Tally) -> str:
    """Describe the number of requests by their ends."""
    counts = [(name, tally.counts[name]) for name in COUNTED if tally.counts[name] or name in _ALWAYS]
    return ", ".join(f"{number} {COUNTED[name]}" for name, number in counts)


def describe_overhead(own: Overhead) -> str:
    """Describe the overhead of the loader."""
    lag = f"lag p50 {format_duration(own.lag.percentile(50))}, p99 {format_duration(own.lag.percentile(99))}"
    return f"{100 * own.cpu:.0f} % of a core, {lag}, request lateness p99 {format_duration(own.late.percentile(99))}"


def describe_answers(run: RunResult) -> Iterator[str]:
    """Describe the goodput, the tokens, the ends and the connections of the answers."""
    tally = run.tally
    if tally.goodput is not None:
        missed = [f"{number} missed {figure}" for figure, number in tally.missed.most_common()]
        slo = f" ({'; '.join([', '.join(run.plan['slo']), *missed])})" if run.plan["slo"] else ""
        yield f"goodput {100 * tally.goodput:.4g} %{slo}"
    if tally.tokens:
        steady = f", {format_number(run.steady_tokens_per_second)} while requests arrived" if tally.events else ""
        yield f"{format_number(run.tokens_per_second)} tokens a second{steady}"
    if len(tally.finishes) > 1:
        ends = ", ".join(f"{name or 'no reason given'} {number}" for name, number in tally.finishes.most_common(8))
        yield f"ended by {ends}"
    if tally.waived:
        yield f"rules waived: {', '.join(f'{name} {number}' for name, number in tally.waived.most_common(8))}"
    if (uncounted := tally.counts["whole"] - tally.counted_by_usage) and tally.events:
        yield f"{uncounted} answers without usage: events count as tokens"
    if tally.hidden_tokens:
        yield f"{tally.hidden_tokens} hidden reasoning tokens are not included in speeds"
    if tally.counts["resent"]:
        yield f"{tally.counts['resent']} requests were sent again because their connection was closed"
    if tally.counts["left_open"]:
        yield f"{tally.counts['left_open']} answers had an end event but stayed open"


def measure_rows(tally: Tally) -> list[list[str]]:
    """Return the table of measures, with its head."""
    rows = [["", *(f"p{percent:g}" for percent in PERCENTILES), "max", "count"]]
    for name in shown_measures(tally):
        values = tally.measures[name]
        shown = map(formatter_of(name), (*map(values.percentile, PERCENTILES), values.most))
        rows.append([MEASURES[name].label, *shown, str(values.count)])
    return rows


def summary(run: RunResult, verdicts: Sequence[ConditionVerdict] = ()) -> str:
    """Return one run as text. ``verdicts`` are those of its conditions."""
    said = [
        run.name,
        *([f"  {run.url}"] if run.target else []),
        f"  {describe_load(run.plan, run.seconds)}" + ("; interrupted" if run.interrupted else ""),
        *([f"  ended early: {run.stopped}"] if run.stopped else []),
        *(f"  {one.text}" for one in verdicts),
        f"  {describe_counts(run.tally)}",
        f"  {format_number(run.rate)} requests a second begun, {format_number(run.completed_rate)} completed",
        *(f"  {line}" for line in describe_answers(run)),
    ]
    said = [part for line in said for part in wrap_line(line)]
    rows = measure_rows(run.tally)
    said += ["", *(f"  {line}" for line in (align(rows) if len(rows) > 1 else ["nothing was measured"]))]
    if run.tally.failures:
        said += ["", "  errors by kind and phase", *_error_lines(run.tally)]
    closing = [f"  loader: {describe_overhead(run.overhead)}", *(f"  note: {note}" for note in notes(run))]
    return "\n".join([*said, "", *(part for line in closing for part in wrap_line(line))])


def _error_lines(tally: Tally) -> Iterator[str]:
    for row in tally.failures:
        yield from wrap_line(f"  {row.count:>7}  {row.kind}  {row.phase}")
        if row.example:
            yield from wrap_line(f"{' ' * 11}{row.example}", most=_EXAMPLE)


SEARCH_HEAD: Final = ("a second", "begun", "good", "p50", "p99", "")


def search_cells(step: Mapping[str, Any]) -> list[str]:
    """Return the row of a step of a search, with the columns of ``SEARCH_HEAD``."""
    good = "–" if step["goodput"] is None else f"{100 * step['goodput']:.3g} %"
    verdict = step["verdict"] + (f": {step['why']}" if step["why"] else "")
    times = map(format_duration, (step["ttft_p50"], step["ttft_p99"]))
    return [format_number(step["rate"]), str(step["started"]), good, *times, verdict]


def search_text(run: RunResult) -> str:
    """Return the result of a search, and its steps."""
    found = run.search or {}
    *figures, _ = zip(*(search_cells(step) for step in found["steps"]), strict=True) if found["steps"] else ((),)
    verdicts = [search_cells(step)[-1] for step in found["steps"]]
    rows = [list(SEARCH_HEAD[:-1]), *map(list, zip(*figures, strict=True))] if verdicts else []
    lines = align(rows, ()) if rows else []
    said = [*lines[:1]]
    for line, verdict in zip(lines[1:], verdicts, strict=True):
        said += wrap_line(f"{line}  {verdict}")
    return "\n".join([*said, *wrap_line(f"{run.name}: {found['answer']}")])


def comparison_rows(figures: Sequence[ComparedFigure], names: Sequence[str]) -> list[list[str]]:
    """Return the table of a comparison, with its head."""
    shown = names if all(len(name) <= _NAME for name in names) else ("first", "second")
    rows = [["", *shown, "ratio", "interval", ""]]
    for one in figures:
        values = format_duration(one.first), format_duration(one.second)
        rows.append([one.label, *values, f"×{one.ratio:.2f}", f"{one.low:.2f}–{one.high:.2f}", one.change])
    return rows


def comparison_text(figures: Sequence[ComparedFigure], names: Sequence[str]) -> str:
    """Return the comparison of two servers."""
    said = [*align(comparison_rows(figures, names), (0, 5)), ""] if figures else []
    return "\n".join([*said, *wrap_line(f"{names[1]} against {names[0]}: {verdict_of(figures)}")])
