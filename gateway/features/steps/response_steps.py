"""The steps for a response: the check of a complete one, and the stages that check a stream."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any, Final, Protocol, TypeVar

import attrs
import msgspec

from gateway.features.steps.answer_texts import read_answer
from gateway.features.steps.chain import Chain, plain_scan
from gateway.features.steps.gate import stop_answer
from gateway.features.steps.holding import HoldingStage
from gateway.features.steps.json_texts import KeyMasked
from gateway.features.steps.loaded import AnswerSteps, LoadedStep
from gateway.features.steps.masks import Span
from gateway.features.steps.response_texts import UnreadTexts, response_texts
from gateway.features.steps.runs import UNREAD, Run, RunBuilder
from gateway.features.steps.session import CheckedTexts, StepSession
from gateway.features.steps.stages import (
    FlowingStage,
    RestoringStage,
    TailStage,
    WatchingStage,
    WholeStage,
    WindowStage,
    apply_masks,
)
from gateway.features.steps.verdicts import RefusedByStep
from gateway.http.offload import LARGE, offload
from gateway.seams.observers import Observers
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo, Event, NativeItem
from trigate.steps import Passage


class BodyTexts(CheckedTexts, Protocol):
    """The texts of ``body``."""

    @property
    def body(self) -> bytes: ...


B = TypeVar("B", bound=BodyTexts)

_ANSWERED: Final = frozenset(("assistant", "other"))
"""The parts that a provider's error may quote."""


