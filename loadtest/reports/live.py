"""The display during a run: a table on a terminal, or a line every few seconds elsewhere."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol, TextIO

import trio

from loadtest.figures.measures import format_duration, format_number
from loadtest.figures.result import Overhead
from loadtest.reports.text import COUNTED, describe_counts, describe_load, describe_overhead, measure_rows
from loadtest.run.running import ActiveRun

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


EVERY: Final = 1.0  # seconds; drawing costs the loader milliseconds
LINE_EVERY: Final = 5.0
BAR: Final = 30


class Screen(Protocol):
    async def watch(self, running: ActiveRun) -> None:
        """Show the run until cancelled."""
        ...


class PlainLines:
    """A display of plain lines for a log."""

    async def watch(self, running: ActiveRun) -> None:
        said = describe_load(running.plan.dump(), running.plan.seconds)
        while True:
            print(f"{running.target or running.url}: {said}", file=sys.stderr, flush=True)
            await trio.sleep(LINE_EVERY)
            said = status_line(running)


class TerminalTable:
    """A table for a person, which disappears at the end of each run, before the summary.

    ``console`` defaults to standard error, and the table is drawn every ``every`` seconds.
    """

    def __init__(self, console: "Console | None" = None, every: float = EVERY) -> None:
        from rich.console import Console  # imported before the measurement, because it takes 0.1 s
        from rich.live import Live

        self._live = Live(console=console or Console(stderr=True), auto_refresh=False, transient=True)
        self._every = every

    async def watch(self, running: ActiveRun) -> None:
        interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0005)  # the longest delay of reads by the drawing thread
        try:
            with self._live:
                while True:
                    self._live.update(status_table(running))
                    await trio.to_thread.run_sync(self._live.refresh)
                    await trio.sleep(self._every)
        finally:
            sys.setswitchinterval(interval)


def choose_screen(out: TextIO, environ: Mapping[str, str]) -> Screen:
    """Return a display for ``out``: plain lines if it cannot draw, or if the user wants no colour (no-color.org)."""
    plain_lines = not out.isatty() or environ.get("TERM") == "dumb" or environ.get("NO_COLOR")
    return PlainLines() if plain_lines else TerminalTable()


def describe_phase(running: ActiveRun) -> str:
    if trio.current_time() < running.begin:
        return "warming up"
    if trio.current_time() < running.end:
        return f"{running.measured_seconds:.0f} of {running.plan.seconds:.0f} s"
    return "waiting for the last answers" if running.in_flight else f"judging {running.in_judging} answers"


def status_line(running: ActiveRun) -> str:
    """Return the state of a run in one line."""
    counts, ttft = running.figures.tally.counts, running.figures.tally.measures["ttft"]
    times = f"p50 {format_duration(ttft.percentile(50))} p99 {format_duration(ttft.percentile(99))}"
    first = f", first token {times}" if ttft.count else ""
    return (
        f"{describe_phase(running)}, {running.in_flight} under way, {counts['whole']} whole, "
        f"{counts['errors']} {COUNTED['errors']}{first}, lag p99 "
        f"{format_duration(running.figures.lag.percentile(99))}"
    )


def status_table(running: ActiveRun) -> "Table":
    """Return the display as a table."""
    from rich.table import Table

    figures, now = running.figures, trio.current_time()
    tally, seconds = figures.tally, running.measured_seconds or 1
    begin = running.begin - running.plan.warmup
    done = min(BAR, round(BAR * (now - begin) / max(running.end - begin, 1e-9)))
    caption = [
        f"{running.in_flight} under way, {format_number(round(tally.tokens / seconds, 1))} tokens a second",
        describe_counts(tally),
        *(f"{row.count} × {row.kind}, waiting for {row.phase}" for row in tally.failures[:5]),
        f"loader: {describe_overhead(Overhead(figures.lag, figures.late))}",
    ]
    grid = Table(
        title=f"{running.target or running.url}\n{'█' * done}{'░' * (BAR - done)} {describe_phase(running)}",
        caption="\n".join(caption),
        box=None,
        padding=(0, 0, 0, 2),
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
    )
    head, *rows = measure_rows(tally)
    for name in head:
        grid.add_column(name, justify="right" if name else "left", min_width=7, no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    return grid
