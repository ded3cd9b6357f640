"""Relayed responses that continue after their client disconnected, once the provider has the whole request."""

import contextlib
from collections.abc import Callable, Iterator

import trio

from gateway.exchange.disconnect import grace_of, postpone_cancellation
from gateway.routing.target import Target
from streams.timeouts import Timeouts


class DeferredSurvival:
    """A response's permission to outlive its client, which begins when the provider has the whole request.

    ``nursery`` is the client's request. Before ``begin``, cancelling it cancels the response immediately. Afterwards,
    the response continues for the seconds that ``limit`` returns when the client disconnects. It may also continue for
    the time of ``target`` for a first byte: a provider may take that long to create an object, whose id would be lost
    with the response."""

    def __init__(self, nursery: trio.Nursery, target: Target, limit: Callable[[], float]) -> None:
        timeouts = target.entry.timeouts
        self._nursery = nursery
        self._limit = limit
        self._longest = grace_of(target)
        if timeouts.total is None:
            self._longest += timeouts.first_byte or Timeouts().first_byte or 0.0
        self._scope = trio.CancelScope()

    def begin(self) -> None:
        """Let the response outlive its client from now on: the last bytes of the request are being sent."""
        if not self._nursery.cancel_scope.cancel_called:  # a later call changes nothing
            self._scope.shield = True

    @contextlib.contextmanager
    def outlive_client(self, on_disconnect: Callable[[], object]) -> Iterator[None]:
        """Continue the exchange in this block after the client has left, once ``begin`` was called."""
        done = trio.Event()
        with self._scope:
            self._nursery.start_soon(postpone_cancellation, self._scope, done, self._grace, on_disconnect)
            try:
                yield
            finally:
                done.set()

    def _grace(self) -> float:
        return min(self._longest, self._limit())
