"""The ways of a checked stream to the client: a provider's own events, once the steps have released their text, or the
released events of each choice."""

import re
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from gateway.features.steps.runs import TEXT_TYPES
from gateway.features.steps.verdicts import STOPPED
from gateway.streaming.released import UNFINISHED
from streams.events import AnswerEnd, AnswerStart, BlockEnd, ErrorInfo, Event, NativeItem, TextDelta, Usage

END_REASON: Final = re.compile(rb'"(?:finish_?reason|stop_?reason)"\s*:\s*"', re.IGNORECASE)
"""The reason of the end of an answer, which some APIs send before the answer has ended."""


class Gate:
    """Releases the provider's own events in order, each when all its text was released. It is the ``Reader`` of the
    released bytes for the client's lane, because their events were read before."""

    def __init__(self, holds_whole: bool) -> None:
        self.holds_whole = holds_whole
        """True while nothing is released, because a step holds the complete response."""
        self.end: Sequence[Event] | None = None
        """The events at the end of the stream, once everything was released."""
        self._reported: deque[Sequence[Event]] = deque()  # by a reader, for each released event of the provider
        self._alone = b""  # the last released bytes of plain text
        self._waiting: deque[tuple[bytes, int, int, Sequence[Event] | None]] = deque()
        """Each event with a choice, the weight of this choice up to it, and what a reader reports of it. An event of
        several choices has several rows, and its bytes are in the last one."""
        self._read: dict[int, int] = {}
        self._released: dict[int, int] = {}

    @property
    def is_holding(self) -> bool:
        """True if an event waits."""
        return bool(self._waiting)

    @property
    def held_size(self) -> int:
        """The bytes of the events that wait. They are counted at intervals, because each event may be alone."""
        return sum(len(row[0]) for row in self._waiting)

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
        self._alone = released = self._take_released()
        return released

    def release(self, released: Mapping[int, Sequence[Event]]) -> bytes:
        """Return the events whose text is released after the events ``released``."""
        for choice, events in released.items():
            self._released[choice] = self._released.get(choice, 0) + _weight(events)
        return self._take_released()

    def _take_released(self) -> bytes:
        if self.holds_whole:
            return b""
        out: list[bytes] = []
        waiting, found, report = self._waiting, self._released, self._reported.append
        while waiting:
            raw, choice, weight, reported = waiting[0]
            if weight and found.get(choice, 0) < weight:
                break
            out.append(raw)
            if reported is not None:
                report(reported)
            waiting.popleft()
        return b"".join(out)

    # The reader

    def text_of(self, data: bytes) -> TextDelta | None:
        """Return the event in ``data``, the last released bytes, if it is the only one and has text alone."""
        if data is not self._alone or len(self._reported) != 1:
            return None
        (events,) = self._reported
        if len(events) != 1 or type(event := events[0]) is not TextDelta:
            return None
        self._reported.clear()
        return event

    def read_event(self, name: str, data: bytes) -> Sequence[Event]:
        return self._reported.popleft() if self._reported else ()

    def close(self) -> Sequence[Event]:
        return UNFINISHED if self.end is None else self.end

    def unsent_usage(self) -> Usage | None:
        return None

    def has_finished(self) -> bool:
        return False  # the transform knows


def _weight(events: Sequence[Event]) -> int:
    weight = 0
    for event in events:
        weight += len(event.text) if type(event) in TEXT_TYPES else 1  # type: ignore[union-attr]
    return weight


class ShownChoices:
    """The released events of a stream, one list a choice. Most streams have one choice, number 0."""

    def __init__(self) -> None:
        self.is_over = False
        """True once the client has the end of all choices."""
        self._blocks: dict[int, _ShownBlocks] = {}
        self._waiting: dict[int, list[Event]] = {}

    def note_released(self, choice: int, events: Sequence[Event]) -> None:
        """Note ``events`` of ``choice``, which the client gets now."""
        if (blocks := self._blocks.get(choice)) is None:
            blocks = self._blocks[choice] = _ShownBlocks()
        for event in events:
            if isinstance(event, AnswerEnd):
                self.is_over = True
            elif type(event) is not TextDelta or event.block not in blocks.open:  # nearly every event
                blocks.note_event(event)

    def note_text(self, block: int) -> None:
        """Note text of ``block`` of the only choice."""
        if block not in self._blocks[0].open:
            self.note_released(0, (TextDelta(block, ""),))

    def take_ready(
        self, released: Mapping[int, Sequence[Event]], choices: Collection[int], *, holds_whole: bool
    ) -> Mapping[int, Sequence[Event]]:
        """Return the events of each choice that the client gets now. The ends of all ``choices`` come together.

        ``holds_whole``: nothing is released before the last verdict, and a failure discards it."""
        for choice, events in released.items():
            self._waiting.setdefault(choice, []).extend(events)
        has_ended = all(_is_end(self._waiting.get(choice)) for choice in choices)
        failures = [event for events in released.values() for event in events if isinstance(event, ErrorInfo)]
        if failures and holds_whole:
            return {0: failures[:1]}
        if holds_whole and not has_ended:
            return {}
        ready = {
            choice: events if has_ended or not _is_end(events) else events[:-1]
            for choice, events in self._waiting.items()
        }
        self._waiting = {} if has_ended else {at: one[-1:] for at, one in self._waiting.items() if _is_end(one)}
        for choice, events in ready.items():
            self.note_released(choice, events)
        return ready

    def stop_events(self, text: str, usage: Usage | None) -> dict[int, list[Event]]:
        """Return the events that end each choice after a refusal. The first choice gets ``text``."""
        counted = () if usage is None or not usage.prompt else (usage,)  # else the input is still to be estimated
        blocks = self._blocks or {0: _ShownBlocks()}
        first = min(blocks)
        stopped: dict[int, list[Event]] = {}
        for choice, shown in blocks.items():
            text_events = (TextDelta(shown.next, text), BlockEnd(shown.next)) if choice == first else ()
            stopped[choice] = [*map(BlockEnd, sorted(shown.open)), *text_events, *counted, STOPPED]
        return stopped


class _ShownBlocks:
    """The blocks of one choice: those without an end, and the number of the next one."""

    def __init__(self) -> None:
        self.next = 0
        self.open: set[int] = set()

    def note_event(self, event: Event) -> None:
        if isinstance(event, BlockEnd):
            self.open.discard(event.block)
        elif (block := getattr(event, "block", None)) is not None:
            self.next = max(self.next, block + 1)
            if not isinstance(event, NativeItem):
                self.open.add(block)


def _is_end(events: Sequence[Event] | None) -> bool:
    return events is not None and isinstance(next(reversed(events), None), AnswerEnd)


def stop_answer(events: Sequence[Event], text: str) -> list[Event]:
    """Return a complete answer that consists of ``text``, with the start and the usage of ``events``."""
    begin = [event for event in events if isinstance(event, AnswerStart)]
    usage = [event for event in events if isinstance(event, Usage)]
    return [*begin[:1], TextDelta(0, text), BlockEnd(0), *usage[-1:], STOPPED]
