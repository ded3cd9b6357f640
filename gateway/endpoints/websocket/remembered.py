"""The bytes that open websockets remember of turns which are stored nowhere else, bounded together."""

from collections import OrderedDict
from typing import Protocol

from gateway.stores.owners import OwnerBytes


class RememberingConnection(Protocol):
    """A connection that remembers turns."""

    def let_go(self) -> None:
        """End as soon as what it was asked is answered: its client connects again, and sends what it goes on from. To
        forget turns and stay open would be an unknown ``previous_response_id``, which some clients take for the end
        (can1357/oh-my-pi#925)."""
        ...


class RememberedBytes:
    """What the connections of a process remember: ``most`` bytes. Beyond that the connections of whoever has most go,
    those first that were used least recently, but never the one that has just been used."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._total = 0
        self._held: OrderedDict[RememberingConnection, tuple[str, int]] = OrderedDict()
        self._owners = OwnerBytes()

    def remember(self, connection: RememberingConnection, holder: str, size: int) -> None:
        """``connection`` of ``holder`` has been used, and remembers ``size`` bytes by now."""
        self.forget(connection)
        self._held[connection] = (holder, size)
        self._count(holder, size)
        while self._total > self._most and (first := self._first_to_go(connection)) is not None:
            self.forget(first)
            first.let_go()

    def forget(self, connection: RememberingConnection) -> None:
        """``connection`` has ended."""
        if connection in self._held:
            holder, size = self._held.pop(connection)
            self._count(holder, -size)

    def _count(self, holder: str, size: int) -> None:
        self._total += size
        self._owners.add(holder, size)

    def _first_to_go(self, used: RememberingConnection) -> RememberingConnection | None:
        passed: set[str] = set()
        while (owner := self._owners.greediest(passed)) is not None:
            for connection, (holder, size) in self._held.items():
                if holder == owner and size and connection is not used:
                    return connection
            passed.add(owner)
        return None
