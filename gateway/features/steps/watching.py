"""The stages of steps that check a response while the client gets its text."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import attrs
import trio

from gateway.features.steps.loaded import LoadedStep
from gateway.features.steps.runs import Run, RunBuilder
from gateway.features.steps.session import StepSession
from gateway.features.steps.stages import RunningStage, StepStage
from streams.errors import GatewayError
from streams.events import AnswerEnd, ErrorInfo, Event
from trigate.steps import Passage

BETWEEN_CALLS: Final = 1000
"""Characters of new text after which a step is called again."""


class WatchingStage(StepStage):
    """A stage that releases everything immediately, for a step that only reports, which sees the complete response."""

    @property
    def held_characters(self) -> int:
        return 0

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
        if self._is_calling or self._refused is not None:
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
