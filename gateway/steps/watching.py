"""The stage of a step that watches a response: the client gets the text before the verdict."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

import attrs
import trio

from gateway.steps.loaded import LoadedStep
from gateway.steps.masks import Placeholders
from gateway.steps.runner import has_little_text
from gateway.steps.runs import Run, RunBuilder
from gateway.steps.stages import InlineJudge, StepJudge, StepStage
from streams.errors import GatewayError
from streams.events import AnswerEnd, ErrorInfo, Event
from trigate.steps import Passage

BETWEEN_CALLS: Final = 1000
"""Characters of new text after which a step that holds nothing is called again."""


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
            if self.builder.continue_text(event) is None:
                if isinstance(event, ErrorInfo):
                    self.is_over = True
                    return list(events)
                _, runs = self.builder.add(event, self.note_end)
                for run in runs:
                    if self.concerns(run):
                        self.note_run(run)
                self.is_over = self.is_over or isinstance(event, AnswerEnd)
        await self.judge()
        return list(events)

    def take_back(self, block: int) -> None:
        """Do nothing: nothing is held."""

    def pass_on(self, block: int, text: str) -> None:
        if (run := self.builder.text_run(block)) is not None:
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
            await self.call_step(self.step, passages, is_last=is_last)
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
