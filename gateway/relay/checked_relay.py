"""Relayed responses that steps check. Imported only where steps are configured."""

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Self

import trio

from gateway.access.body_memory import UNCOUNTED
from gateway.exchange.attempt_answer import Pieces, Verdict, count_answer
from gateway.exchange.target_request import AnswerSource
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.relay.relayed_answer import RelayedAnswer
from gateway.relay.relaying import RelayedRequest
from gateway.steps.answer_texts import AnswerTexts, answer_texts, is_sound
from gateway.steps.json_texts import KeyMasked
from gateway.steps.loaded import LoadedStep
from gateway.steps.session import PassageEdit
from gateway.steps.verdicts import unavailable
from trigate.steps import Passage

TOO_LONG = "too_long"


class RelayedTexts:
    """The texts of a complete response; media have none. ``body`` are its bytes with all edits."""

    unreadable = ()

    def __init__(self, endpoint: str, content_type: str, event_limit: int, body: bytes) -> None:
        self.body = body
        self._source = endpoint, content_type, event_limit
        self._texts: AnswerTexts | None = answer_texts(endpoint, content_type, body, event_limit)

    @property
    def passages(self) -> Sequence[Passage]:
        return () if self._texts is None else self._texts.passages

    def is_latest(self, passage: Passage) -> bool:
        return True

    async def with_edits(self, edits: Sequence[PassageEdit]) -> Self:
        assert self._texts is not None, "it has passages"
        body = await offload(len(self.body), self._texts.replace, edits)
        endpoint, content_type, event_limit = self._source
        return await offload(len(body), type(self), endpoint, content_type, event_limit, body)


class CheckedRelayedAnswer(RelayedAnswer):
    """A relayed response that is held until its steps have checked all of it. Steps that only report hold nothing."""

    def __init__(self, request: RelayedRequest, source: AnswerSource, scope: RequestScope) -> None:
        super().__init__(request, source, scope)
        checks = source.target_request.checks
        assert checks is not None, "it is checked"
        self._checks = checks
        self._session = checks.session
        self._context = source.target_request.context
        self._enforcing = [step for step in checks.steps if not step.only_reports]
        self._reporting = [step for step in checks.steps if step.only_reports]
        self._is_clean = True
        self._passed: list[bytes] = []  # to the client, for steps that only report
        self._passed_size = 0

    @property
    def verdict(self) -> Verdict:
        return self._has_passed_unchanged

    async def _has_passed_unchanged(self) -> bool:
        return self._is_clean

    @property
    def _holds(self) -> bool:
        return bool(self._enforcing) or self._checks.restores or self._session.awaits_verdict

    async def read_first(self) -> bytes:
        if not self._holds:
            return await super().read_first()
        if is_sound(self._endpoint, self._kind):
            if self._session.awaits_verdict:
                await self._session.verdict_during()
            return await super().read_first()
        return await self._checked_body()

    @property
    def _endpoint(self) -> str:
        return self._context.record.endpoint or ""

    @property
    def _kind(self) -> str:
        return next((value for name, value in self.headers if name == "content-type"), "")

    async def read_next(self, read_pieces: Pieces | None = None) -> bytes:
        out = await super().read_next(read_pieces)
        if self._reporting and not self._holds:
            self._note_passed(out)
        return out

    # Responses that are held

    async def _checked_body(self) -> bytes:
        """Return the client's bytes after the verdict of all steps. Raises ``GatewayError`` for a refusal."""
        held: list[bytes] = []
        size, counted, watch = 0, UNCOUNTED, self.source.watch
        while not self.is_over:
            out = await self.read_next(self.read_pieces)
            held.append(out)
            size += len(out)
            if out and self.is_stream:
                watch.lift_content_limit()
            if size > self._context.service.limits.answer:
                return self._unchecked_body(held)
            if size > counted:
                counted = await count_answer(self._context, self.scope, size, watch)
        watch.lift_content_limit()
        watch.pause()
        if (on_whole := self.on_complete) is not None:  # a refused response is billed, too
            self.on_complete = None
            await on_whole()
        return await self._check(b"".join(held))

    def _unchecked_body(self, held: list[bytes]) -> bytes:
        """Return what has arrived of a response that is too long for a check, or raise ``GatewayError``."""
        for step in self._checks.steps:
            record = self._session.records.of(step.name, "response")
            record.failure = TOO_LONG
            record.add("reported" if step.only_reports else "unchecked")
        if closing := [step for step in self._enforcing if step.unchecked == "refuse"]:
            raise unavailable(closing[0].name, TOO_LONG, 1)
        self._is_clean = False
        self._passed_size = self._context.service.limits.answer
        return b"".join(held)

    async def _check(self, body: bytes) -> bytes:
        if self._session.awaits_verdict:
            await self._session.verdict_during()
        texts = await self._texts_of(body)
        checked = await self._session.check_texts(self._enforcing, texts, "response")
        if self._reporting:
            self._session.spawn(partial(self._report, self._reporting, checked))
        self._is_clean = checked is texts
        if self._checks.restores and self._context.content is not None:
            self._context.content.keep_unrestored(checked.body)
        if self._checks.restores and (edits := self._session.restoring_edits(checked.passages)):
            with contextlib.suppress(KeyMasked):  # a name of a member stays
                checked = await checked.with_edits(edits)
        if checked is not texts:
            self.headers = tuple(pair for pair in self.headers if pair[0] not in ("content-length", "etag"))
        return checked.body

    async def _texts_of(self, body: bytes) -> RelayedTexts:
        event_limit = self._context.service.limits.event
        return await offload(len(body), RelayedTexts, self._endpoint, self._kind, event_limit, body)

    # Responses that pass

    def _note_passed(self, out: bytes) -> None:
        """Keep ``out`` for the steps that only report, which begin after the last bytes."""
        limit = self._context.service.limits.answer
        self._passed_size += len(out)
        if self._passed_size <= limit:
            self._passed.append(out)
        else:
            self._passed.clear()
        if self.is_over and self._passed_size <= limit:
            self._session.spawn(self._report_passed)
        elif self.is_over:
            for step in self._reporting:
                record = self._session.records.of(step.name, "response")
                record.failure = TOO_LONG
                record.add("reported")

    async def _report_passed(self) -> None:
        with trio.CancelScope(shield=True):
            texts = await self._texts_of(b"".join(self._passed))
        await self._report(self._reporting, texts)

    async def _report(self, steps: Sequence[LoadedStep], texts: RelayedTexts) -> None:
        """Call steps that only report, although the client may have left with its complete response."""
        with trio.CancelScope(shield=True) as scope, self._context.service.lifecycle.track_pump(scope):
            await self._session.check_texts(steps, texts, "response")
