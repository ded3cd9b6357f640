"""What providers have told of their limits in good answers: that nothing is left, and until when."""

from collections.abc import Callable
from typing import Final

from gateway.routing.plan import Outage
from streams.events import FailureReason

MOST: Final = 1024
"""Places that are remembered, the latest of them."""


class ToldLimits:
    """The places that are going to refuse the next request, by their own account, by ``clock`` (seconds). It is the
    time until a limit is full again that is told, and it is less than that until one request passes: so they are
    passed over, but not refused."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.places: dict[bytes, Outage] = {}

    def heard(self, place: bytes, told: tuple[FailureReason, float] | None) -> None:
        """A good answer of ``place`` has told that of its limits."""
        self.places.pop(place, None)
        if told is not None:
            reason, wait = told
            self.places[place] = Outage(reason, self._clock() + wait)
            if len(self.places) > MOST:
                del self.places[next(iter(self.places))]

    def outage(self, place: bytes) -> Outage | None:
        """Why ``place`` is better passed over now."""
        found = self.places.get(place)
        if found is not None and found.until <= self._clock():
            del self.places[place]
            return None
        return found
