"""The limits that providers report with successful responses."""

from collections.abc import Callable
from typing import Final

from gateway.routing.plan import Outage
from streams.events import FailureReason

MOST_REPORTED: Final = 1024
"""Places whose reported limits are remembered, the most recent ones."""


class ReportedLimits:
    """The places that reported that they will reject the next request, by ``clock`` (seconds).

    The reported time is that until the limit is full again, longer than until one request passes. So they are tried
    last, not excluded."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.places: dict[bytes, Outage] = {}

    def record(self, place: bytes, reported: tuple[FailureReason, float] | None) -> None:
        """Record the limit that a successful response of ``place`` reported, if any."""
        self.places.pop(place, None)
        if reported is not None:
            reason, wait = reported
            self.places[place] = Outage(reason, self._clock() + wait)
            if len(self.places) > MOST_REPORTED:
                del self.places[next(iter(self.places))]

    def outage(self, place: bytes) -> Outage | None:
        """Return why ``place`` should be tried last now, if at all."""
        found = self.places.get(place)
        if found is not None and found.until <= self._clock():
            del self.places[place]
            return None
        return found
