"""Notes on a run that readers need to judge its figures, such as a loader that was late."""

from collections.abc import Callable, Sequence
from typing import Final

from loadtest.figures.confidence import surely_rises
from loadtest.figures.measures import format_duration
from loadtest.figures.result import Overhead, RunResult

LATE: Final = 0.010
BUSY: Final = 0.9
"""A note warns above this lag (p99, seconds) or CPU share, because the loader itself may be the limit."""

CACHED: Final = 0.01  # share of input tokens from the prompt cache that a note mentions
SHORT: Final = 0.1  # share of a backlog or of buffered streams that a note mentions
_SURE: Final = 0.975


def loader_is_the_limit(overhead: Overhead) -> bool:
    """Return whether the slowness of the load tester may explain a failure."""
    return overhead.cpu > BUSY or overhead.late.percentile(50) > LATE


def _late_note(run: RunResult) -> str | None:
    lag, late = (found.percentile(99) for found in (run.overhead.lag, run.overhead.late))
    if max(lag, late) <= LATE:
        return None
    return (
        f"The loader was late: its event loop by {format_duration(lag)} (p99), requests by {format_duration(late)} "
        "(p99). Up to that much of the latencies may be the loader's."
    )


def _busy_note(run: RunResult) -> str | None:
    if run.overhead.cpu <= BUSY:
        return None
    return (
        f"The loader used {100 * run.overhead.cpu:.0f} % of its core, so it may be the limit, not the server. Start "
        "it twice with half the load."
    )


def _backlog_note(run: RunResult) -> str | None:
    """Note a backlog: requests under way grow, more than by chance or by the initial filling."""
    seconds = run.timeline.seconds[: int(run.seconds)]
    half = len(seconds) // 2
    if len(seconds) < 4 or run.plan.get("rounds", 1) > 1:
        return None
    under_way = [second.in_flight for second in seconds]
    firsts = [second.ttft.percentile(50) for second in seconds if second.ttft.count]
    waiting = surely_rises(under_way, _SURE) and surely_rises(firsts, _SURE)
    grown = under_way[-1] - under_way[half]
    begun = sum(one.started for one in seconds[half + 1 :])
    if not (waiting or surely_rises(under_way[half:], _SURE)) or grown <= SHORT * begun:
        return None
    return (
        f"The server finished fewer requests than were started: {under_way[half]} were running in the middle and "
        f"{under_way[-1]} at the end. The latencies depend on the length of the run, not only on the server."
    )


def _buffering_note(run: RunResult) -> str | None:
    """Note buffered streams: if the first token arrives at the end, its time does not measure the server
    (modelscope/evalscope#413)."""
    firsts = run.tally.measures["ttft"]
    streams = firsts.count - firsts.censored
    share = run.tally.counts["buffered"] / streams if streams else 0.0
    if share < SHORT:
        return None
    return (
        f"Buffered: the first token and the end arrive together in {100 * share:.0f} % of the streams. The server, "
        "or a proxy in front of it, buffers whole answers."
    )


def _cache_note(run: RunResult) -> str | None:
    share = run.tally.measures["cached_tokens"].total / run.tally.input_tokens if run.tally.input_tokens else 0.0
    if share < CACHED:
        return None
    why = " (the bodies of a file are sent unchanged)" if run.plan.get("requests") else ""
    return (
        f"{100 * share:.0f} % of the input came from the server's prompt cache, although the load does not ask for "
        f"that{why}; new prompts take longer."
    )


NOTES: Final[tuple[Callable[[RunResult], str | None], ...]] = (
    _late_note, _busy_note, _backlog_note, _buffering_note, _cache_note,
)  # fmt: skip


def notes(run: RunResult) -> Sequence[str]:
    """Return all notes and remarks on a run."""
    return (*run.remarks, *(said for note in NOTES if (said := note(run))))
