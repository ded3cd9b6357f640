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

    @contextlib.contextmanager
    def entered_by(self, attempt: Attempt) -> Iterator[None]:
        """The block in which ``attempt`` is made: it is cancelled, which closes its connection, when another wins."""
        with trio.CancelScope() as scope:
            self._scopes[attempt] = scope
            try:
                yield
            finally:
                self.decided.set()

    def won_by(self, attempt: Attempt) -> None:
        """``attempt`` commits."""
        self.decided.set()
        for other, scope in self._scopes.items():
            if other is not attempt:
                other.lose()
                scope.cancel()
