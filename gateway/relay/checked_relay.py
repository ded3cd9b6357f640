"""Relayed responses that steps check. Imported only where steps are configured."""

from collections.abc import Callable
from typing import Final

import trio

from gateway.access.body_memory import UNCOUNTED
from gateway.exchange.attempt_answer import Pieces, count_answer
from gateway.exchange.target_request import AnswerSource
from gateway.features.steps.answer_texts import AnswerTexts, PlainAnswer, is_sound, read_answer
from gateway.features.steps.relayed_stream import RelayedStream
from gateway.features.steps.runner import StepFailed
from gateway.features.steps.verdicts import RefusedByStep, unavailable
from gateway.http.offload import offload
from gateway.http.request_scope import RequestScope
from gateway.relay.relayed_answer import RelayedAnswer
from gateway.relay.relaying import RelayedRequest
from gateway.upstream.response import UpstreamResponse
from streams.sse import SSE

TOO_LONG: Final = "too_long"


class CheckedRelayedAnswer(RelayedAnswer):
    """A relayed response that its steps check: an event stream is released as they allow, any other response is held
    until they have checked all of it. Steps that only report hold nothing."""

    def __init__(
        self,
        request: RelayedRequest,
        source: AnswerSource,
        scope: RequestScope,
        pass_keep_alive: Callable[[], object],
    ) -> None:
        """Prepare the response. ``pass_keep_alive`` is called for the provider's comments."""
        super().__init__(request, source, scope)
        self._pass_keep_alive = pass_keep_alive
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
        self._stream: RelayedStream | None = None
        self._stream_ended = trio.Event()
        self._is_reading = False
        self._counted_held = UNCOUNTED
        self._cut_scope = trio.CancelScope()
        self._is_cut = False
        self._is_too_long = False

    async def verdict(self) -> bool:
        if self._stream is not None:
            await self._stream_ended.wait()
        return self._is_clean

    @property
    def _holds_response(self) -> bool:
        return bool(self._enforcing) or self._checks.restores or self._session.awaits_verdict

    async def open_response(self, response: UpstreamResponse) -> None:
        await super().open_response(response)
        if self._stream is None and SSE.matches_type(self._content_type):
            keep = None if self._context.content is None or not self._checks.restores else self._context.content
            if keep is not None:
                keep.keep_unrestored(b"")
            self._stream = RelayedStream(
                self._checks, self._endpoint, self._context.service.limits.event, self._cut_stream,
                None if keep is None else keep.keep_unrestored, self._pass_keep_alive,
            )  # fmt: skip

    async def read_first(self) -> bytes:
        if self._stream is not None or not self._holds_response:
            return await super().read_first()
        if is_sound(self._endpoint, self._content_type):
            if self._session.awaits_verdict:
                await self._session.await_verdict()
            return await super().read_first()
        return await self._checked_body()

    @property
    def _endpoint(self) -> str:
        return self._context.record.endpoint or ""

    @property
    def _content_type(self) -> str:
        return next((value for name, value in self.client_headers if name == "content-type"), "")

    async def read_next(self, read_pieces: Pieces | None = None) -> bytes:
        if self._stream is not None:
            return await self._read_released(self._stream, read_pieces)
        out = await super().read_next(read_pieces)
        if self._reporting and not self._holds_response:
            self._keep_passed(out)
        return out

    async def aclose(self) -> None:
        await super().aclose()
        if not self._is_reading:
            self._end_stream(is_clean=False)

    # Event streams

    async def _read_released(self, stream: RelayedStream, read_pieces: Pieces | None) -> bytes:
        """Return the next released bytes. Raises ``GatewayError`` for a refusal."""
        self._is_reading = True
        try:
            out = await self._read_uncut(stream, read_pieces)
            if self._checks.may_wait:
                self.source.watch.pause()
            released = await stream.feed(out) + await self._count_held(stream)
            if self.is_over:
                await self.complete()  # a refused response is billed, too
                released += await stream.end()
            if released and self._session.awaits_verdict:
                await self._session.await_verdict()
        except RefusedByStep as refused:
            self._checks.note_refusal(refused)
            self._end_stream(is_clean=False)
            raise
        except BaseException:
            self._end_stream(is_clean=False)
            raise
        finally:
            self._is_reading = False
        if self.is_over:
            self._end_stream(is_clean=not stream.chain.has_masked and not self._is_too_long)
        return released

    async def _read_uncut(self, stream: RelayedStream, read_pieces: Pieces | None) -> bytes:
        """Return the provider's next bytes. Raises the refusal that cuts the stream."""
        self.source.watch.restart_idle_limit()
        with trio.CancelScope() as self._cut_scope:
            if self._is_cut:
                self._cut_scope.cancel()
            if out := await super().read_next(read_pieces):
                self.source.watch.lift_content_limit()
            return out
        await stream.feed(b"")
        raise AssertionError("only a refusal cuts the stream")

    def _cut_stream(self) -> None:
        self._is_cut = True  # also for the next read
        self._cut_scope.cancel()

    async def _count_held(self, stream: RelayedStream) -> bytes:
        """Account for the memory of the events that wait for a step, and return the bytes that this releases.

        Beyond the limit, report to each step that it cannot check the response, and release the events."""
        limit = self._context.service.limits.answer
        if stream.passed > limit:
            for name in stream.chain.drop_watchers():
                self._session.records.of(name, "response").note_too_long()
        if stream.held > limit:
            for stage in stream.chain.holding_stages():
                self._session.note_failure(StepFailed(stage.step, TOO_LONG))
                stage.is_bypassed = self._is_too_long = True
            return await stream.feed(b"")
        if stream.held > self._counted_held:
            self._counted_held = await count_answer(self._context, self.scope, stream.held, self.source.watch)
        return b""

    def _end_stream(self, *, is_clean: bool) -> None:
        """Record whether the response passed unchanged, for the cache; only the first call counts."""
        if self._stream is not None and not self._stream_ended.is_set():
            self._is_clean = is_clean
            self._stream_ended.set()

    # Responses that are held

    async def _checked_body(self) -> bytes:
        """Return the client's bytes after the verdict of all steps. Raises ``GatewayError`` for a refusal."""
        held: list[bytes] = []
        size, counted, watch = 0, UNCOUNTED, self.source.watch
        while not self.is_over:
            out = await self.read_next(self.read_pieces)
            held.append(out)
            size += len(out)
            if size > self._context.service.limits.answer:
                return self._unchecked_body(held)
            if size > counted:
                counted = await count_answer(self._context, self.scope, size, watch)
        watch.lift_content_limit()
        watch.pause()
        await self.complete()  # a refused response is billed, too
        return await self._check_body(b"".join(held))

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

    async def _check_body(self, body: bytes) -> bytes:
        texts = await self._texts_of(body)
        content = self._context.content
        keep = None if content is None else lambda one: content.keep_unrestored(one.body)
        checked = await self._checks.check_texts(texts, keep)
        self._is_clean = not self._checks.masked
        if checked is not texts:
            self.client_headers = tuple(
                pair for pair in self.client_headers if pair[0] not in ("content-length", "etag")
            )
        return checked.body

    async def _texts_of(self, body: bytes) -> AnswerTexts | PlainAnswer:
        return await offload(len(body), read_answer, self._endpoint, self._content_type, body)

    # Responses that pass

    def _keep_passed(self, out: bytes) -> None:
        """Keep ``out`` for the steps that only report, which begin after the last bytes."""
        limit = self._context.service.limits.answer
        self._passed_size += len(out)
        if self._passed_size <= limit:
            self._passed.append(out)
        else:
            self._passed.clear()
        if self.is_over and self._passed_size <= limit:
            self._session.spawn_report(self._report_passed)
        elif self.is_over:
            for step in self._reporting:
                self._session.records.of(step.name, "response").note_too_long()

    async def _report_passed(self) -> None:
        texts = await self._texts_of(b"".join(self._passed))
        await self._session.check_texts(self._reporting, texts, "response")
