"""The charts of a page: distributions to their end, and what happened over the time of a run."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

import attrs

from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import MEASURES
from loadtest.figures.numbers import duration, plain, shown
from loadtest.figures.result import RunResult
from loadtest.figures.timeline import LoadTimeline, Second
from loadtest.reports.plots import COLOURS, Axis, Series, chart, linear, logarithmic, percentiles, seconds

_CURVES: Final = ("ttfb", "ttft", "gap", "duration")
_OVER_TIME: Final = (50, 95, 99)  # percentiles
_POINTS: Final = 600
"""The most points of a line: more are not seen, and an hour's page would be as large as its report."""


def curves(runs: Sequence[RunResult], names: Sequence[str]) -> Iterable[str]:
    """The whole distributions of what was measured: what each percentile is at most, and the greatest value."""
    for name in _CURVES:
        histograms = [run.tally.measures[name] for run in runs]
        firsts = [run.tally.measures["ttft"] for run in runs]
        repeats = name == "ttfb" and all(a.buckets == b.buckets for a, b in zip(histograms, firsts, strict=True))
        if any(histogram.count for histogram in histograms) and not repeats:
            yield _curve(name, histograms, names)


def _curve(name: str, histograms: Sequence[Histogram], names: Sequence[str]) -> str:
    # Numbered before those without data are left out: a run has one colour in all charts.
    show = shown(name)
    series = [
        Series(label, _points(histogram), i % COLOURS, f"max {show(histogram.most)}")
        for i, (label, histogram) in enumerate(zip(names, histograms, strict=True))
        if histogram.count
    ]
    values = [y for one in series for _, y in one.points]
    x = percentiles(max(one.points[-1][0] for one in series))
    return chart(
        MEASURES[name].label.capitalize(), x, logarithmic(min(values), max(values), show), series, "percentile"
    )


def _points(histogram: Histogram) -> list[tuple[float, float]]:
    """Finer and finer towards the end, as far as there are values to tell the percentiles apart; the greatest stands
    in the middle of what is left."""
    last = 1 - 1 / histogram.count
    shares = [share for i in range(121) if (share := 1 - 10 ** (-i / 24)) <= last]
    found = [(100 * share, histogram.percentile(100 * share)) for share in (*shares, last)]
    return [*found, (100 * (1 - 0.5 / histogram.count), histogram.most)]


@attrs.frozen
class TimelineSpan:
    """Some seconds of a run, from ``begin`` on: counts are means a second, ``in_flight`` and ``lag`` the greatest."""

    begin: float
    started: float
    whole: float
    failed: float
    tokens: float
    in_flight: float
    lag: float
    ttft: Histogram

    def first_token(self, percent: float) -> float:
        return self.ttft.percentile(percent) if self.ttft.count else math.nan


def spans(timeline: LoadTimeline) -> tuple[int, list[TimelineSpan]]:
    """How many seconds stand together, and all of them. It is a power of 2, as in the timeline itself."""
    every = timeline.seconds
    size = 1
    while len(every) > size * _POINTS:
        size *= 2
    return size, [_span(begin, every[begin : begin + size]) for begin in range(0, len(every), size)]


def _span(begin: int, found: Sequence[Second]) -> TimelineSpan:
    ttft = Histogram()
    for second in found:
        ttft.merge(second.ttft)
    sums = {name: sum(getattr(one, name) for one in found) / len(found) for name in _MEANS}
    most = {name: max(getattr(one, name) for one in found) for name in ("in_flight", "lag")}
    return TimelineSpan(begin=float(begin), ttft=ttft, **sums, **most)


_MEANS: Final = ("started", "whole", "failed", "tokens")


def over_time(run: RunResult) -> Iterable[str]:
    """What happened when."""
    size, found = spans(run.timeline)
    if not found:
        return
    x = _time(max(1.0, found[-1].begin))
    each = "each second" if size == 1 else f"a second, mean of {size} s"

    def line(label: str, colour: int, value: Callable[[TimelineSpan], float]) -> Series:
        return Series(label, [(one.begin, value(one)) for one in found], colour)

    flow = [
        line("begun", 0, lambda one: one.started),
        line("ended whole", 1, lambda one: one.whole),
        line("failed", 2, lambda one: one.failed),
    ]
    yield chart(f"Requests, {each}", x, linear(_highest(flow), plain, least=1), flow)
    under_way = [line("under way", 0, lambda one: one.in_flight)]
    yield chart("Under way", x, linear(_highest(under_way), plain, least=1), under_way)
    if run.tally.measures["ttft"].count:
        first = [line(f"p{at}", i, partial(TimelineSpan.first_token, percent=at)) for i, at in enumerate(_OVER_TIME)]
        title = "Time to the first token, by when the request was to start"
        yield chart(title, x, linear(_highest(first), duration), first)
    if any(one.tokens for one in found):
        tokens = [line("tokens", 3, lambda one: one.tokens)]
        yield chart(f"Tokens, {each}", x, linear(_highest(tokens), plain, least=1), tokens)
    lag = [line("greatest lag", 5, lambda one: one.lag)]
    yield chart("Lateness of the loader itself", x, linear(_highest(lag), duration), lag)


def _highest(series: Sequence[Series]) -> float:
    return max((y for one in series for _, y in one.points if not math.isnan(y)), default=0.0) or 1e-3


_UNITS: Final = ((3 * 3600, 3600, "h"), (180, 60, "min"), (0, 1, "s"))


def _time(high: float) -> Axis:
    """In hours or minutes where there are a few of them."""
    size, unit = next((size, unit) for least, size, unit in _UNITS if high >= least)
    axis = seconds(high / size, lambda value: f"{value / size:.4g} {unit}")
    return attrs.evolve(axis, high=axis.high * size, ticks=[tick * size for tick in axis.ticks])
