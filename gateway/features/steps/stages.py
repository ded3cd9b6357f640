"""The stages of a checked response: each step in turn checks its text, masks it and releases it.

A chain of stages is pure apart from the calls of steps: events in, released events out, in their order. The released
text does not depend on how the response was split into events."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import attrs
import trio

from gateway.features.steps.holding import CONTEXT, HoldingStage
from gateway.features.steps.json_texts import KeyMasked, escape
from gateway.features.steps.loaded import LoadedStep
from gateway.features.steps.masks import LONGEST_PLACEHOLDER, Span, open_placeholder
from gateway.features.steps.runner import WORK_OF_FINDING
from gateway.features.steps.runs import Run, RunBuilder
from gateway.features.steps.session import StepSession
from gateway.http.offload import LARGE, offload
from streams.errors import GatewayError
from streams.events import AnswerEnd, AnswerStart, ErrorInfo, Event, Usage
from trigate.steps import Passage

BETWEEN_CALLS: Final = 1000
"""Characters of new text after which a step is called again."""

RUNS_OF_TURN: Final = 256
"""Runs that are checked in one turn of the event loop, which takes some milliseconds."""

_WITHOUT_CONTENT: Final = (AnswerStart, Usage)
"""Events that begin a response, which a stage need not hold."""


class StepStage(HoldingStage):
    """A stage that calls one step."""

    def __init__(self, step: LoadedStep, session: StepSession, builder: RunBuilder | None = None) -> None:
        super().__init__(session.placeholders, builder)
        self.step = step
        self.session = session

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
        (spans,) = await self.session.judge(self.step, (passage,), is_last=is_last, counted=counted)
        if self.step.sees_text_so_far:  # it judges held text anew
            run.forget_masks()
        self.mask(run, spans, start)
        run.checked = max(run.checked, end)
        return self.step.held_back(passage)

    def replace_unmaskable(self, event: Event, replacement: str) -> Event:
        raise self.session.refuse_name(self.step, replacement, "response")

    def mask(self, run: Run, spans: Sequence[Span], base: int) -> None:
        """Mask ``spans`` of a passage that begins at position ``base``. Raises ``RefusedByStep`` for a mask in the name
        of a member."""
        run.is_checked = True
        if not run.is_document:
            run.mask(spans, base)
        elif spans:
            try:
                run.mask_arguments(spans, self.placeholders)
            except KeyMasked as masked:
                raise self.session.refuse_name(self.step, masked.replacement, "response") from None


class WholeStage(StepStage):
    """A stage that holds everything until its step has seen the complete response."""

    def __init__(self, step: LoadedStep, session: StepSession, builder: RunBuilder | None = None) -> None:
        super().__init__(step, session, builder)
        self._is_checked = False

    def note_run(self, run: Run) -> None:
        self.runs.append(run)

    def drain(self, most: int = -1) -> list[Event]:
        if self._is_checked or self.is_bypassed:
            return super().drain(most)
        opening: list[Event] = []
        while self._held and isinstance(self._held[0].event, _WITHOUT_CONTENT):
            held = self._held.popleft()
            self._events_size -= held.size
            opening.append(held.event)
        return opening

    def release_all(self) -> None:
        self._is_checked = True
        super().release_all()

    async def judge(self) -> None:
        if self.is_over:
            passages = [run.passage(0) for run in self.runs_to_check()]
            await apply_masks((self,), await self.session.judge(self.step, passages) if passages else ())

    def runs_to_check(self) -> list[Run]:
        """Return the runs that the step has to see."""
        return [run for run in self.runs if self.concerns(run)]


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
    called for nearly every event."""

    def __init__(self, step: LoadedStep, session: StepSession, builder: RunBuilder | None = None) -> None:
        super().__init__(step, session, builder)
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
        (spans,) = await self.session.judge(self.step, (passage,), is_last=run.is_complete)
        if spans:
            await offload(WORK_OF_FINDING * len(spans), run.mask, spans, start)
        run.checked = safe
        self.release(run, safe)
        run.forget_before(run.released - CONTEXT)


class WindowStage(RunningStage):
    """A stage that holds as many of the last characters as ``hold`` of its step.

    It calls the step at each multiple of this size, so that the calls do not depend on the events' sizes, once another
    character follows: the last call has ``is_last``. Each call also shows as many characters before the
    new ones."""

    def __init__(self, step: LoadedStep, session: StepSession, builder: RunBuilder | None = None) -> None:
        super().__init__(step, session, builder)
        self._size = max(1, int(step.hold))

    async def judge_run(self, run: Run) -> None:
        while run.length - run.checked > self._size:
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
    """A stage that releases everything immediately, for a step that only reports, which sees the complete response."""

    @property
    def held_size(self) -> int:
        return 0  # beyond the limit of an answer, it sees no more

    async def feed(self, events: Sequence[Event]) -> list[Event]:
        for event in events:
            if self.is_over:
                break
            if self.builder.continue_text(event) is None:
                if isinstance(event, ErrorInfo):
                    self.is_over = True
                    break
                self.runs += filter(self.concerns, self.builder.add(event)[1])
                self.builder.ended.clear()
                if isinstance(event, AnswerEnd):
                    self.is_over = True  # a call without arguments has a name
                    seen = [run for run in self.runs if run.length or run.part == "tool_calls"]
                    self.session.report(self.step, tuple([run.passage(0) for run in seen]))
        return list(events)

    def take_back(self, block: int) -> None:
        """Do nothing: nothing is held."""

    def pass_on(self, block: int, text: str) -> None:
        if (run := self.builder.text_run(block)) is not None:
            run.add(text)


