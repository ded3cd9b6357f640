"""How cost grows: with the events of a stream, their size, how many streams there are, tools and turns."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from cases import Case
from crowd import CASES as CROWDS
from crowd import fresh
from plots import Plot
from servers import Standing, cpu, standing

MESSAGES = "/v1/messages"
CROWD = CROWDS[1]
STREAMS = (100, 250, 500, 750, 1000)


def duration(seconds: float) -> str:
    """Three figures, in the unit that suits."""
    return f"{seconds * 1e6:.3g} µs" if abs(seconds) < 1e-3 else f"{seconds * 1e3:.3g} ms"


class Growth(NamedTuple):
    """A case of each size ``x``. ``share`` is what part of a request's cost is drawn; ``unit`` is what grows by one."""

    name: str
    title: str
    x_label: str
    unit: str
    cases: Mapping[float, Case]
    share: float = 1


GROWTHS = (
    Growth("events", "Events of a stream: CPU time of the stream", "events", "an event",
           {n: Case("", MESSAGES, events=n) for n in (50, 100, 200, 400, 800)}),
    Growth("size", "Size of an event: CPU time of the event", "kB", "a kB",
           {n / 1000: Case("", MESSAGES, size=n) for n in (10, 2500, 5000, 7500, 10_000)}, share=1 / 103),
    Growth("tools", "Tools: CPU time of a request", "tools", "a tool",
           {n: Case("", MESSAGES, stream=False, tools=n) for n in (1, 25, 50, 75, 100)}),
    Growth("turns", "Length of the conversation: CPU time of a request", "turns", "a turn",
           {n: Case("", MESSAGES, stream=False, turns=n) for n in (1, 25, 51, 75, 101)}),
)  # fmt: skip
NAMES = (*(growth.name for growth in GROWTHS), "streams")


def cost(stand: Standing, seconds: float) -> float:
    """Seconds of CPU for a request."""
    before = cpu(stand.pid)
    done: int = stand.load(seconds)["done"]
    return (cpu(stand.pid) - before) / done


def grown(growth: Growth, rounds: int, seconds: float) -> Plot:
    """The least cost of several rounds for each case. All stand at the same time and take turns, so that a machine
    that becomes slower does so for all of them."""
    with contextlib.ExitStack() as stack:
        stands = [stack.enter_context(standing(case)) for case in growth.cases.values()]
        for stand in stands:
            stand.load(seconds)  # warm
        costs = [[cost(stand, seconds) for stand in stands] for _ in range(rounds)]
    least = [min(column) * growth.share for column in zip(*costs, strict=True)]
    points = list(zip(growth.cases, least, strict=True))
    return Plot(growth.title, growth.x_label, points, duration, growth.unit)


def of_streams(counts: Sequence[int], rounds: int, seconds: float) -> tuple[Plot, Plot]:
    """CPU time and memory of a worker with so many streams at once, each count with a worker of its own. A round is a
    multiple of the gap between the events of a stream, so that each has as many events."""
    seconds = CROWD.gap * max(1, round(seconds / CROWD.gap))
    found = []
    for count in counts:
        with standing(CROWD) as stand:
            found.append(fresh(stand, count, rounds, seconds))
    used = [(float(one.streams), one.cpu_event * 1e-6 * one.streams / CROWD.gap) for one in found]
    held = [(float(one.streams), one.memory) for one in found]
    label = f"streams at once, an event every {1000 * CROWD.gap:.0f} ms each"
    return (
        Plot("Streams at once: CPU time in each second", label, used, duration, "a stream"),
        Plot("Streams at once: memory of the worker", label, held, mebibytes, "a stream"),
    )


def mebibytes(value: float) -> str:
    """Three figures, in the unit that suits."""
    return f"{value * 1024:.3g} KiB" if 0 < abs(value) < 1 else f"{value:.3g} MiB"


def plots(names: Sequence[str], counts: Sequence[int], rounds: int, seconds: float) -> Iterator[Plot]:
    """Those of ``NAMES`` that are wanted, each as soon as it is measured. ``counts`` are those of the streams."""
    for growth in GROWTHS:
        if growth.name in names:
            yield grown(growth, rounds, seconds)
    if "streams" in names:
        yield from of_streams(counts, rounds, seconds)
