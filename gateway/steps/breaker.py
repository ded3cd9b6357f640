"""Pauses of a step after several failures in a row."""

import time
from collections.abc import Callable
from typing import Final

FAILURES: Final = 5
"""The failures in a row that start a pause."""

FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 20.0


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
