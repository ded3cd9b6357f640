"""The end of a configuration for what goes on long by it: websockets, live views."""

from collections.abc import Iterable

import trio


class Replaced:
    """It is ``set`` for all once another configuration holds, and for those clients alone of which other things hold
    now. Those who come later wait for what comes later."""

    def __init__(self) -> None:
        self._all = False
        self._events: dict[str | None, trio.Event] = {}

    def of(self, client: str | None) -> trio.Event:
        """The event of ``client``, ``None`` for whoever has no name."""
        event = self._events.setdefault(client, trio.Event())
        if self._all:
            event.set()
        return event

    def set(self) -> None:
        self._all = True
        self.set_for(tuple(self._events))

    def set_for(self, clients: Iterable[str | None]) -> None:
        for client in clients:
            if (event := self._events.pop(client, None)) is not None:
                event.set()
