"""The display during a run: a table on a terminal, or a line every few seconds elsewhere."""

import math
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, TextIO, TypeAlias

import trio

from loadtest.figures.measures import format_duration, format_number
from loadtest.reports.text import describe_counts, describe_load, describe_overhead, measure_rows, text_table
from loadtest.run.running import ActiveRun

if TYPE_CHECKING:
    from rich.console import Group


EVERY: Final = 1.0  # seconds; drawing costs the loader milliseconds
LINE_EVERY: Final = 5.0
BAR: Final = 30

Screen: TypeAlias = Callable[[ActiveRun], Awaitable[None]]
"""Shows a run until cancelled."""


def choose_screen(out: TextIO, environ: Mapping[str, str]) -> Screen:
    """Return a display for ``out``: plain lines if it cannot draw, or if the user wants no colour (no-color.org)."""
    if not out.isatty() or environ.get("TERM") == "dumb" or environ.get("NO_COLOR"):
        return show_lines
    import rich.live  # noqa: F401  # imported before the measurement, because it takes 0.1 s

    return show_table


async def show_lines(running: ActiveRun) -> None:
    """Print the state of the run as lines for a log."""
    said = describe_load(running.result.plan, running.plan.seconds)
    while True:
        print(f"{running.result.name}: {said}", file=sys.stderr, flush=True)
        await trio.sleep(LINE_EVERY)
        counts, lag = describe_counts(running.result.tally), running.result.lag.percentile(99)
        said = f"{describe_phase(running)}, {running.in_flight} under way, {counts}, lag p99 {format_duration(lag)}"


async def show_table(running: ActiveRun) -> None:
    """Show a table on standard error, which disappears at the end of the run, before the summary."""
    from rich.console import Console
    from rich.live import Live

    live = Live(console=Console(stderr=True), auto_refresh=False, transient=True)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)  # the longest delay of reads by the drawing thread
    try:
        with live:
            while True:
                live.update(status_table(running))
                await trio.to_thread.run_sync(live.refresh)
                await trio.sleep(EVERY)
    finally:
        sys.setswitchinterval(interval)


def describe_phase(running: ActiveRun) -> str:
    if trio.current_time() < running.begin:
        return "warming up"
    if trio.current_time() < running.end:
        most = f" of {running.plan.seconds:.0f}" if math.isfinite(running.plan.seconds) else ""
        return f"{running.measured_seconds:.0f}{most} s"
    return "waiting for the last answers" if running.in_flight else "judging the last answers"


def status_table(running: ActiveRun) -> "Group":
    """Return the state of a run as a table."""
    from rich.console import Group
    from rich.text import Text

    result, now = running.result, trio.current_time()
    tally, seconds = result.tally, result.seconds + running.measured_seconds or 1
    begin = running.begin - running.plan.warmup
    if math.isinf(running.end):
        share = tally.counts["started"] / result.plan["count"]
    else:
        share = (now - begin) / max(running.end - begin, 1e-9)
    done = min(BAR, round(BAR * share))
    below = (
        f"{running.in_flight} under way, {format_number(round(tally.tokens / seconds, 1))} tokens a second",
        describe_counts(tally),
        *(f"{row.count} × {row.kind}, waiting for {row.phase}" for row in tally.failures[:5]),
        f"loader: {describe_overhead(result)}",
    )
    head = f"{result.name}\n{'█' * done}{'░' * (BAR - done)} {describe_phase(running)}"
    return Group(Text(head), text_table(measure_rows(tally)), Text("\n".join(below)))
