"""One instant on the clocks of several processes."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from loadtest.figures.numbers import duration

ROUNDS: Final = 8
"""Questions to a clock: the quickest answer tells most."""

AHEAD: Final = 2.0
"""Seconds from the order to begin until then, where it goes over a network."""

APART: Final = 0.05
"""Seconds between the first and the last of the workers to begin from which on a reader has to know of it."""

TOO_FAR: Final = 1.0
"""Seconds from which on it is not one load (workers 11 to 14 s apart: gridgain/yardstick#4)."""


class NotTogether(Exception):
    """The workers do not begin together; the message says which, and by how much."""


@attrs.frozen
class ClockReading:
    """One question to another clock: our time when it went out, theirs as it was answered, ours as that came."""

    asked: float
    theirs: float
    answered: float

    @property
    def round_trip(self) -> float:
        return self.answered - self.asked


@attrs.frozen
class ClockOffset:
    """``seconds`` that another clock is ahead of ours, right to within ``doubt``."""

    seconds: float
    doubt: float

    @classmethod
    def of(cls, readings: Sequence[ClockReading]) -> "ClockOffset":
        """From the reading with the shortest way there and back, which lies between its two ends."""
        best = min(readings, key=lambda reading: reading.round_trip)
        return cls(best.theirs - (best.asked + best.answered) / 2, best.round_trip / 2)

    def theirs(self, ours: float) -> float:
        return ours + self.seconds

    def ours(self, theirs: float) -> float:
        return theirs - self.seconds


def check_doubts(offsets: Mapping[str, ClockOffset]) -> None:
    """Before the load: raises ``NotTogether`` if the way to a worker is so long that it may begin too far apart."""
    for name, offset in offsets.items():
        if offset.doubt >= TOO_FAR:
            raise NotTogether(
                f"{name} answers after {duration(2 * offset.doubt)}: it could not be made to begin with the others"
            )


def spread(begun: Iterable[float]) -> float:
    """Seconds between the first and the last of those that began, on one clock."""
    times = list(begun)
    return max(times) - min(times) if times else 0.0


def check_spread(begun: Mapping[str, float]) -> None:
    """Once all have begun: raises ``NotTogether`` if they did so too far apart."""
    apart = spread(begun.values())
    if apart >= TOO_FAR:
        last = max(begun, key=begun.__getitem__)
        raise NotTogether(f"{last} began {duration(apart)} after the first: this is not one load")


def spread_note(seconds: float) -> str | None:
    """For the report."""
    if seconds < APART:
        return None
    return f"The processes began {duration(seconds)} apart: the first moments are not those of the whole load."
