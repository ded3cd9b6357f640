"""How cost grows with the events of a stream, their size, the number of streams, tools and turns."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from cases import Case
from crowd import CASES as CROWDS
from crowd import fresh
from line import Line
from servers import Standing, cpu, run_servers

MESSAGES = "/v1/messages"
CROWD = CROWDS[1]
STREAMS = (100, 250, 500, 750, 1000)


HEADS = ("what grows: what it costs", "without it", "and each", "off the line at most", "measured")


class Measured(NamedTuple):
    """The measured points of one growth. ``show`` formats a y or a slope, and ``unit`` is the unit of x."""

    title: str
    points: Sequence[tuple[float, float]]
    show: Callable[[float], str]
    unit: str

    @property
    def line(self) -> Line:
        return Line.through(self.points)

    def row(self) -> list[str]:
        """Return a row of the table."""
        slope, offset, off = self.line
        points = ", ".join(f"{x:g}: {self.show(y)}" for x, y in self.points)
        return [self.title, self.show(offset), f"{self.show(slope)} {self.unit}", f"{100 * off:.0f} %", points]


def duration(seconds: float) -> str:
    """Format a duration with three digits, in a suitable unit."""
    return f"{seconds * 1e6:.3g} µs" if abs(seconds) < 1e-3 else f"{seconds * 1e3:.3g} ms"


class Growth(NamedTuple):
    """Cases of increasing size ``x``.

    ``share`` is the measured part of a request's cost; ``unit`` is the thing that grows.
    """

    name: str
    title: str
    unit: str
    cases: Mapping[float, Case]
    share: float = 1


GROWTHS = (
    Growth("events", "Events of a stream: CPU time of the stream", "an event",
           {n: Case("", MESSAGES, events=n) for n in (50, 100, 200, 400, 800)}),
    Growth("size", "Size of an event: CPU time of the event", "a kB",
           {n / 1000: Case("", MESSAGES, size=n) for n in (10, 2500, 5000, 7500, 10_000)}, share=1 / 103),
    Growth("tools", "Tools: CPU time of a request", "a tool",
           {n: Case("", MESSAGES, stream=False, tools=n) for n in (1, 25, 50, 75, 100)}),
    Growth("turns", "Length of the conversation: CPU time of a request", "a turn",
           {n: Case("", MESSAGES, stream=False, turns=n) for n in (1, 25, 51, 75, 101)}),
)  # fmt: skip
NAMES = (*(growth.name for growth in GROWTHS), "streams")


def cost(stand: Standing, seconds: float) -> float:
    """Return the CPU seconds per request."""
    before = cpu(stand.pid)
    done: int = stand.load(seconds)["done"]
    return (cpu(stand.pid) - before) / done


def measure_growth(growth: Growth, rounds: int, seconds: float) -> Measured:
    """Return the least cost of several rounds for each case.

    The servers run simultaneously and take turns, so that a slowdown of the machine affects all.
    """
    with contextlib.ExitStack() as stack:
        stands = [stack.enter_context(run_servers(case)) for case in growth.cases.values()]
        for stand in stands:
            stand.load(seconds)  # warm
        costs = [[cost(stand, seconds) for stand in stands] for _ in range(rounds)]
    least = [min(column) * growth.share for column in zip(*costs, strict=True)]
    points = list(zip(growth.cases, least, strict=True))
    return Measured(growth.title, points, duration, growth.unit)


def measure_streams(counts: Sequence[int], rounds: int, seconds: float) -> tuple[Measured, Measured]:
    """Return the CPU time and memory of a worker by the number of simultaneous streams, each with a separate worker.

    A round is a multiple of the gap between events, so that each has equally many.
    """
    seconds = CROWD.gap * max(1, round(seconds / CROWD.gap))
    found = []
    for count in counts:
        with run_servers(CROWD) as stand:
            found.append(fresh(stand, count, rounds, seconds))
    used = [(float(one.streams), one.cpu_event * 1e-6 * one.streams / CROWD.gap) for one in found]
    held = [(float(one.streams), one.memory) for one in found]
    return (
        Measured("Concurrent streams: CPU time in each second", used, duration, "a stream"),
        Measured("Concurrent streams: memory of the worker", held, mebibytes, "a stream"),
    )


def mebibytes(value: float) -> str:
    """Format memory with three digits, in a suitable unit."""
    return f"{value * 1024:.3g} KiB" if 0 < abs(value) < 1 else f"{value:.3g} MiB"


def growths(names: Sequence[str], counts: Sequence[int], rounds: int, seconds: float) -> Iterator[Measured]:
    """Measure and yield the requested growths. ``counts`` are the numbers of streams."""
    for growth in GROWTHS:
        if growth.name in names:
            yield measure_growth(growth, rounds, seconds)
    if "streams" in names:
        yield from measure_streams(counts, rounds, seconds)
