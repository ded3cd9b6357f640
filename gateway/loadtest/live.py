"""The display while a run goes on: a table that stays in its place on a terminal, else a line now and then."""

import sys
from typing import TYPE_CHECKING, Protocol

import trio

from gateway.loadtest.figures import COUNTED, PERCENTILES, describe_load, duration, plain, shown
from gateway.loadtest.running import ActiveRun
from gateway.loadtest.tally import MEASURES

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

EVERY = 1.0  # seconds: drawing takes milliseconds, which are the loader's
LINE_EVERY = 5.0
BAR = 30


class Screen(Protocol):
    async def watch(self, running: ActiveRun) -> None:
        """Show it until cancelled."""
        ...


class Lines:
    """For a log."""

    async def watch(self, running: ActiveRun) -> None:
        said = describe_load(running.scenario.described(), running.scenario.seconds)
        while True:
            print(f"{running.target or running.url}: {said}", file=sys.stderr, flush=True)
            await trio.sleep(LINE_EVERY)
            said = status(running)


class Terminal:
    """For a person, one run after the other. What it drew is gone at the end of each: the summary takes its place.
    ``console`` defaults to standard error."""

    def __init__(self, console: "Console | None" = None) -> None:
        from rich.console import Console  # here and not later: it takes a tenth of a second, and nothing is timed yet
        from rich.live import Live

        self._live = Live(console=console or Console(stderr=True), auto_refresh=False, transient=True)

    async def watch(self, running: ActiveRun) -> None:
        interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0005)  # so long the drawing thread may hold up the reading of streams
        try:
            with self._live:
                while True:
                    self._live.update(table(running))
                    await trio.to_thread.run_sync(self._live.refresh)
                    await trio.sleep(EVERY)
        finally:
            sys.setswitchinterval(interval)


def status(running: ActiveRun) -> str:
    """The state of a run, in one line."""
    counts, ttft = running.tally.counts, running.tally.with_firsts(running.under_way)["ttft"]
    first = (
        f", first token p50 {duration(ttft.percentile(50))} p99 {duration(ttft.percentile(99))}" if ttft.count else ""
    )
    return (
        f"{phase(running)}, {running.in_flight} under way, {counts['whole']} whole, {counts['error']} errors{first}, "
        f"lag p99 {duration(running.lag.histogram.percentile(99))}"
    )


def phase(running: ActiveRun) -> str:
    if running.warming_up:
        return "warming up"
    if running.progress < 1:
        return f"{running.measured:.0f} of {running.scenario.seconds:.0f} s"
    return "waiting for the last answers" if running.in_flight else f"judging {running.judging} answers"


def table(running: ActiveRun) -> "Table":
    """The whole display as a table."""
    from rich.table import Table

    done = round(BAR * running.progress)
    grid = Table(
        title=f"{running.target or running.url}\n{'█' * done}{'░' * (BAR - done)} {phase(running)}",
        caption=_counts(running),
        title_justify="left",
        caption_justify="left",
    )
    for name in ("", *(f"p{percent}" for percent in PERCENTILES), "max", "count"):
        grid.add_column(name, justify="right" if name else "left", min_width=9)
    measures = running.tally.with_firsts(running.under_way)
    for name, label in MEASURES.items():
        histogram = measures[name]
        values = [shown(name)(histogram.percentile(percent)) for percent in (*PERCENTILES, 100)]
        grid.add_row(label, *(values if histogram.count else [""] * 4), str(histogram.count))
    return grid


def _counts(running: ActiveRun) -> str:
    tally, seconds = running.tally, running.measured or 1
    ended = tally.counts["started"]  # they are counted at their end
    tokens = tally.tokens + sum(len(exchange.contents) for exchange in running.under_way)
    kinds = {name: label for name, label in COUNTED.items() if name != "started" and tally.counts[name]}
    lines = [
        f"{running.in_flight} under way, {ended} ended, {plain(round(ended / seconds, 1))} a second, "
        f"{plain(round(tokens / seconds, 1))} tokens a second",
        ", ".join(f"{tally.counts[name]} {label}" for name, label in kinds.items()) or "–",
        *(f"{row.count} × {row.kind}, waiting for {row.phase}" for row in tally.failures[:5]),
        f"loader: lag p99 {duration(running.lag.histogram.percentile(99))}",
    ]
    return "\n".join(lines)
