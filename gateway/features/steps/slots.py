"""The limit of simultaneous calls of one step. A client may use at most half of it."""

from types import TracebackType
from typing import Any

import trio


class StepSlots:
    """A limit of ``most`` simultaneous calls of a step.

    A named client may use at most half of it, so that its slow calls leave slots for other clients."""

    def __init__(self, most: int) -> None:
        self.all = trio.CapacityLimiter(most)
        self.by_client: dict[str, trio.CapacityLimiter] = {}
        self.share = max(1, most // 2)

    def of_client(self, client: str | None) -> "ClientSlots":
        """Return the slots for the calls of ``client``, whose name is ``None`` if it has no key."""
        return ClientSlots(self, client)


class ClientSlots:
    """The slots for the calls of one client: a context manager, and a limiter of trio's threads."""

    def __init__(self, slots: StepSlots, client: str | None) -> None:
        self._slots = slots
        self._client = client

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        """Acquire a slot for ``borrower``, or none if the wait is cancelled."""
        slots = self._slots
        if self._client is not None:
            own = slots.by_client.setdefault(self._client, trio.CapacityLimiter(slots.share))
            await own.acquire_on_behalf_of(borrower)
        try:
            await slots.all.acquire_on_behalf_of(borrower)
        except BaseException:
            self._release_own(borrower)
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        self._slots.all.release_on_behalf_of(borrower)
        self._release_own(borrower)

    def _release_own(self, borrower: object) -> None:
        if self._client is not None:
            own = self._slots.by_client[self._client]
            own.release_on_behalf_of(borrower)
            if not own.borrowed_tokens and not own.statistics().tasks_waiting:
                del self._slots.by_client[self._client]

    async def __aenter__(self) -> None:
        await self.acquire_on_behalf_of(self)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> Any:
        self.release_on_behalf_of(self)
