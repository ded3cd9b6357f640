"""The steps of one exchange: their calls at each moment, in the order of the file, and the configured actions."""

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Final, Protocol, Self, TypeAlias, TypeVar

import trio

from gateway.features.steps.json_texts import KeyMasked, splice
from gateway.features.steps.loaded import AppliedSteps, LoadedStep, concurrent_groups
from gateway.features.steps.masks import PassageEdit, Placeholders, Span, merge_spans
from gateway.features.steps.runner import (
    MOST_FINDINGS,
    SMALL_TEXTS,
    WORK_OF_FINDING,
    StepFailed,
    call_inline,
    run_step,
    work_on,
)
from gateway.features.steps.verdicts import (
    RefusedByStep,
    StepRecords,
    refusal,
    unavailable,
    unchecked_content,
)
from gateway.http.offload import offload
from gateway.seams.observers import UNOBSERVED, Observers
from streams.errors import GatewayError
from streams.pipe import SHUTTING_DOWN
from trigate.steps import Action, Check, Finding, Moment, Part, Passage

Spawn: TypeAlias = Callable[[Callable[[], Awaitable[None]]], object]
"""Starts a function in a task of the request."""

WORK_OF_FILTER: Final = 16
"""Bytes of JSON that take as long as the decision whether a step sees a passage, or the search for its masks."""

SUBJECTS: Final[dict[Moment, str]] = {
    "request": "request", "during": "request", "response": "response", "finished": "record",
}  # fmt: skip


class CheckedTexts(Protocol):
    """The texts of a request that steps see. ``unreadable`` are the paths of content that no step can read, and the
    parts that concern only the steps for them. ``body`` is the request's JSON, ``None`` for a form."""

    @property
    def body(self) -> bytes | None: ...

    @property
    def passages(self) -> Sequence[Passage]: ...

    @property
    def unreadable(self) -> Mapping[str, Part | None]: ...

    def is_latest(self, passage: Passage) -> bool:
        """Return whether ``passage`` is in a message after the last answer of the model."""

    async def with_edits(self, edits: Sequence[PassageEdit]) -> Self:
        """Return the texts after the edits. Raises ``GatewayError`` for an edit that the request cannot express, and
        ``KeyMasked`` for one in the name of a member."""


T = TypeVar("T", bound=CheckedTexts)
R = TypeVar("R")


