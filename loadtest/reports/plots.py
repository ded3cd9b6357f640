"""Line charts as inline SVG, without scripts, fonts or external files: distributions, and the course of a run.

``chart.html`` is the template of a chart.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Final, TypeAlias

import attrs
from jinja2 import Environment, PackageLoader, StrictUndefined

from loadtest.figures.histogram import Histogram
from loadtest.figures.measures import MEASURES, format_duration, format_number, formatter_of
from loadtest.figures.result import RunResult

Point: TypeAlias = tuple[float, float]

WIDTH, HEIGHT = 620, 240
LEFT, RIGHT, TOP, BOTTOM = 62, WIDTH - 14, 12, HEIGHT - 34
COLOURS = 6
"""The number of classes ``s0``, ``s1`` ..., which have a colour and a dash in the page's style."""

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

    def position(self, value: float, begin: float, end: float) -> float:
        """Return the position of a value between ``begin``, the low end, and ``end``. Values beyond are at the edge."""
        low, high = self.place(self.low), self.place(self.high)
        share = (self.place(min(max(value, self.low), self.high)) - low) / (high - low) if high > low else 0.5
        return round(begin + share * (end - begin), 1)


def linear_axis(high: float, show: Callable[[float], str], least: float = 0.0) -> Axis:
    """Return an axis from 0 to a round number >= ``high``, in steps >= ``least``."""
    power = 10.0 ** math.floor(math.log10(high / 4))
    step = max(least, next(step * power for step in _STEPS if step * power >= high / 4 * 0.9999))
    count = max(1, math.ceil(high / step - 1e-9))
    return Axis(0, count * step, [i * step for i in range(count + 1)], show)


def percentile_axis(most: float) -> Axis:
    """Return an axis of percentiles on which each additional nine takes the same space."""
    most = max(most, 50)
    ticks = [tick for tick in (0, 50, 90, 99, 99.9, 99.99, 99.999) if tick <= most and (tick or most < 99.9)]
    return Axis(0, most, ticks, lambda value: f"{value:g} %", lambda value: -math.log10(1 - value / 100))


TEMPLATES: Final = Environment(
    loader=PackageLoader("loadtest", "reports"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip


def chart(title: str, x: Axis, y: Axis, series: Sequence[Series], x_label: str = "") -> str:
    """Return a ``<figure>`` with caption and legend."""
    return TEMPLATES.get_template("chart.html").render(
        title=title, series=series, x_label=x_label, width=WIDTH, height=HEIGHT, left=LEFT, right=RIGHT, bottom=BOTTOM,
        rows=[(y.position(tick, BOTTOM, TOP), y.show(tick)) for tick in y.ticks],
        columns=[(x.position(tick, LEFT, RIGHT), x.show(tick)) for tick in x.ticks],
        lines=[(one.colour, *_line_and_dots(one, x, y)) for one in series],
    )  # fmt: skip


def _line_and_dots(series: Series, x: Axis, y: Axis) -> tuple[str, str]:
    """Return the paths of a line, and of its dots: isolated points, and its marked end."""
    pieces = [
        [f"{x.position(at, LEFT, RIGHT)} {y.position(value, BOTTOM, TOP)}" for at, value in points]
        for gap, points in groupby(series.points, key=lambda point: math.isnan(point[1]))
        if not gap
    ]
    dots = [piece[0] for piece in pieces if len(piece) == 1] + ([pieces[-1][-1]] if series.end and pieces else [])
    line = "".join(f"M{'L'.join(piece)}" for piece in pieces if len(piece) > 1)
    return line, "".join(f"M{place}h.01" for place in dots)


_CURVES: Final = ("ttft", "gap", "duration")
_OVER_TIME: Final = (50, 95, 99)  # percentiles


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
            y = linear_axis(max(values) or 1e-3, formatter_of(name))
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
    spans, width = run.timeline.spans, run.timeline.width
    begins = [float(width * number) for number in range(len(spans))]
    if not begins:
        return
    firsts = {f"p{at}": [one.ttft.percentile(at) if one.ttft.count else math.nan for one in spans] for at in _OVER_TIME}
    columns = {
        "begun": [one.started / width for one in spans],
        "ended whole": [one.whole / width for one in spans],
        "failed": [one.failed / width for one in spans],
    }
    charts: tuple[tuple[str, dict[str, list[float]], Callable[[float], str]], ...] = (
        ("Requests, each second", columns, format_number),
        ("Under way", {"under way": [float(one.in_flight) for one in spans]}, format_number),
        ("Time to the first token, by when the request was to start", firsts, format_duration),
        ("Tokens, each second", {"tokens": [one.tokens / width for one in spans]}, format_number),
        ("Lateness of the loader itself", {"greatest lag": [one.lag for one in spans]}, format_duration),
    )
    x = linear_axis(max(1.0, begins[-1]), lambda value: f"{value:.4g} s")
    for title, lines, show in charts:
        series = [Series(name, list(zip(begins, ys, strict=True)), i) for i, (name, ys) in enumerate(lines.items())]
        highest = max((y for one in series for _, y in one.points if not math.isnan(y)), default=0.0)
        if highest:
            yield chart(title, x, linear_axis(highest, show, least=1 if show is format_number else 0), series)
