"""The loads of targets: how many answers each is giving, and how long its streams take to begin."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Protocol, TypeAlias

from gateway.balancing.latencies import FirstContents
from gateway.routing.target import Target

Place: TypeAlias = tuple[str, str]
"""A target by its entry's name and the provider's name of the model."""

Price: TypeAlias = Callable[[Target], float | None]
"""What a request would cost at a target, in any one unit; ``None`` where nobody knows."""

MOST_PLACES: Final = 4096
"""Targets whose times are remembered: wildcards take any name."""


class Loads(Protocol):
    """What a rule may know of the targets that it chooses among."""

    def open_answers(self, target: Target) -> int:
        """The answers that the target is giving now."""
        ...

    def first_content(self, target: Target, now: float) -> float | None:
        """Seconds within which 9 of 10 of its streams begin; ``None`` where nothing is known from the last minutes."""
        ...

    def price(self, target: Target) -> float | None:
        """What the request would cost there; ``None`` where nobody knows."""
        ...


class OpenCounts(Protocol):
    """The numbers of open answers."""

    def add(self, place: Place, change: int) -> None:
        """One more, or one less."""
        ...

    def count(self, place: Place) -> int:
        """How many there are now."""
        ...


class LocalOpenCounts:
    """The numbers of open answers in one process."""

    def __init__(self) -> None:
        self._open: dict[Place, int] = {}

    def add(self, place: Place, change: int) -> None:
        now = self._open[place] = self._open.get(place, 0) + change
        if now <= 0:
            del self._open[place]

    def count(self, place: Place) -> int:
        return self._open.get(place, 0)


def unknown_price(target: Target) -> float | None:
    """The price of every target where there are none."""
    return None


class MeasuredLoads:
    """The loads of a process's targets, from what is told of their answers."""

    def __init__(self, counts: OpenCounts | None = None, price: Price = unknown_price) -> None:
        self._counts = LocalOpenCounts() if counts is None else counts
        self._count = self._counts.count
        self._times: dict[Place, FirstContents] = {}
        self.price = price

    def opened(self, target: Target) -> None:
        """A request has been sent to ``target``."""
        self._counts.add(place_of(target), 1)

    def closed(self, target: Target) -> None:
        """Its answer has ended, whichever way; to be called once for each ``opened``."""
        self._counts.add(place_of(target), -1)

    def observed(self, target: Target, seconds: float, now: float, *, at_least: bool = False) -> None:
        """A stream of ``target`` has had its first content ``seconds`` after it was asked for; ``at_least``: it was
        given up by then without any."""
        place = place_of(target)
        times = self._times.get(place)
        if times is None:
            if len(self._times) >= MOST_PLACES:
                del self._times[next(iter(self._times))]
            times = self._times[place] = FirstContents()
        times.add(seconds, now, at_least=at_least)

    def open_answers(self, target: Target) -> int:
        return self._count((target.entry.name, target.model))

    def first_content(self, target: Target, now: float) -> float | None:
        times = self._times.get((target.entry.name, target.model))
        return None if times is None else times.typical(now)

    def percentile(self, target: Target, share: float, now: float) -> float | None:
        """Seconds within which the ``share`` of its streams of the last 5 minutes began; ``None`` without any."""
        times = self._times.get(place_of(target))
        return None if times is None else times.percentile(share, now)


def place_of(target: Target) -> Place:
    return target.entry.name, target.model


def member_of(target: Target) -> bytes:
    """8 bytes that stand for the target in a pin."""
    return _digest(target.entry.name, target.model)


@lru_cache(MOST_PLACES)
def _digest(*place: str) -> bytes:
    return hashlib.blake2b(repr(place).encode(), digest_size=8).digest()
