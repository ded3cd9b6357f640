"""The display during a run: a table on a terminal, or a line every few seconds elsewhere.

A search prints a line per step.
"""

import math
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol, TextIO

import trio

from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import MEASURES, count_with_noun, format_duration, format_number, formatter_of
from loadtest.figures.tally import Tally
from loadtest.plan.requested_loads import RESOLUTION, SearchBounds
from loadtest.reports.words import COUNTED, describe_count, describe_load
from loadtest.run.search import SearchStep, Trial, column_names
from loadtest.run.under_way import LoadUnderWay

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


EVERY = 1.0  # seconds; drawing costs the loader milliseconds
LINE_EVERY = 5.0
BAR = 30


class Screen(Protocol):
    async def watch(self, running: LoadUnderWay) -> None:
        """Show the run until cancelled."""
        ...


class PlainLines:
    """A display of plain lines for a log."""

    async def watch(self, running: LoadUnderWay) -> None:
        said = describe_load(running.scenario.describe(), running.scenario.seconds)
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

    async def watch(self, running: LoadUnderWay) -> None:
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


def status_line(running: LoadUnderWay) -> str:
    """Return the state of a run in one line."""
    total = running.figures.total
    counts, ttft = total.counts, _with_unfinished(total.measures["ttft"], running.unfinished().ttft)
    first = (
        f", first token p50 {format_duration(ttft.percentile(50))} p99 {format_duration(ttft.percentile(99))}"
        if ttft.count
        else ""
    )
    return (
        f"{describe_phase(running)}, {running.in_flight} under way, {counts['whole']} whole, "
        f"{counts['error']} errors{first}, lag p99 {format_duration(running.figures.lag.percentile(99))}"
    )


def describe_phase(running: LoadUnderWay) -> str:
    ahead = running.begin - running.scenario.warmup - trio.current_time()
    if ahead > 0.5 and running.scenario.start_at is not None:
        return f"starting in {ahead:.0f} s"
    if running.warming_up:
        return "warming up"
    if running.scenario.count and running.progress < 1:
        return f"{running.measured_seconds:.0f} s, {100 * running.progress:.0f} % of {running.scenario.count} begun"
    if running.progress < 1:
        return f"{running.measured_seconds:.0f} of {running.scenario.seconds:.0f} s"
    return (
        "waiting for the last answers"
        if running.in_flight
        else f"judging {count_with_noun(running.in_judging, 'answer')}"
    )


def status_table(running: LoadUnderWay) -> "Table":
    """Return the display as a table."""
    from rich.table import Table

    total, unfinished = running.figures.total, running.unfinished()
    done = round(BAR * running.progress)
    grid = Table(
        title=f"{running.target or running.url}\n{'█' * done}{'░' * (BAR - done)} {describe_phase(running)}",
        caption=_counts_caption(running, total, unfinished.events),
        box=None,
        padding=(0, 0, 0, 2),
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
    )
    percentiles = running.scenario.percentiles
    for name in ("", *(f"p{percent:g}" for percent in percentiles), "max", "count"):
        grid.add_column(name, justify="right" if name else "left", min_width=7, no_wrap=True)
    measures = {
        **total.measures,
        "ttfb": _with_unfinished(total.measures["ttfb"], unfinished.ttfb),
        "ttft": _with_unfinished(total.measures["ttft"], unfinished.ttft),
    }
    for name in ("ttfb", "ttft", "gap", "tokens_per_second", "duration"):
        histogram = measures[name]
        values = [formatter_of(name)(histogram.percentile(percent)) for percent in (*percentiles, 100)]
        grid.add_row(MEASURES[name].label, *(values if histogram.count else [""] * len(values)), str(histogram.count))
    return grid


def _with_unfinished(measured: Histogram, unfinished: Sequence[float]) -> Histogram:
    """Return the measure including the answers under way, which otherwise count at their end."""
    found = Histogram.sum_of([measured])
    found.extend(unfinished)
    return found


def _counts_caption(running: LoadUnderWay, tally: Tally, under_way: int) -> str:
    """Return the caption with the counts. ``under_way`` is the number of events in unfinished answers."""
    seconds = running.measured_seconds or 1
    ended = tally.counts["started"]  # requests count at their end
    tokens = tally.tokens + under_way
    kinds = [name for name in COUNTED if name != "started" and tally.counts[name]]
    lines = [
        f"{running.in_flight} under way, {ended} ended, {format_number(round(ended / seconds, 1))} a second, "
        f"{format_number(round(tokens / seconds, 1))} tokens a second",
        ", ".join(describe_count(name, tally.counts[name]) for name in kinds) or "–",
        *(f"{row.count} × {row.kind}, waiting for {row.phase}" for row in tally.failures[:5]),
        f"loader: lag p99 {format_duration(running.figures.lag.percentile(99))}",
    ]
    return "\n".join(lines)


WIDTH: Final = 79
_WIDTHS: Final = (8, 7, 7, 8, 8)


class SearchLines:
    """Prints the steps of a search to ``out``.

    On a terminal, the present step is in a line that its result replaces.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._bounds: SearchBounds
        self._headed = False

    def report_begin(self, bounds: SearchBounds, rule: str, seconds: float) -> None:
        self._bounds, self._headed = bounds, False
        what = "requests per second" if bounds.unit == "rate" else "clients"
        most = "" if bounds.most is None else f", to {bounds.most:g} at most"
        self._write_wrapped(
            f"Searching for the highest number of {what} at which {rule}: doubling from {bounds.first:g} until "
            f"that fails{most}, then narrowing to {100 * RESOLUTION:g} %."
        )
        longest = _format_roughly(2.5 * seconds)
        self._write_wrapped(
            f"This takes {_format_roughly(seconds)} to {longest}, depending on the response time. Ctrl-C stops it."
        )
        self._write("")

    def report_trial(self, trial: Trial, seconds: float) -> None:
        if self._out.isatty():
            why = {"confirm": ", longer, to be sure", "again": " once more"}.get(trial.purpose, "")
            self._out.write(f"{trial.load:>{_WIDTHS[0]}g}  trying{why}: {_format_roughly(seconds)} or more …\r")
            self._out.flush()

    def report_step(self, step: SearchStep) -> None:
        if not self._headed:
            self._headed = True
            self._write_row(column_names(self._bounds.unit, step.ttft_p50 is not None))
        self._write_row(step.cells)

    def report_bounds(self, low: float, high: float, seconds: float) -> None:
        self._write_wrapped(f"It lies between {low:g} and {high:g}: about {_format_roughly(seconds)} more.")

    def _write_row(self, cells: list[str]) -> None:
        figures = "  ".join(cell.rjust(width) for cell, width in zip(cells, _WIDTHS, strict=False))
        self._write(f"{figures}  {cells[-1]}".rstrip())

    def _write_wrapped(self, text: str) -> None:
        self._write("\n".join(textwrap.wrap(text, WIDTH)))

    def _write(self, line: str) -> None:
        clear = "\x1b[K" if self._out.isatty() else ""
        print(f"{clear}{line}", file=self._out, flush=True)


def _format_roughly(seconds: float) -> str:
    """Format a duration roughly."""
    if seconds < 20:
        return f"{math.ceil(seconds)} s"
    return f"{10 * math.ceil(seconds / 10)} s" if seconds < 90 else f"{math.ceil(seconds / 30) / 2:g} minutes"
