"""Bytes that clients hold in this process, in total and by client, and the share of each client."""

from collections import defaultdict
from typing import Literal, TypeAlias

from trio.lowlevel import ParkingLot

from gateway.config.limits import ClientLimits
from gateway.config.settings import Config

ByteLimit: TypeAlias = Literal["bodies", "spool"]
"""A limit on bytes in ``limits`` that all clients share, and in ``limits.per_client``."""


class HeldBytes:
    """The bytes in use in this process, across configurations. ``held`` has them by client.

    ``unlimited`` has the object of each client that may grow beyond the client's share, so that it never waits for
    the client's other objects."""

    def __init__(self) -> None:
        self.total = 0
        self.held: defaultdict[str, int] = defaultdict(int)
        self.unlimited: dict[str, object] = {}
        self._released = ParkingLot()

    def change(self, holder: str, by: int) -> None:
        """Add ``by`` bytes, which may be negative, to those of ``holder``."""
        self.total += by
        self.held[holder] += by
        if not self.held[holder]:
            del self.held[holder]  # without keys the number of holders is unbounded
        if by < 0 and self._released:
            self._released.unpark_all()

    async def wait_for_release(self) -> None:
        """Wait until a client has released bytes."""
        await self._released.park()


class ByteShares:
    """The bytes of one limit that each client may use: by default half, if there are two client keys or more."""

    def __init__(self, config: Config, limit: ByteLimit) -> None:
        self._halves = config.has_several_clients
        self._share = _own_share(config.limits.per_client, limit)
        self._shares = config.by_client(lambda key: _own_share(key.limits, limit))

    def most(self, holder: str, total: int) -> int:
        """Return the bytes that ``holder`` may use of ``total``. The holder ``""`` has no share."""
        own = self._shares.get(holder, self._share)
        if not holder or own is None:
            return total // 2 if holder and self._halves else total
        return min(own, total)


def _own_share(limits: ClientLimits, limit: ByteLimit) -> int | None:
    return limits.bodies if limit == "bodies" else limits.spool
