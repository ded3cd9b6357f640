"""Pauses of a step after several failures in a row."""

import time
from collections.abc import Callable
from typing import Final

import attrs

FAILURES: Final = 5
"""The failures in a row that start a pause."""

FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 20.0

MOST_CLIENTS: Final = 1000
"""The most clients whose failures are counted."""


@attrs.define(eq=False)
class _Failures:
    """Failures in a row, and the pause of ``seconds`` after them. The first call after a pause is alone."""

    count: int = 0
    seconds: float = 0.0
    until: float = 0.0
    is_trying: bool = False

    def add(self, now: float) -> None:
        self.count += 1
        if self.count >= FAILURES and (self.is_trying or not self.seconds):
            self.seconds = min(self.seconds * 2 or FIRST_PAUSE, LONGEST_PAUSE)
            self.until = now + self.seconds
        self.is_trying = False


class StepBreakers:
    """The pauses of one step: of a client after its own failures in a row, and of all clients after those of several.

    A client's own texts may cause its failures, so they concern no other client."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._common = _Failures()
        self._by_client: dict[str | None, _Failures] = {}
        self._failed: set[str | None] = set()

    def _failures_of(self, client: str | None) -> tuple[_Failures, ...]:
        """Return the failures that concern calls for ``client``."""
        own = self._by_client.get(client)
        return (self._common,) if own is None else (self._common, own)

    def claim_call(self, client: str | None) -> bool:
        """Return whether a call for ``client`` may start now; it must end with one of the other methods."""
        pauses = [one for one in self._failures_of(client) if one.seconds]
        if any(one.is_trying or self.clock() < one.until for one in pauses):
            return False
        for one in pauses:
            one.is_trying = True
        return True

    def retry_after(self, client: str | None) -> float:
        """Return the rest of the pause of ``client`` in seconds."""
        return max(0.0, *(one.until - self.clock() for one in self._failures_of(client)))

    def record_success(self, client: str | None) -> None:
        self._by_client.pop(client, None)
        self._failed.clear()
        self._common = _Failures()

    def record_failure(self, client: str | None) -> None:
        if len(self._by_client) >= MOST_CLIENTS:
            self._by_client.clear()
        self._by_client.setdefault(client, _Failures()).add(self.clock())
        if len(self._failed) < MOST_CLIENTS:
            self._failed.add(client)
        if len(self._failed) > 1:
            self._common.add(self.clock())
        else:
            self._common.is_trying = False

    def forget_call(self, client: str | None) -> None:
        """End a call that was cancelled, which is neither a success nor a failure."""
        for one in self._failures_of(client):
            one.is_trying = False
