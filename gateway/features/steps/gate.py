"""The gate of the byte lane: it releases a provider's own events once the steps have released their text."""

import re
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from gateway.features.steps.runs import TEXT_TYPES
from gateway.streaming.released import UNFINISHED
from streams.events import AnswerEnd, Event, TextDelta, Usage

END_REASON: Final = re.compile(rb'"(?:finish_?reason|stop_?reason)"\s*:\s*"', re.IGNORECASE)
"""The reason of the end of an answer, which some APIs send before the answer has ended."""


class Gate:
    """Releases the provider's own events in order, each when all its text was released."""

    def __init__(self) -> None:
        self.reader = ReleasedEventsReader()
        """Reads the released bytes for the client's lane."""
        self._waiting: deque[tuple[bytes, int, int, Sequence[Event] | None]] = deque()
        """Each event with a choice, the weight of this choice up to it, and what a reader reports of it. An event of
        several choices has several rows, and its bytes are in the last one."""
        self._read: dict[int, int] = {}
        self._released: dict[int, int] = {}

    def add(
        self,
        raw: bytes,
        read: Mapping[int, Sequence[Event]],
        reported: Sequence[Event] | None,
        *,
        has_failed: bool,
        is_end: bool = False,
    ) -> None:
        """Hold ``raw``, whose own events are ``read``. A failure discards everything held and is released.

        ``reported`` are those that the lane's reader reports, ``None`` for bytes without data. ``is_end``: ``raw``
        states that the answer ends, and waits for its ``AnswerEnd``."""
        if has_failed:
            self._waiting.clear()
            self._waiting.append((raw, 0, 0, reported))
            return
        choice = weight = 0
        rest = len(read)
        for choice, events in read.items():
            self._read[choice] = weight = self._read.get(choice, 0) + _weight(events)
            rest -= 1
            if rest:
                self._waiting.append((b"", choice, weight, None))
        if is_end and not any(type(event) is AnswerEnd for event in read.get(choice, ())):
            weight += 1
        self._waiting.append((raw, choice, weight, reported))

    def add_text(self, raw: bytes, size: int, reported: Sequence[Event] | None) -> None:
        """Hold ``raw``, an event with ``size`` characters of the only choice."""
        self._read[0] = weight = self._read[0] + size
        self._waiting.append((raw, 0, weight, reported))

    def release_text(self, size: int) -> bytes:
        """Return the events whose text is released after ``size`` more characters of the only choice."""
        self._released[0] += size
        self.reader.alone = released = self._take_released()
        return released

    def count_released(self, released: Mapping[int, Sequence[Event]]) -> None:
        """Count the events ``released``, which the client does not get yet."""
        for choice, events in released.items():
            self._released[choice] = self._released.get(choice, 0) + _weight(events)

    def release(self, released: Mapping[int, Sequence[Event]]) -> bytes:
        """Return the events whose text is released after the events ``released``."""
        self.count_released(released)
        return self._take_released()

    def _take_released(self) -> bytes:
        out: list[bytes] = []
        waiting, found, report = self._waiting, self._released, self.reader.released.append
        while waiting:
            raw, choice, weight, reported = waiting[0]
            if weight and found.get(choice, 0) < weight:
                break
            out.append(raw)
            if reported is not None:
                report(reported)
            waiting.popleft()
        return b"".join(out)


class ReleasedEventsReader:
    """The reader of a provider's events that were read before their release."""

    def __init__(self) -> None:
        self.released: deque[Sequence[Event]] = deque()
        """The events that a reader reports for each released one of the provider."""
        self.end: Sequence[Event] | None = None
        """The events at the end of the stream, once everything was released."""
        self.alone = b""
        """The last released bytes of plain text."""

    def text_of(self, data: bytes) -> TextDelta | None:
        """Return the event in ``data``, the last released bytes, if it is the only one and has text alone."""
        if data is not self.alone or len(self.released) != 1:
            return None
        (events,) = self.released
        if len(events) != 1 or type(event := events[0]) is not TextDelta:
            return None
        self.released.clear()
        return event

    def read_event(self, name: str, data: bytes) -> Sequence[Event]:
        return self.released.popleft() if self.released else ()

    def close(self) -> Sequence[Event]:
        return UNFINISHED if self.end is None else self.end

    def unsent_usage(self) -> Usage | None:
        return None


def _weight(events: Sequence[Event]) -> int:
    weight = 0
    for event in events:
        weight += len(event.text) if type(event) in TEXT_TYPES else 1  # type: ignore[union-attr]
    return weight
