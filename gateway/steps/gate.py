"""The gate of the byte lane: it releases a provider's own events once the steps have released their text."""

from collections import deque
from collections.abc import Mapping, Sequence

from gateway.steps.runs import TEXTS
from streams.events import Event


class Gate:
    """Releases the provider's own events in order, each when all its text was released."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[bytes, dict[int, int]]] = deque()
        self._read: dict[int, int] = {}
        self._released: dict[int, int] = {}

    def add(self, raw: bytes, read: Mapping[int, Sequence[Event]], *, has_failed: bool) -> None:
        """Hold ``raw``, whose own events are ``read``. A failure discards everything held and is released."""
        if has_failed:
            self._waiting.clear()
            self._waiting.append((raw, {}))
            return
        for choice, events in read.items():
            self._read[choice] = self._read.get(choice, 0) + _weight(events)
        self._waiting.append((raw, dict(self._read)))

    def count_released(self, released: Mapping[int, Sequence[Event]]) -> None:
        """Count the events ``released``, which the client does not get yet."""
        for choice, events in released.items():
            self._released[choice] = self._released.get(choice, 0) + _weight(events)

    def release(self, released: Mapping[int, Sequence[Event]]) -> bytes:
        """Return the events whose text is released after the events ``released``."""
        self.count_released(released)
        out: list[bytes] = []
        while self._waiting:
            raw, needed = self._waiting[0]
            for choice, weight in needed.items():
                if self._released.get(choice, 0) < weight:
                    return b"".join(out)
            out.append(raw)
            self._waiting.popleft()
        return b"".join(out)


def _weight(events: Sequence[Event]) -> int:
    weight = 0
    for event in events:
        weight += len(event.text) if isinstance(event, TEXTS) else 1
    return weight
