"""Notes on a run that readers need to judge its figures: the loader was late or busy."""

from collections.abc import Sequence
from typing import Final

from loadtest.figures.measures import format_duration
from loadtest.figures.result import Overhead, RunResult

LATE: Final = 0.010
BUSY: Final = 0.9
"""A note warns above this lag (p99, seconds) or CPU share, because the loader itself may be the limit."""


def loader_is_the_limit(overhead: Overhead) -> bool:
    """Return whether the slowness of the load tester may explain a failure."""
    return overhead.cpu > BUSY or overhead.late.percentile(50) > LATE


def notes(run: RunResult) -> Sequence[str]:
    """Return all notes and remarks on a run."""
    found = [*run.remarks]
    lag, late = (values.percentile(99) for values in (run.overhead.lag, run.overhead.late))
    if max(lag, late) > LATE:
        found.append(
            f"The loader was late: its event loop by {format_duration(lag)} (p99), requests by {format_duration(late)} "
            "(p99). Up to that much of the latencies may be the loader's."
        )
    if run.overhead.cpu > BUSY:
        found.append(
            f"The loader used {100 * run.overhead.cpu:.0f} % of its core, so it may be the limit, not the server. "
            "Start it twice with half the load."
        )
    return found
