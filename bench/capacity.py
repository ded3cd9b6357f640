"""How many streams a gateway carries: CPU, memory and lateness by the number of streams, their pace and the workers."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cases import Case
from crowd import Crowd, fresh
from servers import OWN, run_servers

PACES = (10, 50)
"""Tokens a second of one stream, each in an event of its own, as providers send them."""
STREAMS = (100, 300, 1000)


class Capacity(NamedTuple):
    """``events`` is the number of events a second that the clients received, ``cores`` the CPU seconds a second that
    the gateway used for them."""

    workers: int
    pace: int
    crowd: Crowd
    events: float
    cores: float


def capacities(
    workers: Sequence[int], streams: Sequence[int], paces: Sequence[int], rounds: int, seconds: float
) -> Iterator[Capacity]:
    """Measure every combination, each with a gateway of its own, as long as its workers have the cores for it."""
    for count in workers:
        for pace in paces:
            case = Case(f"pace{pace}", "/v1/chat/completions", events=10**6, gap=1 / pace)
            each = 0.0  # cores that one stream took before
            for number in streams:
                if each * number > count:
                    break
                with run_servers(case, OWN, count, pinned=count == 1) as stand:
                    found = fresh(stand, number, rounds, seconds)
                events = found.steady.events / (rounds * seconds)
                cores = found.cpu_event * events / 1e6
                each = cores / number
                yield Capacity(count, pace, found, events, cores)


HEADS = ("workers", "streams", "tokens a second each", "events a second", "cores used", "µs an event", "MiB",
         "late in ms: p50", "p99")  # fmt: skip


def row(one: Capacity) -> list[str]:
    """Return a line of the table."""
    late = [f"{each:.1f}" for each in (one.crowd.steady.p50, one.crowd.steady.p99)]
    used = [f"{one.events:,.0f}", f"{one.cores:.2f}", f"{one.crowd.cpu_event:.0f}", f"{one.crowd.memory:.0f}"]
    return [str(one.workers), f"{one.crowd.streams:,}", str(one.pace), *used, *late]