class FlowingStage(RunningStage):
    """A stage that releases text before the verdict of its step, which it calls in the background.

    It holds each tool call until the verdict on the call and on the text before it, and the end of the response until
    the last verdict. ``cut`` ends the response after a refusal."""

    def __init__(
        self, step: LoadedStep, session: StepSession, cut: Callable[[], object], builder: RunBuilder | None = None
    ) -> None:
        super().__init__(step, session, builder)
        self._end_response = cut
        self._texts: list[Run] = []  # which may have unchecked text
        self._last_text: Run | None = None  # of the last call
        self._has_last_call = False
        self._is_calling = False
        self._idle = trio.Event()
        self._refused: GatewayError | None = None

    @property
    def holds(self) -> bool:
        return super().holds or self._is_calling  # the texts that came during the call

    async def feed(self, events: Sequence[Event]) -> list[Event]:
        if self._refused is not None:
            raise self._refused
        return await super().feed(events)

    def waits_for_end(self, run: Run) -> bool:
        return run.part == "tool_calls"

    def note_run(self, run: Run) -> None:
        super().note_run(run)
        if self.concerns(run) and not self.waits_for_end(run):
            self._texts.append(run)

    async def judge(self) -> None:
        if self.is_over or any(map(self._is_unchecked_call, self.runs)):
            await self._await_verdicts()
        else:
            self._call_if_due()
        if self._refused is not None:
            raise self._refused
        await super().judge()

    async def judge_run(self, run: Run) -> None:
        self.release(run, run.length)

    def _is_unchecked_call(self, run: Run) -> bool:
        return run.is_complete and not run.is_checked and self.waits_for_end(run) and self.concerns(run)

    async def _await_verdicts(self) -> None:
        """Wait for the verdicts on all text so far."""
        self._call_if_due(1)
        while self._is_calling and self._refused is None:
            self._idle = trio.Event()
            await self._idle.wait()
            self._call_if_due(1)

    def _call_if_due(self, least: int = BETWEEN_CALLS) -> None:
        """Call the step if there are ``least`` characters of new text, or once if no text follows. Calls do not
        overlap."""
        if self._is_calling or self._refused is not None or self.is_bypassed:
            return
        unchecked = sum(run.length - run.checked for run in self._texts)
        if unchecked >= least or (self.is_over and not self._has_last_call):
            self._has_last_call = self.is_over
            if passages := self._take_passages():
                self._is_calling = True
                self.session.spawn(partial(self._call, passages, is_last=self.is_over))

    def _take_passages(self) -> list[Passage]:
        """Return the unchecked text, and some text before it. The last call also shows text that was checked, because
        the step has to know that no text follows."""
        passages = []
        unchecked = [run for run in self._texts if run.length > run.checked]
        for run in unchecked or filter(None, (self._last_text,)):
            start = max(run.start, run.checked - BETWEEN_CALLS)
            passages.append(attrs.evolve(run.passage(start), released_length=run.checked - start))
            run.checked = run.length
            run.forget_before(run.checked - BETWEEN_CALLS)
            self._last_text = run
        self._texts = [run for run in self._texts if not run.is_complete]
        return passages

    async def _call(self, passages: Sequence[Passage], *, is_last: bool) -> None:
        try:
            await self.session.judge(self.step, passages, is_last=is_last)
        except GatewayError as error:
            self._refused = error
            self._end_response()
        finally:
            self._is_calling = False
            self._call_if_due()  # for text that came during the call
            self._idle.set()


class RestoringStage(HoldingStage):
    """A stage that replaces the placeholders of this exchange by the client's own values. ``keep`` gets the events
    before that."""

    keep: Callable[[Sequence[Event]], object] | None = None

    async def feed(self, events: Sequence[Event]) -> list[Event]:
        if self.keep is not None:
            self.keep(events)
        return await super().feed(events)

    async def judge(self) -> None:
        for run in self.runs:
            if not self.waits_for_end(run):
                self._restore(run, run.length if run.is_complete else run.start + open_placeholder(run.text))
            elif run.is_complete:
                self._restore(run, run.length)

    def waits_for_end(self, run: Run) -> bool:
        return run.part in ("tool_calls", "reasoning")

    def _restore(self, run: Run, safe: int) -> None:
        if safe <= run.released and not run.is_complete:
            return
        if run not in self.sealed:
            encode = escape if run.part == "tool_calls" else str
            start = max(run.start, run.released - LONGEST_PLACEHOLDER)
            found = self.placeholders.restorable(run.text, start - run.start, safe - run.start)
            spans = [Span(first, last, "", encode(value)) for first, last, value in found]
            if spans:
                run.mask(spans, run.start)
        self.release(run, safe)
        run.forget_before(run.released - LONGEST_PLACEHOLDER)
