"""The stages of a checked response: each step in turn holds events, checks their text, masks it and releases it.

A chain of stages is pure apart from the calls of steps: events in, released events out, in their order. The released
text does not depend on how the response was split into events."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar, Final, Protocol, TypeAlias

import attrs
import trio

from gateway.http.offload import LARGE, offload
from gateway.steps.json_texts import KeyMasked
from gateway.steps.loaded import LoadedStep
from gateway.steps.masks import Placeholders, Span
from gateway.steps.runner import WORK_OF_FINDING, has_little_text
from gateway.steps.runs import TEXTS, WITH_ITEMS, HeldEvent, Run, RunBuilder, count_values
from gateway.steps.verdicts import member_name_refusal
from streams.errors import GatewayError
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
)
from trigate.steps import Passage

CONTEXT: Final = 256
"""Characters of released text that a built-in kind sees again before new text."""

WORK_OF_VALUE: Final = 64
"""Bytes of JSON that take as long as one value of an item."""

EVENTS_OF_TURN: Final = 256
"""Events that are added or released in one turn of the event loop, which takes some milliseconds."""

RUNS_OF_TURN: Final = 256
"""Runs that are checked in one turn of the event loop, which takes some milliseconds."""

BETWEEN_CALLS: Final = 1000
"""Characters of new text after which a step that holds nothing is called again."""


RELEASED_AT_END: Final = (ToolCallDelta, ReasoningDelta)
"""Events whose text a stage may release only when the text is complete."""


class StepJudge(Protocol):
    """Calls a step with passages of a response and applies the configured actions."""

    async def __call__(
        self, step: LoadedStep, passages: Sequence[Passage], *, is_last: bool, counted: int = 0
    ) -> Sequence[Sequence[Span]]:
        """Return the spans to mask in each passage. Findings in the first ``counted`` characters do not count again.

        Raises ``GatewayError`` for a refusal."""
        ...


InlineJudge: TypeAlias = Callable[[LoadedStep, tuple[Passage, ...], bool], Sequence[Sequence[Span]]]
"""Does the same for a step that is a fast pure function."""


class EventStage(Protocol):
    """A transformer of the events of one response."""

    async def feed(self, events: Sequence[Event]) -> list[Event]:
        """Return the events that ``events`` release. Raises ``GatewayError`` for a refusal."""
        ...


class HoldingStage:
    """The base of stages: it holds events until the text before and in them is released.

    ``holds_whole``: it releases nothing before the end of the response."""

    holds_whole: ClassVar[bool] = False

    def __init__(self, placeholders: Placeholders, builder: RunBuilder | None = None) -> None:
        self.masked = False
        """True if anything was masked."""
        self.placeholders = placeholders
        self._builder = builder or RunBuilder()
        self._held: deque[HeldEvent] = deque()
        self.runs: list[Run] = []  # not completely released, without those in ``_unended``
        self._unended: dict[Run, None] = {}  # released only at their end, which has not come
        self._opened: set[int] = set()
        self.sealed: set[Run] = set()  # reasoning with a signature
        self.is_over = False
        self.is_bypassed = False
        """True if everything is released unchecked from now on."""

    async def feed(self, events: Sequence[Event]) -> list[Event]:
        work = 0
        for event in events:
            if type(event) in WITH_ITEMS:
                work += WORK_OF_VALUE * count_values(event)
        if (self.add(events) if work <= LARGE else await offload(work, self.add, events)) is None:
            return [event for event in events if isinstance(event, ErrorInfo)]
        if self.is_bypassed:
            for run in (*self.runs, *self._unended):
                self.release(run, run.length)
        else:
            await self.judge()
        return await self.drain_in_turns()

    def held_text(self, block: int) -> str | None:
        """Return the text that is held, ``None`` if it is not only plain text of ``block``."""
        run = self._builder.text_run(block)
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
        if (run := self._builder.text_run(block)) is not None:
            run.take_back()

    def pass_on(self, block: int, text: str) -> None:
        """Note ``text`` of ``block``, which the client has already."""
        if (run := self._builder.text_run(block)) is not None:
            self._opened.add(block)
            run.pass_on(text)
            run.forget_before(run.released - CONTEXT)

    async def drain_in_turns(self) -> list[Event]:
        """Return the events that are released now. A thread finds them if there are many masks."""
        work = WORK_OF_FINDING * sum(len(run.spans) for run in self.runs) if self.masked else 0
        if self._held and (texts := self._held[0].texts):
            work += WORK_OF_VALUE * len(texts)
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
        continue_text, hold = self._builder.continue_text, self._held.append
        for event in events:
            if (run := continue_text(event)) is not None:
                hold(HeldEvent(event, run, run.length - len(event.text), run.length))  # type: ignore[union-attr]
                continue
            if isinstance(event, ErrorInfo):
                self._held.clear()
                self.runs.clear()
                self._unended.clear()
                self.is_over = True
                return None
            held, runs = self._builder.add(event, self.note_end)
            if isinstance(event, ReasoningState) and held.run is not None:
                self.sealed.add(held.run)
            if type(event) in RELEASED_AT_END and self._continues_held(held):
                continue
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
    def held_characters(self) -> int:
        """The number of characters that are held."""
        return sum(run.length - run.released for run in (*self.runs, *self._unended))

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
            if (
                type(event) is TextDelta
                and run is not None
                and not run.is_masked
                and held.end <= run.released
                and held.end - held.start == len(event.text)
            ):  # nearly every event
                self._opened.add(event.block)
                run.emitted = held.end
                out.append(event)
            elif not self._emit(held, out):
                break
            self._held.popleft()
        if self.is_over or self.is_bypassed or not self.holds_whole:  # before, a whole stage has released none
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
        if self.waits_for_end(run) and not (run.is_complete and run.released >= run.length):
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
            event = attrs.evolve(event, logprobs=None)  # they may be those of masked text before
        if text == event.text:
            return (event,)
        return (attrs.evolve(event, text=text),)

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
        except KeyMasked:
            return (self.replace_unmaskable(event),)
        return () if masked is None else (masked,)

    def replace_unmaskable(self, event: Event) -> Event:
        """Return what the client gets instead of an ``event`` that cannot express its masks."""
        return event


class StepStage(HoldingStage):
    """A stage that calls one step."""

    def __init__(
        self, step: LoadedStep, judge: StepJudge, placeholders: Placeholders, builder: RunBuilder | None = None
    ) -> None:
        super().__init__(placeholders, builder)
        self.step = step
        self._judge = judge

    def concerns(self, run: Run) -> bool:
        """Return whether the step sees the part of ``run``."""
        return run.part in self.step.parts

    def waits_for_end(self, run: Run) -> bool:
        return run.part == "tool_calls" or (run.part == "reasoning" and self.step.may_mask)  # its signature comes last

    async def check(self, run: Run, start: int, end: int, *, is_last: bool = True) -> int:
        """Check the text of ``run`` between two positions. Return the characters before ``end`` that the step wants to
        see again with more text."""
        passage = run.passage(start, end)
        counted = max(0, run.checked - start)
        (spans,) = await self._judge(self.step, (passage,), is_last=is_last, counted=counted)
        if self.step.sees_text_so_far:  # it judges held text anew
            run.forget_masks()
        self.mask(run, spans, start)
        run.checked = max(run.checked, end)
        return self.step.held_back(passage)

    def replace_unmaskable(self, event: Event) -> Event:
        raise member_name_refusal(self.step, "response")

    def mask(self, run: Run, spans: Sequence[Span], base: int) -> None:
        """Mask ``spans`` of a passage that begins at position ``base``. Raises ``RefusedByStep`` for a mask in the name
        of a member."""
        run.is_checked = True
        if not run.is_document:
            run.mask(spans, base)
        elif spans:
            try:
                run.mask_arguments(spans, self.placeholders)
            except KeyMasked:
                raise member_name_refusal(self.step, "response") from None


class WholeStage(StepStage):
    """A stage that holds everything until its step has seen the complete response."""

    holds_whole = True

    def note_run(self, run: Run) -> None:
        self.runs.append(run)

    async def judge(self) -> None:
        if self.is_over:
            await judge_together((self,))

    def runs_to_check(self) -> list[Run]:
        """Return the runs that the step has to see."""
        return [run for run in self.runs if self.concerns(run)]


async def judge_together(stages: Sequence[WholeStage]) -> None:
    """Check several responses of one request, such as its choices, in a single call of their step."""
    runs = [run for stage in stages for run in stage.runs_to_check()]
    first, found = stages[0], list[Sequence[Span]]()
    if runs:
        found += await first._judge(first.step, [run.passage(0) for run in runs], is_last=True)
    await apply_masks(stages, found)


async def apply_masks(stages: Sequence[WholeStage], found: Sequence[Sequence[Span]]) -> None:
    """Mask the spans ``found`` in each run of several responses that their step sees, and release everything."""
    runs = [run for stage in stages for run in stage.runs_to_check()]
    work = WORK_OF_FINDING * sum(map(len, found))
    await offload(work, _mask_all, stages[0], runs, found)
    for stage in stages:
        stage.release_all()


def _mask_all(stage: StepStage, runs: Sequence[Run], found: Sequence[Sequence[Span]]) -> None:
    for run, spans in zip(runs, found, strict=True):
        stage.mask(run, spans, 0)


class RunningStage(StepStage):
    """The base of stages that release text while the response is read."""

    async def judge(self) -> None:
        for number, run in enumerate(self.runs, 1):
            if number % RUNS_OF_TURN == 0:
                await trio.lowlevel.checkpoint()
            if not self.concerns(run):
                if run.is_complete or not self.waits_for_end(run):
                    run.release(run.length)
            elif self.waits_for_end(run):
                if run.is_complete and not run.is_checked:
                    await self.check(run, 0, run.length)
                    self.release(run, run.length)
            else:
                await self.judge_run(run)

    async def judge_run(self, run: Run) -> None:
        """Check new text of ``run``, and release what may be released."""
        raise NotImplementedError


class TailStage(RunningStage):
    """A stage that holds the end of the text that may still become a finding. For steps with ``open_tail``, which are
    called for nearly every event: ``judge_inline`` is a function."""

    def __init__(
        self,
        step: LoadedStep,
        judge: StepJudge,
        judge_inline: InlineJudge,
        placeholders: Placeholders,
        builder: RunBuilder | None = None,
    ) -> None:
        super().__init__(step, judge, placeholders, builder)
        self._judge_inline = judge_inline
        self._open_tail: Callable[[str, int], int] = step.callable.open_tail
        self._has_called = False

    def held_text(self, block: int) -> str | None:
        return super().held_text(block) if self._has_called or "assistant" not in self.step.parts else None

    async def judge_run(self, run: Run) -> None:
        start, text = max(run.start, run.checked - CONTEXT), run.text
        text = text[start - run.start :]
        checked = run.checked - start
        if run.is_complete:
            safe = run.length
        elif len(text) <= LARGE:
            safe = start + self._open_tail(text, checked)
        else:
            safe = start + await offload(len(text), self._open_tail, text, checked)
        if run.seams and not run.is_complete and start < (seam := run.seams[-1]):
            part = text[seam - start :]
            safe = min(safe, seam + await offload(len(part), self._open_tail, part, max(0, run.checked - seam)))
        if safe <= run.released:
            return
        self._has_called = True
        passage = (
            run.passage(start, safe)
            if run.seams
            else Passage(run.part, run.path, text[: safe - start], run.tool, max(0, run.released - start))
        )
        if len(passage.text) > LARGE:  # a thread searches it
            found = await self._judge(self.step, (passage,), is_last=run.is_complete)
        else:
            found = self._judge_inline(self.step, (passage,), run.is_complete)
        for spans in found:
            await offload(WORK_OF_FINDING * len(spans), run.mask, spans, start)
        run.checked = safe
        self.release(run, safe)
        run.forget_before(run.released - CONTEXT)


class WindowStage(RunningStage):
    """A stage that holds the last ``size`` characters.

    It calls the step at each multiple of ``size``, so that the calls do not depend on the events' sizes. Each call also
    shows the ``size`` characters before the new ones."""

    def __init__(
        self,
        step: LoadedStep,
        judge: StepJudge,
        placeholders: Placeholders,
        size: int,
        builder: RunBuilder | None = None,
    ) -> None:
        super().__init__(step, judge, placeholders, builder)
        self._size = max(1, size)

    async def judge_run(self, run: Run) -> None:
        while run.length - run.checked >= self._size:
            await self._check_until(run, run.checked + self._size, is_last=False)
        if run.is_complete and run.checked < run.length:
            await self._check_until(run, run.length, is_last=True)
        if run.is_complete:
            self.release(run, run.length)

    async def _check_until(self, run: Run, end: int, *, is_last: bool) -> None:
        so_far = self.step.sees_text_so_far
        start = 0 if so_far else max(run.start, min(run.released, run.checked) - self._size)
        held_back = max(self._size, await self.check(run, start, end, is_last=is_last))
        self.release(run, end if is_last else end - held_back)
        if not so_far:
            run.forget_before(run.released - self._size)


class WatchingStage(StepStage):
    """A stage that releases everything immediately while its step runs in the background.

    ``spawn`` runs a function in a task of the request. ``cut`` ends the response after a refusal. ``waits``: the end of
    the response waits for the last verdict, because the step may refuse it. ``judge_inline`` calls a fast step for
    little text without a task, if there is no verdict."""

    def __init__(
        self,
        step: LoadedStep,
        judge: StepJudge,
        placeholders: Placeholders,
        spawn: Callable[[Callable[[], Awaitable[None]]], object],
        cut: Callable[[], object],
        builder: RunBuilder | None = None,
        *,
        waits: bool,
        judge_inline: InlineJudge | None = None,
    ) -> None:
        super().__init__(step, judge, placeholders, builder)
        self._judge_inline = judge_inline
        self._spawn = spawn
        self._end_response = cut
        self._waits = waits
        self._calls = 0
        self._idle = trio.Event()
        self._refused: GatewayError | None = None

    @property
    def held_characters(self) -> int:
        return 0

    def waits_for_end(self, run: Run) -> bool:
        return run.part == "tool_calls"

    async def feed(self, events: Sequence[Event]) -> list[Event]:
        for event in events:
            if self._builder.continue_text(event) is None:
                if isinstance(event, ErrorInfo):
                    self.is_over = True
                    return list(events)
                _, runs = self._builder.add(event, self.note_end)
                for run in runs:
                    if self.concerns(run):
                        self.note_run(run)
                self.is_over = self.is_over or isinstance(event, AnswerEnd)
        await self.judge()
        return list(events)

    def take_back(self, block: int) -> None:
        """Do nothing: nothing is held."""

    def pass_on(self, block: int, text: str) -> None:
        if (run := self._builder.text_run(block)) is not None:
            run.add(text)
            self._call_if_due()

    async def judge(self) -> None:
        self._call_if_due()
        while self._waits and self.is_over and self._calls:
            self._idle = trio.Event()
            await self._idle.wait()
        if self._refused is not None:
            raise self._refused

    def _call_if_due(self) -> None:
        if not self.is_over and (not self._waits or self._calls):
            return
        unchecked = sum(run.length - run.checked for run in self.runs)
        if unchecked >= BETWEEN_CALLS or (self.is_over and any(map(_is_unseen, self.runs))):
            self._start_call()

    def _start_call(self) -> None:
        passages = []
        for run in filter(_is_unseen, self.runs):
            start = max(0, run.checked - BETWEEN_CALLS)
            passages.append(attrs.evolve(run.passage(start), released_length=run.checked - start))
            run.checked, run.is_checked = run.length, True
            if run.part != "tool_calls":
                run.emitted = run.length
                run.forget_before(run.checked - BETWEEN_CALLS)
        self.runs = [run for run in self.runs if not run.is_complete]
        if self._judge_inline is not None and has_little_text(passages):
            self._judge_inline(self.step, tuple(passages), self.is_over)
            return
        self._calls += 1
        self._spawn(partial(self._call, passages, is_last=self.is_over))

    async def _call(self, passages: Sequence[Passage], *, is_last: bool) -> None:
        try:
            await self._judge(self.step, passages, is_last=is_last)
        except GatewayError as error:
            self._refused = error
            self._end_response()
        finally:
            self._calls -= 1
            if self._refused is None:
                self._call_if_due()  # for text that came during the call
            self._idle.set()


def _is_unseen(run: Run) -> bool:
    """Return whether a watching step has not seen all of ``run``. A call without arguments has a name."""
    return run.length > run.checked or (run.part == "tool_calls" and not run.is_checked)
