"""The places of the calls of one step, of which a client takes at most half."""

from types import TracebackType
from typing import Any

import trio


class StepSlots:
    """The ``most`` calls of a step that run at the same time.

    A named client has at most half of them, so that its slow calls leave places for the calls of others."""

    def __init__(self, most: int) -> None:
        self._all = trio.CapacityLimiter(most)
        self._share = max(1, most // 2)
        self._by_client: dict[str, trio.CapacityLimiter] = {}

    @property
    def in_use(self) -> int:
        """The number of calls that run now."""
        return self._all.borrowed_tokens

    def of_client(self, client: str | None) -> "ClientSlots":
        """Return the places for the calls of ``client``, ``None`` for one without a name."""
        return ClientSlots(self, client)

    async def acquire(self, client: str | None, borrower: object) -> None:
        """Take a place for ``borrower``. On cancellation none is taken."""
        if client is None:
            await self._all.acquire_on_behalf_of(borrower)
            return
        own = self._by_client.setdefault(client, trio.CapacityLimiter(self._share))
        await own.acquire_on_behalf_of(borrower)
        try:
            await self._all.acquire_on_behalf_of(borrower)
        except BaseException:
            self._release_own(client, borrower)
            raise

    def release(self, client: str | None, borrower: object) -> None:
        """Return the place of ``borrower``."""
        self._all.release_on_behalf_of(borrower)
        if client is not None:
            self._release_own(client, borrower)

    def _release_own(self, client: str, borrower: object) -> None:
        own = self._by_client[client]
        own.release_on_behalf_of(borrower)
        if not own.borrowed_tokens and not own.statistics().tasks_waiting:
            del self._by_client[client]


class ClientSlots:
    """The places for the calls of one client: a context manager, and a limiter of trio's threads."""

    def __init__(self, slots: StepSlots, client: str | None) -> None:
        self._slots = slots
        self._client = client

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Take a place for ``borrower``. On cancellation none is taken."""
        await self._slots.acquire(self._client, borrower)

    def release_on_behalf_of(self, borrower: object) -> None:
        """Return the place of ``borrower``."""
        self._slots.release(self._client, borrower)

    async def __aenter__(self) -> None:
        await self._slots.acquire(self._client, self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        self._slots.release(self._client, self)