class StepSession:
    """The steps that apply to one exchange.

    ``common`` are the members of each ``Check`` that do not change. ``spawn`` starts tasks that may outlive a call. A
    step with ``entries`` applies to the attempts at these entries alone. ``observers`` learn when a step masks or
    refuses something, or could not check it. ``track`` lets the end of the drain cancel a call before the request is
    sent, and one that continues after the response. If it ``masks_refused``, a mask replaces each refusal."""

    def __init__(
        self,
        applied: AppliedSteps,
        common: Check,
        placeholders: Placeholders,
        records: StepRecords,
        spawn: Spawn,
        observers: Observers = UNOBSERVED,
        track: Callable[[trio.CancelScope], AbstractContextManager[object]] = nullcontext,
        *,
        masks_refused: bool = False,
    ) -> None:
        self.applied = applied
        self.steps = applied.steps
        self.parts: frozenset[Part] = applied.parts
        """The parts that a step sees. The texts of others need not be read."""
        self.placeholders = placeholders
        self.records = records
        self.spawn = spawn
        self._common = common
        self._observers = observers
        self._track = track
        self._masks_refused = masks_refused
        self._masks: dict[tuple[str, Part, str], Sequence[Span]] = {}
        self._judging = tuple([step for step in applied.at_during if not step.only_reports])
        self._verdict = trio.Event() if self._judging else None
        """Set when the steps that may refuse during the provider's work have ended, ``None`` without any."""
        self._work: trio.CancelScope | None = None
        """The scope of the provider's work, which a refusal cancels."""
        self._last_check: Check | None = None
        """The check of the last little text."""
        self._refusal: GatewayError | None = None
        """The refusal by a step that runs during the provider's work."""

    @property
    def api(self) -> str:
        """The client's API or endpoint."""
        return self._common.api

    # Any moment

    def spawn_report(self, call: Callable[[], Awaitable[object]]) -> None:
        """Start a call of a step that only reports. It continues after the end of the response."""
        self.spawn(partial(self._call_shielded, call))

    async def _call_shielded(self, call: Callable[[], Awaitable[object]]) -> None:
        with trio.CancelScope(shield=True) as scope, self._track(scope):
            await call()

    async def _until_drained(self, work: Callable[[], Awaitable[R]]) -> R:
        """Return the result of ``work()``, for which the client waits. Raises ``GatewayError`` at the end of the
        drain."""
        with trio.CancelScope() as scope, self._track(scope):
            return await work()
        raise GatewayError.of(SHUTTING_DOWN)

    async def judge(
        self,
        step: LoadedStep,
        passages: Sequence[Passage],
        at: Moment = "response",
        *,
        is_last: bool = True,
        counted: int = 0,
    ) -> Sequence[Sequence[Span]]:
        """Call ``step`` and return the spans to mask in each of ``passages``. Findings in their first ``counted``
        characters were counted before.

        Raises ``GatewayError`` for a refusal, and for content that it could not check where that is refused."""
        if step.is_inline and self._is_little(passages):
            return self._judge_inline(step, passages, at, is_last, counted)
        record, began = self.records.of(step.name, at), time.perf_counter()
        check = self.make_check(at, tuple(passages), is_last)
        try:
            call = partial(run_step, step, check)
            findings = await (self._until_drained(call) if at == "request" else call())
        except StepFailed as failed:
            self.note_failure(failed, at)
            return ((),) * len(passages)
        finally:
            record.add_call(began)
        if not findings:
            record.add("ok")
            return ((),) * len(passages)
        return await self._apply_many(step, passages, findings, at, counted)

    async def withholds(self, step: LoadedStep, passages: Sequence[Passage]) -> bool:
        """Return whether ``step`` masks or refuses any of ``passages``, the texts of a provider's error, or could not
        check them where that is refused."""
        record = self.records.of(step.name, "response")
        try:
            findings = await run_step(step, self.make_check("response", tuple(passages), True))
        except StepFailed as failed:
            record.failure = failed.reason
            record.add("unchecked")
            if is_withheld := step.refuses_unchecked or failed.reason == "too_many":
                self._observers.note_hidden()
            return is_withheld
        labels = [one.label for one in findings if step.action_for(one.label, one.action) != "report"]
        if labels:
            record.add("masked", labels)
            self._observers.note_hidden()
        return bool(labels)

    def report(self, step: LoadedStep, passages: Sequence[Passage]) -> None:
        """Call a step that only reports, if it sees any text. The response waits only for a fast pure function in
        little text."""
        if passages and step.is_inline and self._is_little(passages):
            self._judge_inline(step, passages, "response", True)
        elif passages:
            self.spawn_report(partial(self.judge, step, passages))

    def _is_little(self, passages: Sequence[Passage]) -> bool:
        last = self._last_check
        return (last is not None and last.passages is passages) or work_on(passages) <= SMALL_TEXTS

    def _judge_inline(
        self, step: LoadedStep, passages: Sequence[Passage], at: Moment, is_last: bool, counted: int = 0
    ) -> Sequence[Sequence[Span]]:
        """Do what ``judge`` does without a task, for a fast pure function. Most calls are for a word of a stream and
        find nothing."""
        record, began = self.records.of(step.name, at), time.perf_counter()
        check = self._last_check
        if check is None or check.passages is not passages or check.at != at or check.is_last != is_last:
            # The next step may see the same texts.
            check = self._last_check = self.make_check(at, tuple(passages), is_last)
        try:
            findings = call_inline(step, check)
        except StepFailed as failed:
            self.note_failure(failed, at)
            return ((),) * len(passages)
        if record.outcome == "cancelled":
            record.outcome = "ok"
        record.add_call(began)
        if not findings:
            return ((),) * len(passages)
        with self._noting_refusals():
            spans = self.apply_findings(step, passages, findings, at, counted)
        if any(spans):
            self._observers.note_hidden()
        return spans

    def make_check(self, at: Moment, passages: tuple[Passage, ...], is_last: bool) -> Check:
        """Return what a step gets for ``passages``."""
        common = self._common  # ``attrs.evolve`` takes ten times as long
        return Check(
            at, passages, common.client, common.group, common.model, common.target, common.api, common.request_id,
            common.run, is_last,
        )  # fmt: skip

    def note_failure(self, failed: StepFailed, at: Moment = "response") -> None:
        """Record that a step could not check something. Raises ``GatewayError`` where that is refused: 503, or 400 for
        too many findings, which another attempt would have again."""
        step = failed.step
        record = self.records.of(step.name, at)
        record.failure = failed.reason
        if failed.reason == "too_many" and not step.only_reports:
            record.add("refused")
            self._observers.note_hidden()
            raise refusal(step, f"more than {MOST_FINDINGS:,} values", SUBJECTS[at])
        record.add("unchecked")
        if step.refuses_unchecked:
            self._observers.note_hidden()
            raise unavailable(step.name, failed.reason, failed.retry_after)

    async def _apply_many(
        self, step: LoadedStep, passages: Sequence[Passage], findings: Sequence[Finding], at: Moment, counted: int
    ) -> list[list[Span]]:
        """Call ``apply_findings`` in a thread if there are many findings. A long text may have 100,000."""
        work = partial(self.apply_findings, step, passages, findings, at, counted)
        with self._noting_refusals():
            spans = await offload(WORK_OF_FINDING * (len(findings) + len(passages)), work)
        if any(spans):
            self._observers.note_hidden()
        return spans

    @contextmanager
    def _noting_refusals(self) -> Iterator[None]:
        try:
            yield
        except RefusedByStep:
            self._observers.note_hidden()
            raise

    def apply_findings(
        self, step: LoadedStep, passages: Sequence[Passage], findings: Sequence[Finding], at: Moment, counted: int = 0
    ) -> list[list[Span]]:
        """Return the spans to mask in each of ``passages``, and count the findings after the first ``counted``
        characters. Raises ``GatewayError`` for a refusal."""
        record, spans = self.records.of(step.name, at), {id(one): list[Span]() for one in passages}
        record.add("ok")
        for finding in findings:
            if 0 < finding.passage.released_length >= finding.end:  # it was found when it was released
                continue
            labels = (finding.label,) if finding.end > counted or not counted else ()
            match self._action_on(step, finding, at):
                case "mask":
                    spans[id(finding.passage)].append(Span.of(finding))
                    record.add("masked", labels)
                case "refuse":
                    record.add("refused", (finding.label,))
                    raise refusal(step, finding.label, SUBJECTS[at])
                case "report":
                    record.add("reported", labels)
        return [merge_spans(spans[id(one)]) for one in passages]

    def _action_on(self, step: LoadedStep, finding: Finding, at: Moment) -> Action:
        """Return the action for a finding. A mask that comes too late, because the text is gone already, is a refusal;
        in responses also one of a step whose ``action`` has no masks, because the provider's bytes stay unchanged."""
        action = step.action_for(finding.label, finding.action)
        if self._masks_refused and action == "refuse":
            return "mask"
        too_late = at == "during" or (at == "response" and (step.hold == "nothing" or not step.may_mask))
        return "refuse" if action == "mask" and too_late else action

    # Requests

    async def check_texts(self, steps: Sequence[LoadedStep], texts: T, at: Moment = "request") -> T:
        """Return ``texts`` with the masks of ``steps``. Each step sees the masks of those before it.

        Raises ``GatewayError``, after observers have a request that a step refuses."""
        try:
            return await self._check_texts(steps, texts, at)
        except RefusedByStep as error:
            refused = error
        if at == "request":
            await self._note_refused(texts)
        raise refused

    async def _note_refused(self, texts: CheckedTexts) -> None:
        """Pass ``texts``, a request that a step refused, to observers, with a mask in place of each finding of all
        steps. They get none if a step cannot check it, or if JSON has no place for a mask."""
        self._observers.note_refused(None)
        if not self._observers.keeps_refused:
            return
        masking = StepSession(
            self.applied, self._common, self.placeholders, StepRecords(), self.spawn, track=self._track,
            masks_refused=True,
        )  # fmt: skip
        with suppress(GatewayError):
            for step in self.steps:
                if not step.only_reports and (step.at("request") or step.at("during")):
                    texts = await masking.check_texts((step,), texts)
            self._observers.note_refused(texts.body)

    async def _check_texts(self, steps: Sequence[LoadedStep], texts: T, at: Moment) -> T:
        groups = self.applied.groups if steps is self.applied.at_request else concurrent_groups(steps)
        for group in groups:
            if texts.unreadable:
                for step in group:
                    self.note_unreadable(step, texts, at)
            for step in group if at == "request" else ():
                if step.reports_later:
                    group = await self._start_reports(group, texts)
                    break
            if group and (edits := await self._find_edits(group, texts, at)):
                texts = await self._with_edits(group[0], texts, edits, at)
        return texts

    async def _start_reports(self, steps: Sequence[LoadedStep], texts: CheckedTexts) -> tuple[LoadedStep, ...]:
        """Start the calls for which the request does not wait, and return the other ``steps``."""
        for step in steps:
            if step.reports_later:
                self.records.of(step.name, "request")  # in the order of the file
                if passages := await self._passages_for(step, texts):
                    self.spawn_report(partial(self.judge, step, passages, "request"))
                else:
                    self.records.of(step.name, "request").add("ok")
        return tuple([step for step in steps if not step.reports_later])

    async def _with_edits(self, step: LoadedStep, texts: T, edits: Sequence[PassageEdit], at: Moment) -> T:
        try:
            return await texts.with_edits(edits)
        except KeyMasked as masked:
            raise self.refuse_name(step, masked.replacement, at) from None

    def refuse_name(self, step: LoadedStep, replacement: str, at: Moment) -> RefusedByStep:
        """Record and return the refusal of a value that ``replacement`` masks in the name of a member, where JSON has
        no place for a placeholder."""
        self.records.of(step.name, at).add("refused")
        label = self.placeholders.label_of(replacement)
        return refusal(step, f"{label} in the name of a member", SUBJECTS[at])

    def note_unreadable(self, step: LoadedStep, texts: CheckedTexts, at: Moment) -> None:
        """Record that ``step`` cannot read a part of ``texts``. Raises ``GatewayError`` where that is refused."""
        if (path := unreadable_path(step, texts.unreadable)) is None:
            return
        record = self.records.of(step.name, at)
        record.failure = "unreadable"
        record.add("unchecked")
        if step.refuses_unchecked:
            self._observers.note_hidden()
            raise unchecked_content(step.name, path)

    async def _find_edits(self, steps: Sequence[LoadedStep], texts: CheckedTexts, at: Moment) -> list[PassageEdit]:
        """Return the masks of a step, or those that the code of several steps sets, whose settings have no masks. These
        are called simultaneously.

        Raises the first refusal, which cancels the other calls."""
        found: list[tuple[Sequence[Passage], Sequence[Sequence[Span]]]] = []
        refused: list[GatewayError] = []

        async def judge(step: LoadedStep) -> None:
            if not (passages := await self._passages_for(step, texts)):
                self.records.of(step.name, at).add("ok")
            elif any(spans := await self.judge(step, passages, at)):
                found.append((passages, spans))

        if len(steps) == 1:
            await judge(steps[0])
        else:
            for step in steps:
                self.records.of(step.name, at)  # in the order of the file
            await _until_refused(steps, judge, refused.append)
        if refused:
            raise refused[0]
        if not found:
            return []
        work = WORK_OF_FINDING * sum(sum(map(len, spans)) for _, spans in found)
        return await offload(work, self._edits_of, steps[0], found, steps[0].settings.restore and at == "request")

    def _edits_of(
        self, step: LoadedStep, found: Iterable[tuple[Sequence[Passage], Sequence[Sequence[Span]]]], restores: bool
    ) -> list[PassageEdit]:
        """Return the edits for the masks in ``found``, and note them for ``repeat_masks`` as those of ``step``."""
        masks: dict[Passage, Sequence[Span]] = {}
        for passages, spans in found:
            for passage, own in zip(passages, spans, strict=True):
                if own:
                    masks[passage] = merge_spans((*masks[passage], *own)) if passage in masks else own
        for passage, own in masks.items():
            self._masks[step.name, passage.part, passage.text] = own
        return self.placeholders.edits_of(masks.items(), restores)

    async def repeat_masks(self, steps: Sequence[LoadedStep], texts: T) -> T:
        """Return ``texts``, a part of those that were checked, with the same masks. No step is called.

        Raises ``GatewayError``."""
        for step in steps:
            found = ((one, self._masks.get((step.name, one.part, one.text), ())) for one in texts.passages)
            if edits := await offload(WORK_OF_FILTER * len(texts.passages), self.placeholders.edits_of, found):
                texts = await self._with_edits(step, texts, edits, "request")
        return texts

    def restoring_edits(self, passages: Iterable[Passage]) -> list[PassageEdit]:
        """Return the edits that replace placeholders by the values that return to the client."""
        restorable = self.placeholders.restorable
        return [(passage, *found) for passage in passages for found in restorable(passage.text)]

    def restored_members(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return ``members`` of a request, which a response repeats, with the values that return to the client."""

        def restore(value: Any) -> Any:
            if isinstance(value, str):
                return splice(value, self.placeholders.restorable(value))
            if isinstance(value, dict):
                return {name: restore(inner) for name, inner in value.items()}
            return [restore(inner) for inner in value] if isinstance(value, list) else value

        return {name: value if name == "input" else restore(value) for name, value in members.items()}

    async def _passages_for(self, step: LoadedStep, texts: CheckedTexts) -> Sequence[Passage]:
        """Return the passages that ``step`` sees, in a thread if there are many. A request may have 100,000."""
        return await offload(WORK_OF_FILTER * len(texts.passages), _seen_passages, step, texts)

    # During the provider's work

    def start_concurrent_steps(self, texts: CheckedTexts | None) -> None:
        """Start the steps that check ``texts`` while the provider generates its response, none without ``texts``."""
        if texts is not None:
            for step in self.applied.at_during:
                if step.only_reports:
                    self.spawn_report(partial(self.judge_during, step, texts))
        if self._verdict is not None:
            if texts is None:
                self._verdict.set()
            else:
                self.spawn(partial(self._judge_concurrently, texts, self._verdict))

    async def _judge_concurrently(self, texts: CheckedTexts, verdict: trio.Event) -> None:
        has_ended = False
        try:
            await _until_refused(self._judging, lambda step: self.judge_during(step, texts), self._refuse)
            if isinstance(self._refusal, RefusedByStep):
                await self._note_refused(texts)
            has_ended = True
        finally:
            if not has_ended:  # nothing was found, but nothing was checked either
                self._refusal = self._refusal or unavailable(self._judging[0].name, "cancelled", 1.0)
                self._observers.note_hidden()
                self._observers.note_refused(None)
            verdict.set()

    async def judge_during(self, step: LoadedStep, texts: CheckedTexts) -> None:
        """Call ``step``, which checks ``texts`` during the provider's work. Raises ``GatewayError``."""
        self.note_unreadable(step, texts, "during")
        if passages := await self._passages_for(step, texts):
            await self.judge(step, passages, "during")

    def _refuse(self, error: GatewayError) -> None:
        """End the provider's work with ``error``, unless another step has refused the request."""
        self._refusal = self._refusal or error
        self._observers.note_refused(None)
        if self._work is not None:
            self._work.cancel()

    async def work_until_refused(self, work: Callable[[], Awaitable[R]]) -> R:
        """Return the result of ``work()``, requests to providers and waits for them. A refusal cancels it and is raised
        (``GatewayError``)."""
        if not self.awaits_verdict:
            return await work()
        with trio.CancelScope() as self._work:
            if self._refusal is not None:
                self._work.cancel()
            await trio.lowlevel.checkpoint_if_cancelled()
            return await work()
        assert self._refusal is not None, "only a refusal cancels the work"
        if self._verdict is not None:  # which also means that observers have the request
            await self._verdict.wait()
        raise self._refusal

    @property
    def refusal(self) -> GatewayError | None:
        """The refusal that has cancelled the provider's work."""
        return self._refusal if self._work is not None and self._work.cancel_called else None

    @property
    def awaits_verdict(self) -> bool:
        """Whether a step that may refuse during the provider's work has not ended, or has refused."""
        return self._verdict is not None and (self._refusal is not None or not self._verdict.is_set())

    async def await_verdict(self) -> None:
        """Wait for the steps that may refuse during the provider's work. Raises ``GatewayError`` for a refusal, and at
        the end of the drain."""
        if self._verdict is None:
            return
        await self._until_drained(self._verdict.wait)
        if self._refusal is not None:
            raise self._refusal


async def _until_refused(
    steps: Iterable[LoadedStep],
    judge: Callable[[LoadedStep], Awaitable[None]],
    refuse: Callable[[GatewayError], object],
) -> None:
    """Run ``judge`` for all ``steps`` simultaneously. The first refusal, for ``refuse``, cancels the others."""

    async def run(step: LoadedStep, scope: trio.CancelScope) -> None:
        try:
            await judge(step)
        except GatewayError as error:
            refuse(error)
            scope.cancel()

    async with trio.open_nursery() as nursery:
        for step in steps:
            nursery.start_soon(run, step, nursery.cancel_scope)


def unreadable_path(step: LoadedStep, unreadable: Mapping[str, Part | None]) -> str | None:
    """Return the path of ``unreadable`` content that ``step`` must check and cannot read, ``None`` without any.

    A step for media gets the bytes of each file, so it can read them."""
    for path, part in unreadable.items():
        if part is None or (part in step.parts and "media" not in step.parts):
            return path
    return None


def _seen_passages(step: LoadedStep, texts: CheckedTexts) -> Sequence[Passage]:
    parts, passages = step.parts, texts.passages
    for one in passages:
        if one.part not in parts:
            passages = [one for one in passages if one.part in parts]
            break
    return [one for one in passages if texts.is_latest(one)] if step.settings.latest else passages
