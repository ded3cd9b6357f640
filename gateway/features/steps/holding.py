"""Holds the events of a checked response until the text before and in them is released, and masks that text."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

import trio

from gateway.features.steps.json_texts import KeyMasked
from gateway.features.steps.masks import Placeholders
from gateway.features.steps.response_texts import TEXTS
from gateway.features.steps.runner import WORK_OF_FINDING
from gateway.features.steps.runs import SIZE_OF_VALUE, WITH_ITEMS, HeldEvent, Run, RunBuilder, size_of
from gateway.http.offload import LARGE, offload
from streams.events import (
    AnswerEnd,
    BlockEnd,
    Citation,
    ErrorInfo,
    Event,
    ReasoningDelta,
    ReasoningState,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    change_event,
)

CONTEXT: Final = 256
"""Characters of released text that a built-in kind sees again before new text."""

EVENTS_OF_TURN: Final = 256
"""Events that are added or released in one turn of the event loop, which takes some milliseconds."""

RELEASED_AT_END: Final = (ToolCallDelta, ReasoningDelta)
"""Events whose text a stage may release only when the text is complete."""


class HoldingStage:
    """The base of stages, which transform the events of one response: it holds events until the text before and in them
    is released."""

    def __init__(self, placeholders: Placeholders, builder: RunBuilder | None = None) -> None:
        self.masked = False
        """True if anything was masked."""
        self.placeholders = placeholders
        self.builder = builder or RunBuilder()
        self._held: deque[HeldEvent] = deque()
        self._events_size = 0  # of the held events besides the text of runs
        self.runs: list[Run] = []  # not completely released, without those in ``_unended``
        self._unended: dict[Run, None] = {}  # released only at their end, which has not come
        self._opened: set[int] = set()
        self.sealed: set[Run] = set()  # reasoning with a signature
        self.is_over = False
        self.is_bypassed = False
        """True if everything is released unchecked from now on."""

    async def feed(self, events: Sequence[Event]) -> list[Event]:
        """Return the events that ``events`` release. Raises ``GatewayError`` for a refusal."""
        work = 0
        for event in events:
            if type(event) in WITH_ITEMS:
                work += size_of(event)
        if (self.add(events) if work <= LARGE else await offload(work, self.add, events)) is None:
            return [event for event in events if isinstance(event, ErrorInfo)]
        if not self.is_bypassed:
            await self.judge()
            return await self.drain_in_turns()
        runs = (*self.runs, *self._unended)
        for run in runs:
            self.release(run, run.length)
        released = await self.drain_in_turns()
        for run in runs:
            run.forget_before(run.released)
        return released

    def held_text(self, block: int) -> str | None:
        """Return the text that is held, ``None`` if it is not only plain text of ``block``."""
        run = self.builder.text_run(block)
        if run is None or self.is_over or self.is_bypassed or (run.spans and run.spans[-1].end > run.emitted):
            return None
        found = ""
        for held in self._held:
            event = held.event
            if type(event) is not TextDelta or held.run is not run or event.logprobs is not None or event.phase:
                return None
            found += event.text[held.start - held.end :] if held.end > held.start else ""
        return found

    def take_back(self, block: int) -> None:
        """Forget the text that is held."""
        self._held.clear()
        self._events_size = 0
        if (run := self.builder.text_run(block)) is not None:
            run.take_back()

    def pass_on(self, block: int, text: str) -> None:
        """Note ``text`` of ``block``, which the client has already."""
        if (run := self.builder.text_run(block)) is not None:
            self._opened.add(block)
            run.pass_on(text)
            run.forget_before(run.released - CONTEXT)

    async def drain_in_turns(self) -> list[Event]:
        """Return the events that are released now. A thread finds them if there are many masks."""
        work = WORK_OF_FINDING * sum(len(run.spans) for run in self.runs) if self.masked else 0
        if self._held and (texts := self._held[0].texts):
            work += SIZE_OF_VALUE * len(texts)
        if work > LARGE:
            return await offload(work, self.drain)
        out: list[Event] = []
        while (held := len(self._held)) > EVENTS_OF_TURN:
            out += self.drain(EVENTS_OF_TURN)
            if held - len(self._held) < EVENTS_OF_TURN:
                return out
            await trio.lowlevel.checkpoint()
        return out + self.drain() if out else self.drain()

    def release_all(self) -> None:
        """Release everything."""
        self.runs += self._unended
        self._unended.clear()
        for run in self.runs:
            run.is_complete = True
            self.release(run, run.length)

    def add(self, events: Sequence[Event]) -> Sequence[Run] | None:
        """Hold ``events``, and return their new runs; ``None`` after a failure, which discards everything held."""
        new: list[Run] = []
        continue_text, hold = self.builder.continue_text, self._held.append
        for event in events:
            if (run := continue_text(event)) is not None:
                held = HeldEvent(event, run, run.length - len(event.text), run.length)  # type: ignore[union-attr]
                if event.logprobs is not None:  # type: ignore[union-attr]
                    held.size = size_of(event)
                    self._events_size += held.size
                hold(held)
                continue
            if isinstance(event, ErrorInfo):
                self._held.clear()
                self._events_size = 0
                self.runs.clear()
                self._unended.clear()
                self.is_over = True
                return None
            held, runs = self.builder.add(event)
            for run in self.builder.ended:
                self.note_end(run)
            self.builder.ended.clear()
            if isinstance(event, ReasoningState) and held.run is not None and self.builder.is_sealed(event):
                self.sealed.add(held.run)
            if type(event) in RELEASED_AT_END and self._continues_held(held):
                continue
            held.size = size_of(event)
            self._events_size += held.size
            hold(held)
            new += runs
            for run in runs:
                self.note_run(run)
            self.is_over = self.is_over or isinstance(event, AnswerEnd)
        return new

    def note_run(self, run: Run) -> None:
        """Note a new run."""
        if run.is_complete or not self.waits_for_end(run):
            self.runs.append(run)
        else:
            self._unended[run] = None

    def note_end(self, run: Run) -> None:
        """Note that no text of ``run`` follows."""
        if run in self._unended:
            del self._unended[run]
            self.runs.append(run)

    def _continues_held(self, held: HeldEvent) -> bool:
        """Add the text of ``held`` to the last held event if it continues that and both are released at their end.

        Providers send arguments and reasoning in many thousand pieces."""
        if not self._held or held.run is None:
            return False
        last, event = self._held[-1], held.event
        if last.run is not held.run or type(last.event) is not type(event) or not self.waits_for_end(held.run):
            return False
        if last.event.block != event.block:  # type: ignore[union-attr]
            return False
        last.end = held.end
        return True

    async def judge(self) -> None:
        """Check what can be checked, and release what may be released."""
        raise NotImplementedError

    @property
    def holds(self) -> bool:
        """Whether an event waits."""
        return bool(self._held)

    @property
    def held_size(self) -> int:
        """The size of everything that is held, in bytes, with text that the step sees again."""
        texts = sum(run.length - run.start for run in (*self.runs, *self._unended) if not run.is_in_item)
        return texts + self._events_size + SIZE_OF_VALUE * len(self._held)

    def release(self, run: Run, position: int) -> None:
        """Release ``run`` up to ``position``."""
        if run.is_masked:
            self.masked = True
        run.release(position)

    def waits_for_end(self, run: Run) -> bool:
        """Return whether ``run`` is released only when it is complete, such as the arguments of a tool call."""
        return run.part == "tool_calls"

    def drain(self, most: int = -1) -> list[Event]:
        """Return the events that are released now. ``most``: of the first ``most`` held ones only."""
        out: list[Event] = []
        while self._held and most:
            most -= 1
            held = self._held[0]
            event, run = held.event, held.run
            if (  # nearly every event
                type(event) is TextDelta
                and run is not None
                and not run.is_masked
                and held.end <= run.released
                and held.end - held.start == len(event.text)
            ):
                self._opened.add(event.block)
                run.emitted = held.end
                out.append(event)
            elif not self._emit(held, out):
                break
            self._held.popleft()
            self._events_size -= held.size
        self.runs = [run for run in self.runs if not (run.is_complete and run.released >= run.length)]
        return out

    def _emit(self, held: HeldEvent, out: list[Event]) -> bool:
        """Add the released part of ``held`` to ``out``, and return whether it is all of it."""
        run, event = held.run, held.event
        for one in held.texts:
            if one.run.released < one.end:
                return False
            one.run.emitted = one.end
        if run is None:
            out += self._item(held)
            return True
        waits = self.waits_for_end(run) and not self.is_bypassed
        if waits and not (run.is_complete and run.released >= run.length):
            return False
        if not isinstance(event, TEXTS):
            if run.released < held.end:
                return False
            out += self._events_without_text(held, run)
            return True
        until = min(held.end, run.released)
        if until > held.start or held.end == held.start:
            out += self._cut(held, run, until)
            held.start = run.emitted = until
        return until >= held.end

    def _cut(self, held: HeldEvent, run: Run, until: int) -> Iterable[Event]:
        event: Any = held.event
        if run.is_masked and run in self.sealed:  # its signature would no longer match
            return ()
        text = (
            run.cut(held.start, until, self.placeholders)
            if run.is_masked or until - held.start != len(event.text)
            else event.text
        )
        if not text:
            return ()
        self._opened.add(event.block)
        if run.is_masked and isinstance(event, TextDelta) and event.logprobs is not None:
            event = change_event(event, logprobs=None)  # they may be those of masked text before
        if text == event.text:
            return (event,)
        return (change_event(event, text=text),)

    def _events_without_text(self, held: HeldEvent, run: Run) -> Iterable[Event]:
        """Return the client's form of an event that belongs to a run but has no text."""
        match held.event:
            case BlockEnd(block):
                return (held.event,) if block in self._opened else ()
            case ReasoningState(block) if run.is_masked or any(one.run.is_masked for one in held.texts):
                return ()
            case Citation() if run.is_masked:  # it has positions in the unmasked text
                return ()
            case ReasoningState(block) | ToolCallStart(block):
                self._opened.add(block)
        return self._item(held)

    def _item(self, held: HeldEvent) -> Iterable[Event]:
        event = held.event
        if isinstance(event, BlockEnd) or not any(one.run.is_masked for one in held.texts):
            return (event,)
        self.masked = True
        try:
            masked = held.masked_event(self.placeholders)
        except KeyMasked as error:
            return (self.replace_unmaskable(event, error.replacement),)
        return () if masked is None else (masked,)

    def replace_unmaskable(self, event: Event, replacement: str) -> Event:
        """Return what the client gets instead of an ``event`` that cannot express the mask ``replacement``."""
        return event
