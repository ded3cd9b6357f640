"""Responses of other endpoints than conversations, as their steps release them: each a ``Transform``."""

from gateway.access.body_memory import UNCOUNTED
from gateway.features.steps.answer_texts import read_answer
from gateway.features.steps.relayed_stream import TOO_LONG
from gateway.features.steps.response_steps import ResponseSteps
from gateway.features.steps.transforms import StepTransform
from gateway.features.steps.verdicts import unavailable
from gateway.http.offload import offload
from gateway.seams.open_response import OpenedResponse


class PassedBody(StepTransform):
    """A response that passes after the verdict of the steps that run during the provider's work. Steps that only report
    see it after its end."""

    def __init__(self, checks: ResponseSteps, opened: OpenedResponse) -> None:
        super().__init__()
        self.may_wait = checks.session.awaits_verdict
        self._session = checks.session
        self._opened = opened
        self._reporting = () if checks.holds_responses else checks.steps
        self._passed: list[bytes] = []
        self._size = 0

    async def feed(self, data: bytes) -> bytes:
        if self._session.awaits_verdict:
            await self._session.await_verdict()
        self._size += len(data)
        if self._reporting and self._size <= self._opened.answer_limit:
            self._passed.append(data)
        else:
            self._passed.clear()
        return data

    async def end(self) -> bytes:
        self.is_clean = True
        if self._reporting and self._size <= self._opened.answer_limit:
            self._session.spawn_report(self._report)
        else:
            for step in self._reporting:
                self._session.records.of(step.name, "response").note_too_long()
        return b""

    async def _report(self) -> None:
        body = b"".join(self._passed)
        texts = await offload(len(body), read_answer, self._opened.api, self._opened.content_type, body)
        await self._session.check_texts(self._reporting, texts, "response")


class HeldRelayedBody(StepTransform):
    """A response that is held until its steps have checked all of it. A longer one than ``limits.answer`` passes
    unchecked, if no step refuses that."""

    def __init__(self, checks: ResponseSteps, opened: OpenedResponse) -> None:
        super().__init__()
        self._checks = checks
        self._opened = opened
        self._held: list[bytes] = []
        self._size = 0
        self._counted: float = UNCOUNTED
        self._is_too_long = False

    async def feed(self, data: bytes) -> bytes:
        if self._is_too_long:
            return data
        self._held.append(data)
        self._size += len(data)
        if self._size > self._opened.answer_limit:
            return self._pass_unchecked()
        if self._size > self._counted:
            self._counted = await self._opened.count_held(self._size)
        return b""

    async def end(self) -> bytes:
        if self._is_too_long:
            return b""
        body, opened = b"".join(self._held), self._opened
        texts = await offload(len(body), read_answer, opened.api, opened.content_type, body)
        checked = await self._checks.check_texts(texts, opened.keep_public)
        self.has_changed, self.is_clean = checked is not texts, not self._checks.masked
        return checked.body

    def _pass_unchecked(self) -> bytes:
        """Return what has arrived of a response that is too long for a check, or raise ``GatewayError``."""
        steps = self._checks.steps
        for step in steps:
            record = self._checks.session.records.of(step.name, "response")
            record.failure = TOO_LONG
            record.add("reported" if step.only_reports else "unchecked")
        if closing := [step for step in steps if not step.only_reports and step.unchecked == "refuse"]:
            raise unavailable(closing[0].name, TOO_LONG, 1)
        self._is_too_long = True
        held, self._held = b"".join(self._held), []
        return held
