"""The report as text of at most 80 columns, and the words that all reports share."""

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from io import StringIO
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Final

from loadtest.figures.histogram import PERCENTILES
from loadtest.figures.measures import MEASURES, format_duration, format_number, formatter_of
from loadtest.figures.result import FoundRate, RunResult, SearchStep, notes
from loadtest.figures.rounds import ComparedFigure, verdict_of
from loadtest.figures.tally import Tally
from loadtest.plan.limits import ConditionVerdict

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

COLUMNS: Final = 80
_EXAMPLE: Final = 200  # characters of a server's message
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
    "connect", "ttfb", "ttft", "gap", "stall", "duration", "input_tokens", "output_tokens", "left_after",
)  # fmt: skip


def text_table(rows: Sequence[Sequence[str]], words: Container[int] = (0,)) -> "Table":
    """Return a table whose first row is its head. Columns in ``words`` are aligned to the left, others to the right."""
    from rich.table import Table
    from rich.text import Text

    found = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="")
    for number, name in enumerate(rows[0]):
        found.add_column(Text(name), justify="left" if number in words else "right", no_wrap=number not in words)
    for row in rows[1:]:
        found.add_row(*map(Text, row))
    return found


def _render(parts: Sequence["RenderableType"], indent: int = 2) -> str:
    """Return the parts as text: the first line at the margin, the others with an indent."""
    from rich.console import Console
    from rich.padding import Padding

    console = Console(file=StringIO(), width=COLUMNS, markup=False, highlight=False, emoji=False, color_system=None)
    with console.capture() as captured:
        for number, part in enumerate(parts):
            console.print(Padding(part, (0, 0, 0, indent if number else 0)))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def describe_load(plan: Mapping[str, Any], seconds: float) -> str:
    """Describe the load on a target for so many ``seconds``."""
    if plan["rate"] is None:
        clients = plan["concurrency"]
        text = f"{clients} client{'' if clients == 1 else 's'}, each sends its next request after a response"
    else:
        text = f"{format_number(plan['rate'])}/s ({'Poisson' if plan['poisson'] else 'evenly spaced'})"
    count = f", {plan['count']} requests" if plan["count"] else ""
    warmup = f" after {format_number(plan['warmup'])} s of warm-up" if plan["warmup"] else ""
    rounds = f", in {plan['rounds']} rounds" if plan["rounds"] > 1 else ""
    time = f", for {format_number(round(seconds, 1))} s" if math.isfinite(seconds) else ""
    return f"{text}{count}{time}{warmup}{rounds}"


def describe_counts(tally: Tally) -> str:
    """Describe the number of requests by their ends."""
    counts = [(name, tally.counts[name]) for name in COUNTED if tally.counts[name] or name in _ALWAYS]
    return ", ".join(f"{number} {COUNTED[name]}" for name, number in counts)


def describe_overhead(run: RunResult) -> str:
    """Describe the overhead of the loader."""
    lag = f"lag p50 {format_duration(run.lag.percentile(50))}, p99 {format_duration(run.lag.percentile(99))}"
    return f"{100 * run.cpu:.0f} % of a core, {lag}, request lateness p99 {format_duration(run.late.percentile(99))}"


def describe_answers(run: RunResult) -> Iterator[str]:
    """Describe the number, the goodput, the tokens and the connections of the answers."""
    tally = run.tally
    yield describe_counts(tally)
    yield f"{format_number(run.rate)} requests a second begun, {format_number(run.completed_rate)} completed"
    if tally.goodput is not None:
        missed = [f"{number} missed {figure}" for figure, number in tally.missed.most_common()]
        slo = f" ({'; '.join([', '.join(run.plan['slo']), *missed])})" if run.plan["slo"] else ""
        yield f"goodput {100 * tally.goodput:.4g} %{slo}"
    if tally.tokens:
        yield f"{format_number(run.tokens_per_second)} tokens a second"
    if tally.waived:
        yield f"rules waived: {', '.join(f'{name} {number}' for name, number in tally.waived.most_common(8))}"
    if (uncounted := tally.counts["whole"] - tally.counted_by_usage) and tally.events:
        yield f"{uncounted} answers without usage: events count as tokens"
    if tally.counts["resent"]:
        yield f"{tally.counts['resent']} requests were sent again because their connection was closed"


def measure_rows(tally: Tally) -> list[list[str]]:
    """Return the table of measures, with its head."""
    rows = [["", *(f"p{percent:g}" for percent in PERCENTILES), "max", "count"]]
    for name in _SHOWN:
        if not (values := tally.measures[name]).count:
            continue
        shown = map(formatter_of(name), (*map(values.percentile, PERCENTILES), values.most))
        rows.append([MEASURES[name].label, *shown, str(values.count)])
    return rows


def failure_rows(tally: Tally) -> list[list[str]]:
    """Return the table of errors, with its head."""
    rows = ([str(one.count), one.kind, one.phase, shorten(one.example, _EXAMPLE, placeholder=" …")]
            for one in tally.failures)  # fmt: skip
    return [["errors", "kind", "waiting for", "example"], *rows]


def summary(run: RunResult, verdicts: Sequence[ConditionVerdict] = ()) -> str:
    """Return one run as text. ``verdicts`` are those of its conditions."""
    rows = measure_rows(run.tally)
    said: list[RenderableType] = [
        run.name,
        *([run.url] if run.target else []),
        describe_load(run.plan, run.seconds) + ("; interrupted" if run.interrupted else ""),
        *([f"ended early: {run.stopped}"] if run.stopped else []),
        *(one.text for one in verdicts),
        *describe_answers(run),
        "",
        text_table(rows) if len(rows) > 1 else "nothing was measured",
    ]
    if run.tally.failures:
        said += ["", text_table(failure_rows(run.tally), (1, 2, 3))]
    return _render([*said, "", f"loader: {describe_overhead(run)}", *(f"note: {one}" for one in notes(run))])


def search_rows(found: FoundRate) -> list[list[str]]:
    """Return the table of a search, with its head."""
    return [["a second", "begun", "good", "p50", "p99", ""], *map(search_cells, found.steps)]


def search_cells(step: SearchStep) -> list[str]:
    """Return the row of a step of a search."""
    good = "–" if step.goodput is None else f"{100 * step.goodput:.3g} %"
    verdict = step.verdict + (f": {step.why}" if step.why else "")
    times = map(format_duration, (step.ttft_p50, step.ttft_p99))
    return [format_number(step.rate), str(step.started), good, *times, verdict]


def search_text(found: FoundRate, name: str) -> str:
    """Return the result of a search, and its steps."""
    table = [text_table(search_rows(found), (5,))] if found.steps else []
    return _render([*table, f"{name}: {found.answer}"], 0)


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
    said: list[RenderableType] = [text_table(comparison_rows(figures, names), (0, 5)), ""] if figures else []
    return _render([*said, comparison_verdict(figures, names)], 0)


def comparison_verdict(figures: Sequence[ComparedFigure], names: Sequence[str]) -> str:
    """Return the verdict on the second server."""
    return f"{names[1]} against {names[0]}: {verdict_of(figures)}"
