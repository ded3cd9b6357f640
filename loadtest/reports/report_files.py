"""The reports as files: JSON, and a self-contained HTML page with results and figures first, then charts.

``page.html`` is its template, and ``page.css`` its style.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Final

import attrs
import msgspec

from loadtest.figures.result import RunResult, notes
from loadtest.figures.rounds import ComparedFigure, verdict_of
from loadtest.plan.limits import ConditionVerdict
from loadtest.reports import text
from loadtest.reports.plots import TEMPLATES, distribution_charts, timeline_charts

FORMAT: Final = 3
STYLE: Final = files("loadtest.reports").joinpath("page.css").read_text()


def dump(
    runs: Sequence[RunResult],
    verdicts: Sequence[ConditionVerdict] = (),
    compared: Sequence[ComparedFigure] | None = None,
    version: str = "",
) -> bytes:
    """Return the JSON of a report. Times are in seconds. ``version`` is that of the load tester."""
    value = {
        "trigate": version,
        "format": FORMAT,
        "conditions": [attrs.asdict(one) for one in verdicts],
        "runs": [run.dump() for run in runs],
    }
    if compared is not None:
        figures = [attrs.asdict(one) | {"change": one.change} for one in compared]
        value["comparison"] = {"verdict": verdict_of(compared), "figures": figures}
    return msgspec.json.format(msgspec.json.encode(value), indent=1)


def page(
    runs: Sequence[RunResult],
    verdicts: Sequence[ConditionVerdict] = (),
    compared: Sequence[ComparedFigure] | None = None,
) -> str:
    """Return the HTML document."""
    names = [run.name for run in runs]
    return TEMPLATES.get_template("page.html").render(
        title=f"Load report: {', '.join(names)}", style=STYLE, verdicts=verdicts, compared=compared, runs=runs,
        names=names, notes=notes, words=text, distribution_charts=distribution_charts, timeline_charts=timeline_charts,
    )  # fmt: skip
