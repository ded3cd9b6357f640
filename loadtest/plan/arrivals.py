"""The start times of requests in an open loop, and the steps of clients in a closed loop.

In an open loop, the scenario alone determines the times. Latencies count from them, so a stalled server is charged
with the waiting of every request that was due meanwhile, including requests that this process could not start in time.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import attrs
import trio


@attrs.frozen
class RateStep:
    """A period of ``seconds`` with ``rate`` arrivals a second, or with a rate that changes linearly to ``to``."""

    rate: float
    seconds: float
    to: float | None = None

    @property
    def expected_arrivals(self) -> float:
        """The expected number of arrivals, not rounded."""
        return (self.rate + self._end) / 2 * self.seconds

    @property
    def _end(self) -> float:
        return self.rate if self.to is None else self.to

    def time_of_arrival(self, number: float) -> float:
        """Return the seconds from the step's start until ``number`` arrivals, at most ``expected_arrivals``."""
        growth = (self._end - self.rate) / self.seconds
        # number = rate·t + growth·t²/2, solved without cancellation for small growth.
        root = math.sqrt(max(0.0, self.rate**2 + 2 * growth * number))
        return 2 * number / (self.rate + root) if number else 0.0


def even_distances() -> Iterator[float]:
    """Yield equal distances between arrivals."""
    while True:
        yield 1.0


def poisson_distances(rng: random.Random) -> Iterator[float]:
    """Yield the distances of independent arrivals, as of many separate clients."""
    while True:
        yield rng.expovariate(1.0)


def gamma_distances(burstiness: float, rng: random.Random) -> Iterator[float]:
    """Yield gamma-distributed distances: bursts if ``burstiness`` < 1, Poisson at 1, and ever more even above.

    This is ``--burstiness`` of vLLM's benchmark (vllm-project/vllm#10105), without its rescaling to a total.
    """
    while True:
        yield rng.gammavariate(burstiness, 1 / burstiness)


def burst_distances(size: int) -> Iterator[float]:
    """Yield the distances of arrivals in groups of ``size``."""
    while True:
        yield from [0.0] * (size - 1)
        yield float(size)


def arrivals(steps: Iterable[RateStep], distances: Iterator[float]) -> Iterator[float]:
    """Yield the start times in seconds from the beginning of the first step, in order.

    ``distances`` are in expected arrivals, so they are longer at a low rate. The first arrival is at 0.
    """
    begun = 0.0  # seconds before this step
    expected_before = 0.0  # arrivals expected before it
    position = 0.0
    for step in steps:
        while position < expected_before + step.expected_arrivals - 1e-9:
            yield begun + step.time_of_arrival(max(0.0, position - expected_before))
            position += next(distances)
        begun += step.seconds
        expected_before += step.expected_arrivals


def seconds_until_count(steps: Iterable[RateStep], count: int) -> float:
    """Return the seconds until ``count`` arrivals are expected, or infinity."""
    begun = expected = 0.0
    for step in steps:
        if expected + step.expected_arrivals >= count:
            return begun + step.time_of_arrival(count - expected)
        begun += step.seconds
        expected += step.expected_arrivals
    return math.inf


def limit_count(starts: Iterable[float], warmup: float, count: int) -> Iterator[float]:
    """Yield the ``starts`` in the ``warmup`` and at most ``count`` later ones."""
    left = count
    for start in starts:
        if start >= warmup - 1e-9:
            if not left:
                return
            left -= 1
        yield start


async def start_on_time(starts: Iterable[float], begin: float, prepare: Callable[[float], Callable[[], None]]) -> None:
    """Prepare and start a request at each of ``starts``.

    ``prepare`` gets the planned time on trio's clock and returns a function that starts the request. It is called in
    advance, so that its work delays no request. If this process is late, it catches up without pauses: no arrival is
    skipped, and planned times do not change.
    """
    for offset, instant in groupby(starts):
        prepared: list[Callable[[], None]] = []
        for at in instant:
            if prepared:
                await trio.lowlevel.checkpoint()  # lets reads run between slow preparations
            prepared.append(prepare(begin + at))
        await trio.sleep_until(begin + offset)
        for start in prepared:  # nothing else runs between requests of one instant
            start()


@attrs.frozen
class ClientStep:
    """A period of ``seconds`` with ``clients`` clients, or with a number that changes linearly to ``to``."""

    clients: int
    seconds: float
    to: int | None = None

    @property
    def most_clients(self) -> int:
        return max(self.clients, self.to or 0)

    def first_active_time(self, client: int, since: float) -> float | None:
        """Return the first time at or after ``since``, in seconds of the step, when the client with this number is
        active, or ``None``."""
        end = self.clients if self.to is None else self.to
        at_first = self.clients + (end - self.clients) * since / self.seconds
        if at_first > client:
            return since
        if end <= client:
            return None
        return self.seconds * (client - self.clients) / (end - self.clients)


def next_active_time(steps: Sequence[ClientStep], client: int, now: float) -> float | None:
    """Return the first time at or after ``now``, in seconds from the first step, when a client is active, or ``None``.

    The first step also applies to the time before it.
    """
    begun = 0.0
    for number, step in enumerate(steps):
        if now < begun + step.seconds:
            early = now < 0 and not number
            found = step.first_active_time(client, max(0.0, now - begun))
            if found is not None:
                return now if early and not found else begun + found
        begun += step.seconds
    return None
