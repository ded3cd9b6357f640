"""The start times of requests, decided before the first is sent, and the steps of clients in a closed loop.

An open loop: the times come from the scenario alone, whatever the server does. Every latency is measured from them, so
a server that stalls is charged with the waiting of all who would have come meanwhile, also of those whom the stall
kept this process from starting in time.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby

import attrs
import trio


@attrs.frozen
class RateStep:
    """A stretch of ``seconds`` with ``rate`` arrivals a second, or rising or falling evenly to ``to``."""

    rate: float
    seconds: float
    to: float | None = None

    @property
    def expected(self) -> float:
        """The number of arrivals that fall into it, not rounded."""
        return (self.rate + self._end) / 2 * self.seconds

    @property
    def _end(self) -> float:
        return self.rate if self.to is None else self.to

    def when(self, number: float) -> float:
        """Seconds from the step's start until ``number`` (up to ``expected``) arrivals have come."""
        growth = (self._end - self.rate) / self.seconds
        # number = rate·t + growth·t²/2, solved so that nothing cancels out where growth is small.
        root = math.sqrt(max(0.0, self.rate**2 + 2 * growth * number))
        return 2 * number / (self.rate + root) if number else 0.0


def evenly() -> Iterator[float]:
    """Equal distances between all arrivals."""
    while True:
        yield 1.0


def poisson(chance: random.Random) -> Iterator[float]:
    """The distances of arrivals that know nothing of each other, as those of many separate clients."""
    while True:
        yield chance.expovariate(1.0)


def gamma(burstiness: float, chance: random.Random) -> Iterator[float]:
    """The distances of arrivals that come in bursts where ``burstiness`` is below 1, and ever more evenly above; at 1
    they are Poisson's. (As ``--burstiness`` of vLLM's benchmark: vllm-project/vllm#10105; not rescaled to a total.)"""
    while True:
        yield chance.gammavariate(burstiness, 1 / burstiness)


def bursts(size: int) -> Iterator[float]:
    """The distances of arrivals of which ``size`` come in one instant."""
    while True:
        yield from [0.0] * (size - 1)
        yield float(size)


def arrivals(steps: Iterable[RateStep], distances: Iterator[float]) -> Iterator[float]:
    """The starts in seconds from the beginning of the first of ``steps``, in order.

    ``distances`` are in expected arrivals: they are stretched where the rate is low. The first arrival is at once."""
    begun = 0.0  # seconds before this step
    counted = 0.0  # arrivals expected before it
    position = 0.0
    for step in steps:
        while position < counted + step.expected - 1e-9:
            yield begun + step.when(max(0.0, position - counted))
            position += next(distances)
        begun += step.seconds
        counted += step.expected


def time_of(steps: Iterable[RateStep], count: int) -> float:
    """Seconds until so many arrivals are expected; infinite where they never come."""
    begun = expected = 0.0
    for step in steps:
        if expected + step.expected >= count:
            return begun + step.when(count - expected)
        begun += step.seconds
        expected += step.expected
    return math.inf


def counted(starts: Iterable[float], warmup: float, count: int) -> Iterator[float]:
    """Of ``starts`` those in the ``warmup``, and then ``count`` at most."""
    left = count
    for start in starts:
        if start >= warmup - 1e-9:
            if not left:
                return
            left -= 1
        yield start


async def paced(starts: Iterable[float], begin: float, prepare: Callable[[float], Callable[[], None]]) -> None:
    """Call, at each of ``starts``, what ``prepare`` gave for the time, on trio's clock, that it is meant for. It is
    called ahead, so that what it makes takes nobody's time. When this process is late, it catches up without a pause:
    no arrival is left out, and none is told a later time than it was meant for."""
    for offset, instant in groupby(starts):
        prepared: list[Callable[[], None]] = []
        for at in instant:
            if prepared:
                await trio.lowlevel.checkpoint()  # many take long: what has come is read between
            prepared.append(prepare(begin + at))
        await trio.sleep_until(begin + offset)
        for start in prepared:  # those of one instant begin together: nothing else runs between them
            start()


@attrs.frozen
class ClientStep:
    """A stretch of ``seconds`` with so many ``clients``, or rising or falling evenly to ``to``."""

    clients: int
    seconds: float
    to: int | None = None

    @property
    def most(self) -> int:
        return max(self.clients, self.to or 0)

    def first(self, client: int, since: float) -> float | None:
        """The first moment from ``since`` on, in seconds of the step, at which the client of that number asks; ``None``
        if it does not in the rest of it."""
        end = self.clients if self.to is None else self.to
        at_first = self.clients + (end - self.clients) * since / self.seconds
        if at_first > client:
            return since
        if end <= client:
            return None
        return self.seconds * (client - self.clients) / (end - self.clients)


def next_turn_of(steps: Sequence[ClientStep], client: int, now: float) -> float | None:
    """The first moment from ``now`` on, in seconds from the begin of the first step, at which a client asks. ``None``
    if it never does again. The first step holds for what lies before it, too."""
    begun = 0.0
    for number, step in enumerate(steps):
        if now < begun + step.seconds:
            early = now < 0 and not number
            found = step.first(client, max(0.0, now - begun))
            if found is not None:
                return now if early and not found else begun + found
        begun += step.seconds
    return None
