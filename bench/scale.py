"""The effect of more workers at full load: throughput, and the workers' share of the machine, because clients and
provider need the same cores."""

import contextlib
import time
from collections.abc import Sequence
from typing import NamedTuple

from cases import Case
from servers import CORES, OWN, Standing, busy, cpu, run_servers

CASE = Case("unary", stream=False, clients=32)


class Throughput(NamedTuple):
    """The throughput of a number of workers.

    ``rate`` is requests a second, ``cpu_ms`` the gateway's CPU time per request, and ``per_cpu_second`` the requests
    per CPU second. The shares are of the whole machine: the gateway's, that of clients and provider, and the rest.
    """

    workers: int
    rate: float
    cpu_ms: float
    per_cpu_second: float
    gateway: float
    load: float
    others: float


def throughput(stand: Standing, workers: int, seconds: float) -> Throughput:
    own, peer, all_busy, begun = cpu(stand.pid), cpu(stand.provider_pid), busy(), time.monotonic()
    told = stand.load(seconds)
    room = (time.monotonic() - begun) * CORES
    own, peer = cpu(stand.pid) - own, cpu(stand.provider_pid) - peer + told["cpu"]
    others = max(0.0, busy() - all_busy - own - peer)
    rate = told["done"] / told["seconds"]
    return Throughput(
        workers, rate, own / told["done"] * 1000, told["done"] / own, own / room, peer / room, others / room
    )


def scale(counts: Sequence[int], rounds: int, seconds: float) -> list[Throughput]:
    """Return, for each number of workers, the round with the least other load.

    The servers run simultaneously and take turns.
    """
    with contextlib.ExitStack() as stack:
        stands = [stack.enter_context(run_servers(CASE, OWN, workers, pinned=False)) for workers in counts]
        for stand in stands:
            stand.load(0.5)  # warm
        found = [
            [throughput(stand, workers, seconds) for stand, workers in zip(stands, counts, strict=True)]
            for _ in range(rounds)
        ]
    return [min(column, key=lambda one: one.others) for column in zip(*found, strict=True)]


HEADS = ("workers", "requests a second", "CPU ms a request", "requests a CPU second", "% of the machine: gateway",
         "clients and provider", "all else", "factor", "factor for the same CPU")  # fmt: skip


def row(one: Throughput, first: Throughput) -> list[str]:
    """Return a row of the table, with factors relative to ``first``."""
    shares = [f"{100 * share:.0f}" for share in (one.gateway, one.load, one.others)]
    factors = [f"{one.rate / first.rate:.2f}", f"{one.per_cpu_second / first.per_cpu_second:.2f}"]
    return [str(one.workers), f"{one.rate:.0f}", f"{one.cpu_ms:.2f}", f"{one.per_cpu_second:.0f}", *shares, *factors]
