"""Plots of growing cost: the measured points and a straight line, as an HTML page or an SVG."""

import statistics
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from loadtest.reports.page import STYLE
from loadtest.reports.plots import HEIGHT, WIDTH, Point, Series, chart, linear_axis, seconds_axis

NAN = float("nan")
DOTS = """
.charts path.s0 { stroke-width: 9; } .key path.s0 { stroke-width: 8; stroke-dasharray: 0 99; stroke-dashoffset: -12; }
svg.chart { overflow: visible; } .charts path.s1 { stroke-dasharray: none; }
"""
DRAWN = """
:root { color-scheme: light dark; --card: #f6f7f9; --text: #1c2024; --soft: #60646c; --line: #d9dce1; --s0: #1f6feb;
  --s1: #b3541e; }
@media (prefers-color-scheme: dark) { :root { --card: #1d2127; --text: #e8eaed; --soft: #a2a9b3; --line: #343a42;
  --s0: #6cb0ff; --s1: #f2a65a; } }
text { font: 14px system-ui, sans-serif; fill: var(--soft); }
.title { font-size: 17px; font-weight: 600; fill: var(--text); }
svg { overflow: visible; }
path { fill: none; stroke-linecap: round; } .card { fill: var(--card); }
.grid { stroke: var(--line); } .s0 { stroke: var(--s0); stroke-width: 9; } .s1 { stroke: var(--s1); stroke-width: 2; }
"""
HEADS = ("what grows: what it costs", "without it", "and each", "off the line at most", "measured")
MARGIN, TOP, GAP = 12, 62, 16  # of a panel of the SVG, and between panels
COLUMNS = 2


class Line(NamedTuple):
    """``offset + slope * x``. ``off`` is the greatest deviation of a point, relative to its y."""

    slope: float
    offset: float
    off: float

    @classmethod
    def through(cls, points: Sequence[Point]) -> "Line":
        """Return the line of least squares."""
        slope, offset = statistics.linear_regression(*zip(*points, strict=True))
        return cls(slope, offset, max(abs(offset + slope * x - y) / abs(y) for x, y in points))


class Plot(NamedTuple):
    """A plot. ``show`` formats a y or a slope, and ``unit`` is the unit of x, such as "an event"."""

    title: str
    x_label: str
    points: Sequence[Point]
    show: Callable[[float], str]
    unit: str

    @property
    def line(self) -> Line:
        return Line.through(self.points)

    @property
    def cost(self) -> str:
        """The line in words."""
        slope, offset, off = self.line
        each = f"{self.show(offset)} and {self.show(slope)} {self.unit}"
        return f"{each}; no point is further than {100 * off:.0f} % from the line"

    def row(self) -> list[str]:
        """Return a row of the table."""
        slope, offset, off = self.line
        points = ", ".join(f"{x:g}: {self.show(y)}" for x, y in self.points)
        return [self.title, self.show(offset), f"{self.show(slope)} {self.unit}", f"{100 * off:.0f} %", points]

    def figure(self) -> str:
        """Return an HTML ``<figure>``."""
        line, most = self.line, max(x for x, _ in self.points)
        # A gap after each, so that they are not joined.
        dots = [each for point in self.points for each in (point, (point[0], NAN))]
        fitted = [(x, line.offset + line.slope * x) for x in (0.0, most)]
        top = linear_axis(max(y for _, y in (*self.points, *fitted)), self.show)
        series = (Series(self.cost, fitted, 1), Series("measured", dots, 0))
        return chart(self.title, seconds_axis(most, "{:g}".format), top, series, self.x_label)


def page(plots: Sequence[Plot], heading: str, note: str) -> str:
    """Return a self-contained HTML document for light and dark mode."""
    figures = "\n".join(plot.figure() for plot in plots)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(heading)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}{DOTS}</style></head>\n'
        f'<body><main><h1>{escape(heading)}</h1><p class="soft">{escape(note)}</p>\n'
        f'<div class="charts">{figures}</div></main></body></html>\n'
    )


def drawing(plots: Sequence[Plot], heading: str) -> str:
    """Return an SVG that looks the same inside an ``<img>``, for light and dark mode."""
    wide, high = WIDTH + 2 * MARGIN, HEIGHT + TOP + MARGIN
    panels = []
    for i, plot in enumerate(plots):
        x, y = i % COLUMNS * (wide + GAP), i // COLUMNS * (high + GAP)
        chart_only = plot.figure().partition('<svg class="chart"')[2].removesuffix("</figure>")
        panels.append(
            f'<g transform="translate({x} {y})"><rect class="card" width="{wide}" height="{high}" rx="8"/>'
            f'<text class="title" x="{MARGIN}" y="26">{escape(plot.title)}</text>'
            f'<text x="{MARGIN}" y="48">{escape(plot.cost)}</text>'
            f'<svg x="{MARGIN}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}"{chart_only}</g>'
        )
    width, height = COLUMNS * (wide + GAP) - GAP, -(-len(plots) // COLUMNS) * (high + GAP) - GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img"><title>{escape(heading)}</title><style>{DRAWN}</style>\n' + "\n".join(panels) + "\n</svg>\n"
    )
