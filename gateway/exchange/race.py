"""Two attempts beside each other, of which the one commits that has content first."""

import contextlib
from collections.abc import Iterator

import trio

from gateway.exchange.attempt import Attempt


class Race:
    """``decided`` is set once an attempt has committed, or has failed so that the walk can go on without a hedge."""

    def __init__(self) -> None:
        self.decided = trio.Event()
        self._scopes: dict[Attempt, trio.CancelScope] = {}
        self._over: list[Attempt] = []
        self._winner: Attempt | None = None

    @contextlib.contextmanager
    def entered_by(self, attempt: Attempt) -> Iterator[None]:
        """The block in which ``attempt`` is made: it is cancelled, which closes its connection, when another wins."""
        with trio.CancelScope() as scope:
            self._scopes[attempt] = scope
            if self._winner is not None:  # at this very moment
                self._stop(attempt, scope)
            try:
                yield
            finally:
                self.decided.set()
                del self._scopes[attempt]
                self._over.append(attempt)
                self._let_go()

    def won_by(self, attempt: Attempt) -> None:
        """``attempt`` commits."""
        self._winner = attempt
        self.decided.set()
        for other, scope in self._scopes.items():
            if other is not attempt:
                self._stop(other, scope)
        self._let_go()

    def _stop(self, attempt: Attempt, scope: trio.CancelScope) -> None:
        attempt.lose()
        scope.cancel()

    def _let_go(self) -> None:
        """Release the requests of the attempts that have ended without winning: they may be megabytes, and the winner's
        response may take an hour. The winner's own request is still needed to write its response."""
        if self._winner is not None:
            for attempt in self._over:
                if attempt is not self._winner:
                    attempt.release_request()
            self._over.clear()
