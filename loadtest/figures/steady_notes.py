"""Remarks on runs that were not steady: that the first answers came slowly, and that figures rose or fell."""

from collections.abc import Callable
from typing import Final

from loadtest.figures.histogram import Histogram
from loadtest.figures.numbers import duration, plain
from loadtest.figures.result import RunResult
from loadtest.figures.steadiness import Steadiness, one_load, steadiness

_SLOW: Final = 3
_MANY: Final = 10
"""First answers that took so many times the median of at least so many are told of."""


def steadiness_of(run: RunResult) -> Steadiness | None:
    """That of a run of one load."""
    return steadiness(run.timeline.seconds, run.seconds) if one_load(run.scenario) else None


def _cold(run: RunResult) -> str | None:
    """A server's first answers, and its first on each connection, are slow (vllm-project/vllm#16858)."""
    all_of_them = run.tally.measures["ttft"]
    if run.scenario.get("warmup") or all_of_them.count < _MANY or not one_load(run.scenario):
        return None
    first = next((second.ttft for second in run.timeline.seconds if second.ttft.count), Histogram())
    at, median = first.percentile(50), all_of_them.percentile(50)
    if not first.count or at <= _SLOW * median:
        return None
    return (
        f"The first answers took {duration(at)} to their first token, {at / median:.1f} times the median, and count: "
        "--warmup leaves them out."
    )


def _drifting(run: RunResult) -> str | None:
    found = steadiness_of(run)
    if found is None or not found.drifts:
        return None
    told = [
        f"{drift.what} went from {show(drift.before)} to {show(drift.after)}"
        for drift in found.drifts
        for show in (duration if "time" in drift.what else _count,)
    ]
    return f"The run was not steady: {' and '.join(told)}. Load it for longer, or with less."


def _count(value: float) -> str:
    return plain(round(value, 1))


STEADY_NOTES: Final[tuple[Callable[[RunResult], str | None], ...]] = (_cold, _drifting)
