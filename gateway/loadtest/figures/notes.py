"""Remarks that a reader has to know before believing the figures of a run."""

from collections.abc import Callable, Mapping
from typing import Final

from gateway.loadtest.figures.numbers import duration
from gateway.loadtest.figures.prompt_notes import PROMPT_NOTES
from gateway.loadtest.figures.result import RunResult
from gateway.loadtest.figures.steady_notes import STEADY_NOTES

LATE: Final = 0.010
BUSY: Final = 0.9
"""From this lag (p99, seconds) and this share of a core on, the figures are more of the loader than of the server."""

_BEHIND: Final = 0.9  # of what was offered: completed less than that, the rest has piled up

_HELD_BACK: Final = 0.1  # of all streams


def _lag(run: RunResult) -> str | None:
    lags = {name: part.lag.percentile(99) for name, part in run.overhead.processes.items()}
    if max(lags.values()) <= LATE:
        return None
    return (
        f"The loader was late by {1000 * max(lags.values()):.0f} ms (p99 of its event loop{_where(lags, LATE)}): "
        "as much of the latencies may be its own."
    )


def _busy(run: RunResult) -> str | None:
    shares = {name: part.cpu for name, part in run.overhead.processes.items()}
    if max(shares.values()) <= BUSY:
        return None
    return (
        f"The loader used {100 * max(shares.values()):.0f} % of its core{_where(shares, BUSY)}: it, not the "
        "server, may be the limit."
    )


def _where(figures: Mapping[str, float], limit: float) -> str:
    """The processes that are above ``limit``, if there are several."""
    above = [name for name, figure in figures.items() if figure > limit and name]
    return f" in {', '.join(above)}" if above else ""


def _backlog(run: RunResult) -> str | None:
    """Offered more than was completed, and more under way at the end than in the middle."""
    seconds = run.timeline.seconds[: int(run.seconds)]
    if not run.scenario.get("steps") or len(seconds) < 4 or run.completed >= _BEHIND * run.rate:
        return None
    middle, last = seconds[len(seconds) // 2].in_flight, seconds[-1].in_flight
    if last <= middle:
        return None
    return (
        f"The server answered fewer requests than began: {middle} were under way in the middle and {last} at the end. "
        "Latencies say how long the load went on, not how quick the server is."
    )


def _capped(run: RunResult) -> str | None:
    """Tools whose clock starts behind such a cap report a server that is quicker than its users find it
    (vllm-project/vllm#54101)."""
    held, cap = run.tally.measures["queued"], run.scenario.get("concurrency")
    if not held.count:
        return None
    return (
        f"The cap of {cap} held back {held.count} of {run.tally.counts['started']}, for "
        f"{duration(held.percentile(50))} (p50), {duration(held.most)} at most: it is in their latencies."
    )


def _buffered(run: RunResult) -> str | None:
    """A time to the first token that is as long as the answer says nothing of how quick a server begins
    (modelscope/evalscope#413)."""
    firsts = run.tally.measures["ttft"]
    streams = firsts.count - firsts.censored
    share = run.tally.counts["buffered"] / streams if streams else 0.0
    if share < _HELD_BACK:
        return None
    return (
        f"Buffered: first token and end fall together in {100 * share:.0f} % of the streams. The server, or something "
        "before it, holds answers back until they are whole."
    )


NOTES: Final[tuple[Callable[[RunResult], str | None], ...]] = (
    _lag, _busy, _backlog, _capped, _buffered, *PROMPT_NOTES, *STEADY_NOTES,
)  # fmt: skip


def notes(run: RunResult) -> tuple[str, ...]:
    """All remarks on a run."""
    return (*run.remarks, *(said for note in NOTES if (said := note(run))))
