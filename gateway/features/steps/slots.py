"""The limit of simultaneous calls of one step. A client may use at most half of it."""

from types import TracebackType
from typing import Any

import trio


class StepSlots:
    """A limit of ``most`` simultaneous calls of a step.

    A named client may use at most half of it, so that its slow calls leave slots for other clients."""

    def __init__(self, most: int) -> None:
        self._all = trio.CapacityLimiter(most)
        self._share = max(1, most // 2)
        self._by_client: dict[str, trio.CapacityLimiter] = {}

    @property
    def in_use(self) -> int:
        """The number of calls that run now."""
        return self._all.borrowed_tokens

    def of_client(self, client: str | None) -> "ClientSlots":
        """Return the slots for the calls of ``client``, whose name is ``None`` if it has no key."""
        return ClientSlots(self, client)

    async def acquire(self, client: str | None, borrower: object) -> None:
        """Acquire a slot for ``borrower``, or none if the wait is cancelled."""
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
        self._all.release_on_behalf_of(borrower)
        if client is not None:
            self._release_own(client, borrower)

    def _release_own(self, client: str, borrower: object) -> None:
        own = self._by_client[client]
        own.release_on_behalf_of(borrower)
        if not own.borrowed_tokens and not own.statistics().tasks_waiting:
            del self._by_client[client]


class ClientSlots:
    """The slots for the calls of one client: a context manager, and a limiter of trio's threads."""

    def __init__(self, slots: StepSlots, client: str | None) -> None:
        self._slots = slots
        self._client = client

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Acquire a slot for ``borrower``, or none if the wait is cancelled."""
        await self._slots.acquire(self._client, borrower)

    def release_on_behalf_of(self, borrower: object) -> None:
        self._slots.release(self._client, borrower)

    async def __aenter__(self) -> None:
        await self._slots.acquire(self._client, self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        self._slots.release(self._client, self)
