"""The stages of a checked response that hold its text: each step in turn checks it, masks it and releases it.

A chain of stages is pure apart from the calls of steps: events in, released events out, in their order. The released
text does not depend on how the response was split into events."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import trio

from gateway.features.steps.holding import CONTEXT, HoldingStage
from gateway.features.steps.json_texts import KeyMasked
from gateway.features.steps.loaded import LoadedStep
from gateway.features.steps.masks import LONGEST_PLACEHOLDER, Span, open_placeholder
from gateway.features.steps.runner import WORK_OF_FINDING
from gateway.features.steps.runs import Run, RunBuilder
from gateway.features.steps.session import StepSession
from gateway.http.offload import LARGE, offload
from streams.events import Event
from trigate.steps import Passage

RUNS_OF_TURN: Final = 256
"""Runs that are checked in one turn of the event loop, which takes some milliseconds."""


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

    holds_whole = True

    def note_run(self, run: Run) -> None:
        self.runs.append(run)

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
            encode = _escape_for_json if run.part == "tool_calls" else str
            start = max(run.start, run.released - LONGEST_PLACEHOLDER)
            found = self.placeholders.restorable(run.text, start - run.start, safe - run.start)
            spans = [Span(first, last, "", encode(value)) for first, last, value in found]
            if spans:
                run.mask(spans, run.start)
        self.release(run, safe)
        run.forget_before(run.released - LONGEST_PLACEHOLDER)


def _escape_for_json(value: str) -> str:
    return msgspec.json.encode(value).decode()[1:-1]
