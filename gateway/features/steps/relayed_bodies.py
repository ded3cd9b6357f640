"""Responses of other endpoints than conversations, as their steps release them."""

from functools import partial

from gateway.access.body_memory import UNCOUNTED
from gateway.features.steps.answer_texts import AnswerTexts, PlainAnswer, StreamAnswer, read_answer
from gateway.features.steps.response_steps import ResponseSteps
from gateway.features.steps.runner import StepFailed
from gateway.features.steps.transforms import StepTransform
from gateway.http.offload import offload
from gateway.seams.open_response import OpenedResponse


class RelayedBody(StepTransform):
    """A body or an event stream: a ``Transform``. If it ``holds`` the response, its steps check all of it first.

    Otherwise the response passes after the verdict of the steps that run during the provider's work, and steps that
    only report see it after its end. A response longer than ``limits.answer`` passes unchecked, if no step refuses
    that."""

    def __init__(self, checks: ResponseSteps, opened: OpenedResponse, *, holds: bool) -> None:
        super().__init__()
        self.may_wait = holds or checks.session.awaits_verdict
        self._checks = checks
        self._session = checks.session
        self._opened = opened
        self._holds = holds
        self._keeps = holds or (bool(checks.steps) and not checks.holds_responses)
        self._kept: list[bytes] = []
        self._size = 0
        self._counted: float = UNCOUNTED

    async def feed(self, data: bytes) -> bytes:
        if not self._holds and self._session.awaits_verdict:
            await self._session.await_verdict()
        if not self._keeps:
            return data
        self._kept.append(data)
        self._size += len(data)
        if self._size > self._opened.answer_limit:
            await self._session.await_verdict()
            return self._pass_unchecked()
        if not self._holds:
            return data
        if self._size > self._counted:
            self._counted = await self._opened.count_held(self._size)
        return b""

    async def end(self) -> bytes:
        self.is_clean = not self._holds
        if not self._keeps:
            return b""
        body, opened = b"".join(self._kept), self._opened
        if not self._holds:
            self._session.spawn_report(partial(self._report, body))
            return b""
        texts = await self._read(body)
        checked = await self._checks.check_texts(texts, opened.keep_public)
        self.has_changed, self.is_clean = checked is not texts, not self._checks.masked
        return checked.body

    async def _report(self, body: bytes) -> None:
        await self._session.check_texts(self._checks.steps, await self._read(body), "response")

    async def _read(self, body: bytes) -> AnswerTexts | PlainAnswer | StreamAnswer:
        return await offload(len(body), read_answer, self._opened.api, self._opened.content_type, body)

    def _pass_unchecked(self) -> bytes:
        """Return what has arrived and not passed of a response that is too long for a check, or raise
        ``GatewayError``."""
        for step in self._checks.steps:
            if step.only_reports:
                self._session.records.of(step.name, "response").note_too_long()
            else:
                self._session.note_failure(StepFailed(step, "too_long"))
        passed = b"".join(self._kept if self._holds else self._kept[-1:])
        self._keeps = False
        self._kept.clear()
        return passed
