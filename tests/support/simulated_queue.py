"""A server simulated as a queue with several slots, in virtual time."""

import heapq
import random
from collections.abc import Callable, Iterable

import attrs

from loadtest.plan.plan import LoadPlan, arrival_times


@attrs.frozen
class SimulatedAnswer:
    planned: float
    begun: float
    ended: float

    @property
    def wait_seconds(self) -> float:
        return self.ended - self.planned


@attrs.frozen
class SimulatedQueue:
    """A queue that serves ``slots`` requests at a time in order. ``service`` draws their durations."""

    slots: int
    service: Callable[[random.Random], float]

    def answers(self, starts: Iterable[float], rng: random.Random) -> list[SimulatedAnswer]:
        """Return the answers to requests planned for ``starts``."""
        free = [float("-inf")] * self.slots
        found = []
        for planned in starts:
            begun = max(planned, heapq.heappop(free))
            ended = begun + self.service(rng)
            heapq.heappush(free, ended)
            found.append(SimulatedAnswer(planned, begun, ended))
        return found


def starts(rate: float, seconds: float, seed: int | None = None) -> list[float]:
    """Return even arrivals, or Poisson arrivals with a ``seed``."""
    plan = LoadPlan(targets={}, rate=rate, seconds=seconds, poisson=seed is not None, seed=seed or 1)
    return list(arrival_times(plan))
