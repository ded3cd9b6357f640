"""The gate of the byte lane: it releases a provider's own events once the steps have released their text."""

import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.steps.runs import TEXTS
from streams.events import Event

_EVENT_NAME: Final = re.compile(rb" ?[a-z_.]*")


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


def without_remarks(raw: bytes) -> bytes:
    """Return an event without comments, ids and unusual names, which clients ignore and steps do not see.

    An event that is neither of lines with data nor a bare JSON object has nothing else."""
    if raw.startswith(b"data: ") and raw.find(b"\n", 6, -2) < 0 and b"\r" not in raw:
        return raw
    lines = raw.splitlines(keepends=True)
    if raw.lstrip().startswith(b"{") or all(_is_data_line(line) for line in lines):
        return raw
    return b"".join(line for line in lines if _is_data_line(line))


def _is_data_line(line: bytes) -> bool:
    field, colon, value = line.strip(b"\r\n").partition(b":")
    match field:
        case b"data" | b"error":
            return True
        case b"event":
            return _EVENT_NAME.fullmatch(value) is not None
    return not field and not colon  # the blank line at the end


def _weight(events: Sequence[Event]) -> int:
    weight = 0
    for event in events:
        weight += len(event.text) if isinstance(event, TEXTS) else 1
    return weight
