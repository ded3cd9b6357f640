"""The choices of a checked stream that the client has seen so far."""

from collections.abc import Collection, Mapping, Sequence

from gateway.features.steps.verdicts import STOPPED
from streams.events import AnswerEnd, AnswerStart, BlockEnd, ErrorInfo, Event, NativeItem, TextDelta, Usage


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
        counted = () if usage is None else (usage,)
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
