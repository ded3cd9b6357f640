"""Line charts as inline SVG, without scripts, fonts or external files: distributions, and the course of a run."""

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import groupby
from typing import Final, TypeAlias

import attrs

from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import MEASURES, format_duration, format_number, formatter_of
from loadtest.figures.result import RunResult
from loadtest.figures.timeline import LoadTimeline

Point: TypeAlias = tuple[float, float]

WIDTH, HEIGHT = 620, 240
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 34
COLOURS = 6
"""The number of classes ``s0``, ``s1`` ..., which have a colour and a dash in the page's style."""

_HOVERED = 200  # points of a line that show their value under the pointer
_NOTHING = 1e-5
_STEPS = (1, 2, 5, 10)


@attrs.frozen
class Series:
    """One line.

    Points with a NaN are gaps. ``colour`` is the number of its class. With an ``end``, the last point is marked, and
    the text is next to the label.
    """

    label: str
    points: Sequence[Point]
    colour: int
    end: str = ""


@attrs.frozen
class Axis:
    """The range and scale of an axis. ``place`` maps a value to a linear position; ``ticks`` are labelled values."""

    low: float
    high: float
    ticks: Sequence[float]
    show: Callable[[float], str]
    place: Callable[[float], float] = float

    def relative_position(self, value: float) -> float:
        """Return the position of a value: 0 at the low end, 1 at the high end."""
        low, high = self.place(self.low), self.place(self.high)
        return (self.place(value) - low) / (high - low) if high > low else 0.5


def linear_axis(high: float, show: Callable[[float], str], least: float = 0.0) -> Axis:
    """Return an axis from 0 to a round number >= ``high``, in steps >= ``least``."""
    step = max(least, _round_step(high / 4))
    count = max(1, math.ceil(high / step - 1e-9))
    return Axis(0, count * step, [i * step for i in range(count + 1)], show)


def seconds_axis(high: float, show: Callable[[float], str]) -> Axis:
    """Return a linear axis that ends at the last value."""
    axis = linear_axis(high, show)
    return attrs.evolve(axis, high=max(high, 1e-9), ticks=[tick for tick in axis.ticks if tick <= high])


def logarithmic_axis(low: float, high: float, show: Callable[[float], str]) -> Axis:
    """Return a logarithmic axis over at most three decades below ``high``; smaller values are drawn at the edge.

    If all values are near 0, it is linear.
    """
    if high < _NOTHING:
        return linear_axis(1e-3, show)
    low = max(low, high / 1000, 1e-6)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = (1, 2, 5) if len(decades) > 2 else (1, 1.5, 2, 3, 5, 7)
    ticks = [mark * 10.0**decade for decade in decades for mark in marks]
    first = max((tick for tick in ticks if tick <= low * 1.0001), default=low)
    last = min((tick for tick in ticks if tick >= high * 0.9999), default=high)
    if first == last:
        last = 2 * first
    return Axis(first, last, [tick for tick in ticks if first <= tick <= last] or [first], show, math.log10)


def percentile_axis(most: float) -> Axis:
    """Return an axis of percentiles on which each additional nine takes the same space."""
    most = max(most, 50)
    ticks = [tick for tick in (0, 50, 90, 99, 99.9, 99.99, 99.999) if tick <= most and (tick or most < 99.9)]
    return Axis(0, most, ticks, lambda value: f"{value:g} %", lambda value: -math.log10(1 - value / 100))


def _round_step(wanted: float) -> float:
    power = 10.0 ** math.floor(math.log10(wanted))
    return next(step * power for step in _STEPS if step * power >= wanted * 0.9999)


def chart(title: str, x: Axis, y: Axis, series: Sequence[Series], x_label: str = "") -> str:
    """Return a ``<figure>`` with caption and legend."""
    lines = "".join(_svg_line(one, x, y) for one in series)
    legend = "".join(
        f'<span><svg class="key" viewBox="0 0 24 8" aria-hidden="true"><path class="s{one.colour}" d="M0 4H24"/></svg>'
        f"{escape(one.label)}{f'<small>{escape(one.end)}</small>' if one.end else ''}</span>"
        for one in series
    )
    label = escape(f"{title}: {', '.join(one.label for one in series)}", quote=True)
    below = f'<text class="axis" x="{WIDTH - RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{escape(x_label)}</text>'
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><p class="legend">{legend}</p>'
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"{_svg_grid(x, y)}{lines}{below}</svg></figure>"
    )


def _x_position(axis: Axis, value: float) -> float:
    return LEFT + axis.relative_position(value) * (WIDTH - LEFT - RIGHT)


