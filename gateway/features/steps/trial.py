"""Runs steps on a captured request or response, and collects their findings without effect."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import attrs

from gateway.features.steps.loaded import AnswerSteps, AppliedSteps, LoadedStep
from gateway.features.steps.masks import Placeholders, Span, merge_spans
from gateway.features.steps.request_texts import RequestTexts
from gateway.features.steps.response_steps import ResponseSteps
from gateway.features.steps.runner import StepFailed
from gateway.features.steps.session import CheckedTexts, StepSession, unreadable_path
from gateway.features.steps.verdicts import RefusedByStep, StepRecords
from streams.events import Event
from trigate.steps import Action, Check, Finding, Moment, Passage


@attrs.frozen(eq=False, repr=False)
class TriedFinding:
    """A finding of a step, with the action that the configuration sets."""

    step: str
    at: Moment
    action: Action
    finding: Finding


@attrs.frozen(eq=False, repr=False)
class TrialFailure:
    """A step that failed, or could not read a part of the content, with the reason. ``is_refused``: the gateway would
    refuse the content."""

    step: str
    at: Moment
    reason: str
    is_refused: bool


@attrs.define(eq=False, repr=False)
class StepsTrial:
    """The results of a trial: ``texts`` is the number of texts that steps can see."""

    texts: int = 0
    findings: list[TriedFinding] = attrs.field(factory=list)
    failures: list[TrialFailure] = attrs.field(factory=list)

    @property
    def is_refused(self) -> bool:
        """Whether the gateway would refuse the content."""
        return any(one.action == "refuse" for one in self.findings) or any(one.is_refused for one in self.failures)


class TrialSession(StepSession):
    """A session that only collects findings and failures, and refuses nothing. ``facts`` has the members of each
    ``Check`` that are the same."""

    def __init__(self, facts: Check) -> None:
        self.trial = StepsTrial()
        self._later: list[Callable[[], Awaitable[None]]] = []
        none = AppliedSteps.of(())
        super().__init__(none, facts, PLACEHOLDERS, StepRecords(), self._later.append, lambda: None)

    def make_check(self, at: Moment, passages: tuple[Passage, ...], is_last: bool) -> Check:
        self.trial.texts = max(self.trial.texts, len(passages))
        return super().make_check(at, passages, is_last)

    def apply_findings(
        self, step: LoadedStep, passages: Sequence[Passage], findings: Sequence[Finding], at: Moment, counted: int = 0
    ) -> list[list[Span]]:
        found = [TriedFinding(step.name, at, step.action_for(one.label, one.action), one) for one in findings]
        self.trial.findings += found
        masked = [one.finding for one in found if one.action == "mask" and at != "during"]
        return [merge_spans(Span.of(one) for one in masked if one.passage is passage) for passage in passages]

    def note_failure(self, failed: StepFailed, at: Moment = "response") -> None:
        self._add_failure(failed.step, at, failed.detail or failed.reason)

    def note_unreadable(self, step: LoadedStep, texts: CheckedTexts, at: Moment) -> None:
        if (path := unreadable_path(step, texts.unreadable)) is not None:
            self._add_failure(step, at, f"no step can read {path}")

    def _add_failure(self, step: LoadedStep, at: Moment, reason: str) -> None:
        is_refused = step.unchecked == "refuse" and not step.only_reports
        self.trial.failures.append(TrialFailure(step.name, at, reason, is_refused))

    async def finish_reports(self) -> None:
        """Wait for the calls of steps that only report."""
        while self._later:
            await self._later.pop()()


async def try_request(steps: Sequence[LoadedStep], facts: Check, api: str, body: bytes) -> StepsTrial:
    """Run ``steps`` on the request ``body``; each sees the masks of those before it. Raises ``NotJson``."""
    session, texts = TrialSession(facts), RequestTexts.of(api, body)
    session.trial.texts = len(texts.passages)
    for step in steps:
        for moment in step.moments:
            if moment == "during":
                await session.judge_during(step, texts)
            elif moment == "request":
                try:
                    texts = await session.check_texts([step], texts)
                except RefusedByStep:
                    reason = "it masks the name of a member, which cannot be sent"
                    session.trial.failures.append(TrialFailure(step.name, moment, reason, is_refused=True))
            await session.finish_reports()
    return session.trial


async def try_response(steps: Sequence[LoadedStep], facts: Check, choices: Sequence[Sequence[Event]]) -> StepsTrial:
    """Run ``steps`` on the events of a complete response by choice; each sees the masks of those before it."""
    session = TrialSession(facts)
    for step in steps:
        if step.at("response"):
            checks = ResponseSteps(session, AnswerSteps.of([step]), restores=False)
            choices = await checks.check_whole(choices, 0)
            await session.finish_reports()
    return session.trial


PLACEHOLDERS: Final = Placeholders(b"", "")
"""The placeholders of trials, which no client gets."""
