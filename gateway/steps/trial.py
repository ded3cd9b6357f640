"""Runs steps on a captured request or response, and collects their findings without effect."""

from collections.abc import Iterator, Sequence
from typing import Final

import attrs

from gateway.steps.json_texts import KeyMasked
from gateway.steps.loaded import LoadedStep
from gateway.steps.masks import Placeholders, Span, merge_spans
from gateway.steps.request_texts import RequestTexts
from gateway.steps.runner import StepFailed, run_step
from gateway.steps.runs import RunBuilder
from gateway.steps.session import unreadable_path
from gateway.steps.stages import WholeStage, judge_together
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

    async def call(self, step: LoadedStep, check: Check) -> list[TriedFinding]:
        """Return the findings of ``step``, after adding them, or its failure, to the results."""
        try:
            findings = await run_step(step, check) if check.passages else []
        except StepFailed as failed:
            refused = step.unchecked == "refuse" and not step.only_reports
            self.failures.append(TrialFailure(step.name, check.at, failed.detail or failed.reason, refused))
            return []
        found = [TriedFinding(step.name, check.at, step.action_for(one.label, one.action), one) for one in findings]
        self.findings += found
        return found


async def try_request(steps: Sequence[LoadedStep], facts: Check, api: str, body: bytes) -> StepsTrial:
    """Run ``steps`` on the request ``body``; each sees the masks of those before it. Raises ``NotJson``.

    ``facts`` has the members of each ``Check`` that are the same."""
    texts = RequestTexts.of(api, body)
    trial = StepsTrial(len(texts.passages))
    for step in steps:
        for moment in step.moments:
            if moment not in ("request", "during"):
                continue
            if (path := unreadable_path(step, texts.unreadable)) is not None:
                is_refused = step.unchecked == "refuse" and not step.only_reports
                trial.failures.append(TrialFailure(step.name, moment, f"no step can read {path}", is_refused))
            seen = [one for one in texts.passages if one.part in step.parts]
            seen = [one for one in seen if not step.latest or texts.is_latest(one)]
            found = await trial.call(step, attrs.evolve(facts, at=moment, passages=tuple(seen)))
            if moment != "request":
                continue
            if edits := PLACEHOLDERS.edits_of((passage, merge_spans(_masks(found, passage))) for passage in seen):
                try:
                    body = texts.replace(edits)
                except KeyMasked:
                    reason = "it masks the name of a member, which cannot be sent"
                    trial.failures.append(TrialFailure(step.name, moment, reason, is_refused=True))
                else:
                    texts = RequestTexts.of(api, body)
    return trial


async def try_response(steps: Sequence[LoadedStep], facts: Check, choices: Sequence[Sequence[Event]]) -> StepsTrial:
    """Run ``steps`` on the events of a complete response by choice; each sees the masks of those before it."""
    trial = StepsTrial()

    async def judge(
        step: LoadedStep, passages: Sequence[Passage], *, is_last: bool, counted: int = 0
    ) -> Sequence[Sequence[Span]]:
        trial.texts = max(trial.texts, len(passages))
        found = await trial.call(step, attrs.evolve(facts, at="response", passages=tuple(passages), is_last=is_last))
        return [merge_spans(_masks(found, passage)) for passage in passages]

    for step in steps:
        if step.at("response"):
            prefixes = ("", *(f"choices[{number}]." for number in range(1, len(choices))))
            stages = [WholeStage(step, judge, PLACEHOLDERS, RunBuilder(prefix)) for prefix in prefixes]
            for stage, events in zip(stages, choices, strict=True):
                stage.add(events)
            await judge_together(stages)
            choices = [stage.drain() for stage in stages]
    return trial


PLACEHOLDERS: Final = Placeholders(b"", "")
"""The placeholders of trials, which no client gets."""


def _masks(found: Sequence[TriedFinding], passage: Passage) -> Iterator[Span]:
    return (Span.of(one.finding) for one in found if one.action == "mask" and one.finding.passage is passage)
