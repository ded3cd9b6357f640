"""A server as a queue with so many slots, in virtual time: what would come of a load, without one second of it."""

import heapq
import random
from collections.abc import Callable, Iterable

import attrs

from loadtest.plan.arrivals import RateStep, arrivals, evenly, poisson


@attrs.frozen
class SimulatedAnswer:
    planned: float
    begun: float
    ended: float

    @property
    def waited(self) -> float:
        return self.ended - self.planned


@attrs.frozen
class SimulatedQueue:
    """``slots`` requests are served at a time, in their order; ``service`` draws how long one takes."""

    slots: int
    service: Callable[[random.Random], float]

    def answers(self, starts: Iterable[float], chance: random.Random) -> list[SimulatedAnswer]:
        """What comes of requests that are planned for ``starts``."""
        free = [float("-inf")] * self.slots
        found = []
        for planned in starts:
            begun = max(planned, heapq.heappop(free))
            ended = begun + self.service(chance)
            heapq.heappush(free, ended)
            found.append(SimulatedAnswer(planned, begun, ended))
        return found


def starts(rate: float, seconds: float, chance: random.Random | None = None) -> list[float]:
    """Even arrivals, or, with ``chance``, Poisson's."""
    return list(arrivals([RateStep(rate, seconds)], evenly() if chance is None else poisson(chance)))
