"""The report as a self-contained HTML file: results and figures first, then charts.

``page.html`` is its template, and ``page.css`` its style.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from loadtest.figures.result import RunResult, notes
from loadtest.figures.rounds import ComparedFigure
from loadtest.plan.limits import ConditionVerdict
from loadtest.reports import text
from loadtest.reports.plots import distribution_charts, templates, timeline_charts

STYLE: Final = files("loadtest.reports").joinpath("page.css").read_text()


def page(
    runs: Sequence[RunResult],
    verdicts: Sequence[ConditionVerdict] = (),
    compared: Sequence[ComparedFigure] | None = None,
) -> str:
    """Return the HTML document."""
    names = [run.name for run in runs]
    comparison = compared is not None and {
        "verdict": text.comparison_verdict(compared, names),
        "rows": text.comparison_rows(compared, names),
    }
    return templates().get_template("page.html").render(
        title=f"Load report: {', '.join(names)}", style=STYLE, verdicts=verdicts, compared=comparison, runs=runs,
        notes=notes, search_head=text.SEARCH_HEAD, search_cells=text.search_cells, measure_rows=text.measure_rows,
        describe_load=text.describe_load, describe_answers=text.describe_answers,
        describe_overhead=text.describe_overhead, distribution_charts=distribution_charts,
        timeline_charts=timeline_charts,
        failures=lambda run: [(row.count, row.kind, row.phase, row.example) for row in run.tally.failures],
    )  # fmt: skip
