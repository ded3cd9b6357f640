"""The stores of shared counters, as the counters use them."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

SendStep: TypeAlias = Callable[[bytes, float], Awaitable[bytes]]
"""Send a step and return the reply; the float limits the wait in seconds."""


class CounterStoreUnavailable(Exception):
    """An error: the store is unreachable or failed. The message is for the operator and contains no secrets."""


class CounterStore(Protocol):
    """A store that performs steps atomically, one after the other."""

    @property
    def title(self) -> str:
        """The store's name in the log."""

    def connect(self) -> AbstractAsyncContextManager[SendStep]:
        """Open a connection. Raises ``CounterStoreUnavailable``, as sending does; a cancelled step may have been
        performed."""
