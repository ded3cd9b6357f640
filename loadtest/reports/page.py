"""The report as a self-contained HTML file: results and figures first, then charts.

``page.html`` is its template, and ``page.css`` its style.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final

import msgspec

from loadtest.figures.measures import MEASURES, format_duration, format_number, formatter_of
from loadtest.figures.notes import notes
from loadtest.figures.result import RunResult
from loadtest.figures.rounds import ComparedFigure, verdict_of
from loadtest.plan.limits import ConditionVerdict
from loadtest.reports.plots import distribution_charts, templates, timeline_charts
from loadtest.reports.text import (
    SEARCH_HEAD,
    comparison_rows,
    describe_answers,
    describe_counts,
    describe_load,
    describe_overhead,
    measure_rows,
    search_cells,
)

STYLE: Final = files("loadtest.reports").joinpath("page.css").read_text()


def page(
    runs: Sequence[RunResult],
    verdicts: Sequence[ConditionVerdict] = (),
    compared: Sequence[ComparedFigure] | None = None,
) -> str:
    """Return the HTML document."""
    return (
        templates()
        .get_template("page.html")
        .render(
            title=f"Load report: {', '.join(run.name for run in runs)}",
            style=STYLE,
            verdicts=verdicts,
            compared=None if compared is None else _comparison(runs, compared),
            search_head=SEARCH_HEAD,
            runs=[_run_values(run, is_alone=len(runs) == 1) for run in runs],
        )
    )


def _comparison(runs: Sequence[RunResult], compared: Sequence[ComparedFigure]) -> dict[str, Any]:
    """Return the values of the section about two servers."""
    names = [run.name for run in runs]
    head, *rows = comparison_rows(compared, names)
    title = f"{names[1]} against {names[0]}: {verdict_of(compared)}"
    return {"title": title, "head": head, "rows": rows, "charts": "".join(distribution_charts(runs))}


def _run_values(run: RunResult, *, is_alone: bool) -> dict[str, Any]:
    """Return the values of the section about one run. The figures are drawn once if it ``is_alone``."""
    head, *measures = measure_rows(run.tally)
    search = run.search and {"answer": run.search["answer"], "rows": [*map(search_cells, run.search["steps"])]}
    return {
        "name": run.name,
        "load": f"{run.url} · {run.started} · {describe_load(run.plan, run.seconds)}",
        "ended": run.stopped or ("it was interrupted" if run.interrupted else ""),
        "search": search,
        "cards": _cards(run),
        "head": head,
        "measures": measures,
        "notes": notes(run),
        "failures": [(row.count, row.kind, row.phase, row.example) for row in run.tally.failures],
        "charts": "".join((*(distribution_charts([run]) if is_alone else ()), *timeline_charts(run))),
        "answers": (describe_counts(run.tally), *describe_answers(run)),
        "overhead": describe_overhead(run.overhead),
        "plan": msgspec.json.format(msgspec.json.encode(run.plan), indent=2).decode(),
    }


def _cards(run: RunResult) -> list[tuple[str, str, str]]:
    """Return the value, the label and a remark of each card."""
    counts, measures = run.tally.counts, run.tally.measures
    cards = [
        (format_number(run.rate), "requests a second begun", f"{counts['started']} in all"),
        (format_number(run.completed_rate), "whole answers a second", f"{counts['whole']} in all"),
        (format_number(counts["errors"]), "errors", ""),
    ]
    if (goodput := run.tally.goodput) is not None:
        cards.append((f"{100 * goodput:.3g} %", "goodput", ", ".join(run.plan["slo"])))
    for name in ("ttft", "gap", "duration"):
        if (values := measures[name]).count:
            p50, p99 = (formatter_of(name)(values.percentile(percent)) for percent in (50, 99))
            cards.append((p50, f"{MEASURES[name].label}, p50", f"p99 {p99}"))
    if run.tally.tokens:
        cards.append((format_number(run.tokens_per_second), "tokens a second", ""))
    cards.append((format_duration(run.overhead.lag.percentile(99)), "lag of the loader, p99", ""))
    return cards
