"""The JSON report."""

from collections.abc import Sequence
from typing import Final

import msgspec

from loadtest.figures.result import RunResult, notes
from loadtest.figures.rounds import ComparedFigure, verdict_of
from loadtest.plan.limits import ConditionVerdict

FORMAT: Final = 3


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
        "conditions": [one.dump() for one in verdicts],
        "runs": [run.dump() | {"notes": list(notes(run))} for run in runs],
    }
    if compared is not None:
        value["comparison"] = {"verdict": verdict_of(compared), "figures": [one.dump() for one in compared]}
    return msgspec.json.format(msgspec.json.encode(value), indent=1)