class ResponseSteps:
    """The steps for the response of one attempt.

    ``restores``: the client gets its own values back. ``translates``: the client's lane is the hub lane, which it also
    is if a step may change events. ``keeps_events``: an observer wants the events without restored values."""

    def __init__(
        self,
        session: StepSession,
        applied: AnswerSteps,
        *,
        restores: bool,
        keeps_events: bool = False,
        translates: bool = False,
    ) -> None:
        self.session = session
        self.steps = applied.steps
        self.restores = restores
        self.unrestored: dict[int, list[Event]] = {}
        """The released events of each choice before values were restored, if an observer wants them."""
        self._keeps_events = restores and keeps_events
        self.translates = translates or restores or applied.may_change
        self.masked = False
        """True if anything was masked."""
        self.unread: UnreadTexts | None = None
        """The finder of strings in the response that are in no event, ``None`` before ``unread_texts``."""
        self.may_cut = applied.may_cut
        self.may_wait = applied.may_wait or session.awaits_verdict
        self.holds_whole = applied.holds_whole
        self._plain_kinds = applied.plain_kinds
        self._withheld: ErrorInfo | None = None
        """The last error of the provider without its texts."""

    @property
    def holds_responses(self) -> bool:
        """Whether a response of another endpoint waits for a step."""
        return self.restores or any(not step.only_reports for step in self.steps)

    async def await_verdict(self) -> None:
        await self.session.await_verdict()

    def restored_members(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        return self.session.restored_members(members) if self.restores else members

    def keep_public_events(self, public: Observers) -> None:
        if self.restores:
            public.note_public_events(self.unrestored)

    # Complete responses

    async def check_whole(
        self, choices: Sequence[Sequence[Event]], size: int, own: tuple[Api, bytes] | None = None
    ) -> Sequence[Sequence[Event]]:
        unread = [] if own is None else await self.unread_texts(*own, dict(enumerate(choices)))
        released = checked = [[*unread, *choices[0]], *choices[1:]] if unread else choices
        for events in choices:
            if events and type(events[-1]) is ErrorInfo:
                return choices
        try:
            if self.session.awaits_verdict:
                await self.session.await_verdict()
            runs = None
            for step in self.steps:
                runs = await offload(size, self._runs_of, released) if runs is None else runs
                passages = await offload(size, _passages_of, runs, step)
                if step.only_reports:
                    self.session.report(step, passages)
                elif passages and any(found := await self.session.judge(step, passages)):
                    released, runs = await self._masked_choices(step, released, found, size), None
        except RefusedByStep as refused:
            if refused.stop_text is None:
                raise
            stopped = stop_answer(released[0], refused.stop_text)
            self.keep_events(0, stopped)
            return [stopped]
        if self.restores:
            released = await self._with_restored_values(released)
        if released is checked or not unread:
            return choices if released is checked else released
        return [[one for one in events if type(one) is not NativeItem or one.kind != UNREAD] for events in released]

    async def _with_restored_values(self, choices: Sequence[Sequence[Event]]) -> Sequence[Sequence[Event]]:
        """Return ``choices`` with the client's values, the same object without any: its provider's bytes can pass."""
        for at, events in enumerate(choices):
            self.keep_events(at, events)
        stages = [RestoringStage(self.session.placeholders, self._builder(at, 1)) for at in range(len(choices))]
        restored = [await stage.feed(events) for stage, events in zip(stages, choices, strict=True)]
        return restored if any(stage.masked for stage in stages) else choices

    async def check_body(self, api: str, body: bytes, public: Observers) -> bytes:
        texts = await offload(len(body), read_answer, api, "application/json", body)
        return (await self.check_texts(texts, public.note_public_bytes)).body

    async def check_texts(self, texts: B, keep: Callable[[bytes], object] | None) -> B:
        """Return ``texts``, those of a complete body, with their masks and then the client's own values. ``keep`` gets
        the body before values return to the client.

        Raises ``GatewayError`` for a refusal."""
        if self.session.awaits_verdict:
            await self.session.await_verdict()
        checked = texts
        for reports, group in groupby(self.steps, key=attrgetter("only_reports")):
            if reports:
                self.session.spawn_report(partial(self.session.check_texts, tuple(group), checked, "response"))
            else:
                checked = await self.session.check_texts(tuple(group), checked, "response")
        self.masked = checked is not texts
        if not self.restores:
            return checked
        if keep is not None:
            keep(checked.body)
        if edits := self.session.restoring_edits(checked.passages):
            with suppress(KeyMasked):  # a name of a member stays
                checked = await checked.with_edits(edits)
        return checked

    def _runs_of(self, choices: Sequence[Sequence[Event]]) -> list[Run]:
        """Return the texts of a complete response."""
        found: list[Run] = []
        for at, events in enumerate(choices):
            found += self._builder(at, len(choices)).complete_runs(events)
        return found

    async def _masked_choices(
        self, step: LoadedStep, choices: Sequence[Sequence[Event]], found: Sequence[Sequence[Span]], size: int
    ) -> list[Sequence[Event]]:
        """Return ``choices``, of ``size`` bytes, with the masks that ``step`` found in each of its runs. Raises
        ``RefusedByStep`` for a mask that the response cannot express."""
        stages = [WholeStage(step, self.session, self._builder(at, len(choices))) for at in range(len(choices))]
        for stage, events in zip(stages, choices, strict=True):
            await offload(size, stage.add, events)
        await apply_masks(stages, found)
        released: list[Sequence[Event]] = [await stage.drain_in_turns() for stage in stages]
        self.masked = self.masked or any(stage.masked for stage in stages)
        return released

    async def unread_texts(self, api: Api, data: bytes, read: Mapping[int, Sequence[Event]]) -> list[Event]:
        """Return the texts in a provider's bytes that ``read``, their events by choice, do not have, as one item."""
        if not self.steps:
            return []
        if self.unread is None:
            self.unread = UnreadTexts(api)
        events = read[0] if len(read) == 1 and 0 in read else [event for events in read.values() for event in events]
        find = self.unread.find
        texts = find(data, events) if len(data) <= LARGE else await offload(len(data), find, data, events)
        return [NativeItem(-1, api, UNREAD, tuple(texts))] if texts else []

    async def check_error(self, error: GatewayError, body: bytes = b"") -> GatewayError:
        info = error.info
        if isinstance(error, RefusedByStep) or info is self._withheld or (info.reason is None and not body):
            return error  # it is the gateway's own
        checked = await self.check_failure(info, body or info.body)
        return error if checked is info else GatewayError.of(checked)

    async def check_failure(self, error: ErrorInfo, data: bytes = b"") -> ErrorInfo:
        """Return a provider's ``error``, without its texts if a step masks or refuses any of them. ``data`` are the
        provider's bytes that the client would get.

        This is no refusal, because the request has failed already and another attempt may follow."""
        passages = [Passage("other", "error.message", error.message)]
        if error.details is not None:
            passages.append(Passage("other", "error.details", msgspec.json.encode(error.details).decode()))
        if data:
            texts = await offload(len(data), response_texts, self.session.api, data)
            passages += [one for one in texts if one.text != error.message]
        for step in self.steps:
            if step.parts & _ANSWERED and not step.only_reports and await self.session.withholds(step, passages):
                message = f"the provider failed; the step {step.name} withheld the text of its error"
                self._withheld = attrs.evolve(
                    error, message=message, param=None, details=None, native=False, body=b"", log_message=None
                )
                return self._withheld
        return error

    # Streams

    def chain(self, cut: Callable[[], object], choice: int = 0) -> Chain:
        """Return the stages of a stream. ``cut`` ends it after a refusal by a step that holds nothing."""
        make_builder = partial(self._builder, choice, choice + 1)
        stages: list[HoldingStage] = [self._stage(step, make_builder(), cut) for step in self.steps]
        if self.restores:
            restoring = RestoringStage(self.session.placeholders, make_builder())
            restoring.keep = partial(self.keep_events, choice) if self._keeps_events else None
            stages.append(restoring)
        if self._keeps_events or self._plain_kinds is None:
            return Chain(stages)
        return Chain(stages, plain_scan(self._plain_kinds, restores=self.restores))

    def keep_events(self, choice: int, events: Sequence[Event]) -> None:
        """Keep released ``events`` for an observer that wants them."""
        if self._keeps_events:
            self.unrestored.setdefault(choice, []).extend(events)

    def _builder(self, choice: int, choices: int) -> RunBuilder:
        prefix = f"choices[{choice}]." if choices > 1 else ""
        return RunBuilder(prefix, self.session.api)

    def _stage(self, step: LoadedStep, builder: RunBuilder, cut: Callable[[], object]) -> HoldingStage:
        session = self.session
        if step.only_reports:
            return WatchingStage(step, session, builder)
        match step.hold:
            case "whole":
                return WholeStage(step, session, builder)
            case "tail":
                return TailStage(step, session, builder)
            case "nothing":
                return FlowingStage(step, session, cut, builder)
            case _:
                return WindowStage(step, session, builder)


def _passages_of(runs: Sequence[Run], step: LoadedStep) -> tuple[Passage, ...]:
    """Return the complete texts that ``step`` sees."""
    return tuple([run.passage(0) for run in runs if run.part in step.parts])
