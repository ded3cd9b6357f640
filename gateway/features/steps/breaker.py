"""Pauses of a step after several failures in a row."""

import time
from collections.abc import Callable
from typing import Final

FAILURES: Final = 5
"""The failures in a row that start a pause."""

FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 20.0

MOST_CLIENTS: Final = 1000
"""The most clients whose failures are counted."""


class StepBreaker:
    """The failures in a row of one step, and its pause after them. The first call after a pause is alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._failures = 0
        self._pause = 0.0
        self._until = 0.0
        self._is_trying = False

    def claim_call(self) -> bool:
        """Return whether a call may start now; every call that starts must end with one of the other methods."""
        if not self._pause:
            return True
        if self._is_trying or self.clock() < self._until:
            return False
        self._is_trying = True
        return True

    @property
    def retry_after(self) -> float:
        """The rest of the pause in seconds."""
        return max(0.0, self._until - self.clock()) if self._pause else 0.0

    def record_success(self) -> None:
        self._failures, self._pause, self._is_trying = 0, 0.0, False

    def record_failure(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES and (self._is_trying or not self._pause):
            self._pause = min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
            self._until = self.clock() + self._pause
        self._is_trying = False

    def forget_call(self) -> None:
        """End a call that was cancelled, which is neither a success nor a failure."""
        self._is_trying = False


class StepBreakers:
    """The pauses of one step: of a client after its own failures in a row, and of all clients after those of several.

    A client's own texts may cause its failures, so they concern no other client."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._common = StepBreaker(self._now)
        self._by_client: dict[str, StepBreaker] = {}
        self._failed: set[str | None] = set()

    def _now(self) -> float:
        return self.clock()

    def claim_call(self, client: str | None) -> bool:
        """Return whether a call for ``client`` may start now; it must end with one of the other methods."""
        own = self._by_client.get(client or "")
        if own is not None and not own.claim_call():
            return False
        if self._common.claim_call():
            return True
        if own is not None:
            own.forget_call()
        return False

    def retry_after(self, client: str | None) -> float:
        """Return the rest of the pause of ``client`` in seconds."""
        own = self._by_client.get(client or "")
        return max(self._common.retry_after, 0.0 if own is None else own.retry_after)

    def record_success(self, client: str | None) -> None:
        self._by_client.pop(client or "", None)
        self._failed.clear()
        self._common.record_success()

    def record_failure(self, client: str | None) -> None:
        if len(self._by_client) >= MOST_CLIENTS:
            self._by_client.clear()
        self._by_client.setdefault(client or "", StepBreaker(self._now)).record_failure()
        if len(self._failed) < MOST_CLIENTS:
            self._failed.add(client)
        if len(self._failed) > 1:
            self._common.record_failure()
        else:
            self._common.forget_call()

    def forget_call(self, client: str | None) -> None:
        """End a call that was cancelled, which is neither a success nor a failure."""
        if (own := self._by_client.get(client or "")) is not None:
            own.forget_call()
        self._common.forget_call()