def _y_position(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.relative_position(value) * (HEIGHT - TOP - BOTTOM)


def _svg_grid(x: Axis, y: Axis) -> str:
    parts = []
    for tick in y.ticks:
        at = _y_position(y, tick)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{escape(y.show(tick))}</text>')
    for tick in x.ticks:
        at = _x_position(x, tick)
        parts.append(f'<path class="grid" d="M{at:.1f} {HEIGHT - BOTTOM}v4"/>')
        text = escape(x.show(tick))
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" class="tick" text-anchor="middle">{text}</text>')
    return "".join(parts)


def _svg_line(series: Series, x: Axis, y: Axis) -> str:
    gaps = groupby(series.points, key=lambda point: math.isnan(point[1]))
    pieces = [[_svg_point(point, x, y) for point in points] for gap, points in gaps if not gap]
    line = "".join(f"M{'L'.join(piece)}" for piece in pieces if len(piece) > 1)
    ends = [piece[0] for piece in pieces if len(piece) == 1]  # an isolated point is drawn as a dot
    ends += [pieces[-1][-1]] if series.end and pieces else []
    dots = "".join(f"M{place}h.01" for place in ends)
    parts = ((f"s{series.colour}", line), (f"s{series.colour} end", dots))
    drawn = "".join(f'<path class="{kind}" d="{path}"/>' for kind, path in parts if path)
    return drawn + ("".join(_hover_circles(series, x, y)) if len(series.points) <= _HOVERED else "")


def _svg_point(point: Point, x: Axis, y: Axis) -> str:
    return f"{_x_position(x, point[0]):.1f} {_y_position(y, min(max(point[1], y.low), y.high)):.1f}"


def _hover_circles(series: Series, x: Axis, y: Axis) -> Iterator[str]:
    """Yield circles that show their value under the pointer."""
    for point in series.points:
        if not math.isnan(point[1]):
            cx, cy = _svg_point(point, x, y).split()
            said = escape(f"{series.label}: {y.show(point[1])} at {x.show(point[0])}")
            yield f'<circle cx="{cx}" cy="{cy}" r="6"><title>{said}</title></circle>'


_CURVES: Final = ("ttft", "gap", "duration")
_OVER_TIME: Final = (50, 95, 99)  # percentiles
_MEANS: Final = ("started", "whole", "failed", "tokens")
_POINTS: Final = 600
"""The most points of a line: more are invisible, and would make the page as large as its report."""


def distribution_charts(runs: Sequence[RunResult]) -> Iterator[str]:
    """Yield charts of the distributions of one run or several: each percentile, and the greatest value."""
    for name in _CURVES:
        histograms = [run.tally.measures[name] for run in runs]
        series = [
            Series(run.name, _percentile_points(found), i % COLOURS, f"max {formatter_of(name)(found.most)}")
            for i, (run, found) in enumerate(zip(runs, histograms, strict=True))
            if found.count
        ]
        if series:
            values = [y for one in series for _, y in one.points]
            x = percentile_axis(max(one.points[-1][0] for one in series))
            y = logarithmic_axis(min(values), max(values), formatter_of(name))
            yield chart(MEASURES[name].label.capitalize(), x, y, series, "percentile")


def _percentile_points(histogram: Histogram) -> list[Point]:
    """Return the percentiles of a histogram, closer together towards the end, as far as there are values.

    The last point is the greatest value.
    """
    last = 1 - 1 / histogram.count
    shares = [share for i in range(121) if (share := 1 - 10 ** (-i / 24)) <= last]
    found = [(100 * share, histogram.percentile(100 * share)) for share in (*shares, last)]
    return [*found, (100 * (1 - 0.5 / histogram.count), histogram.most)]


def timeline_charts(run: RunResult) -> Iterator[str]:
    """Yield charts of the course of a run."""
    size, columns = _timeline_columns(run.timeline)
    begins = columns.pop("begin")
    if not begins:
        return
    x = seconds_axis(max(1.0, begins[-1]), lambda value: f"{value:.4g} s")
    each = "each second" if size == 1 else f"a second, mean of {size} s"
    charts: tuple[tuple[str, tuple[str, ...], Callable[[float], str]], ...] = (
        (f"Requests, {each}", ("begun", "ended whole", "failed"), format_number),
        ("Under way", ("under way",), format_number),
        ("Time to the first token, by when the request was to start", ("p50", "p95", "p99"), format_duration),
        (f"Tokens, {each}", ("tokens",), format_number),
        ("Lateness of the loader itself", ("greatest lag",), format_duration),
    )
    for title, names, show in charts:
        series = [Series(name, list(zip(begins, columns[name], strict=True)), i) for i, name in enumerate(names)]
        highest = max((y for one in series for _, y in one.points if not math.isnan(y)), default=0.0)
        if highest:
            yield chart(title, x, linear_axis(highest, show, least=1 if show is format_number else 0), series)


def _timeline_columns(timeline: LoadTimeline) -> tuple[int, dict[str, list[float]]]:
    """Return the length of a span in seconds, which is a power of 2 as in the timeline, and the values of all spans.

    Counts are means per second, the others maxima, and NaN where there is no first token.
    """
    every, size = timeline.seconds, 1
    while len(every) > size * _POINTS:
        size *= 2
    names = ("begin", "begun", "ended whole", "failed", "tokens", "under way", "greatest lag", "p50", "p95", "p99")
    found: dict[str, list[float]] = {name: [] for name in names}
    for begin in range(0, len(every), size):
        span = every[begin : begin + size]
        ttft = Histogram()
        for second in span:
            ttft.merge(second.ttft)
        means = [sum(getattr(one, name) for one in span) / len(span) for name in _MEANS]
        most = [max(one.in_flight for one in span), max(one.lag for one in span)]
        firsts = [ttft.percentile(at) if ttft.count else math.nan for at in _OVER_TIME]
        for name, value in zip(names, (begin, *means, *most, *firsts), strict=True):
            found[name].append(float(value))
    return size, found
