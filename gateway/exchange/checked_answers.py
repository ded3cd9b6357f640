"""Responses that steps check before the client gets them. Imported only where steps are configured."""

from collections.abc import AsyncIterator, Sequence
from functools import partial

import attrs
import trio

from gateway.conversations.recorder import UNRECORDED, TurnRecorder
from gateway.exchange.answering import (
    is_stream,
    read_other_events,
    released_lane,
    write_client_answer,
)
from gateway.exchange.attempt_answer import UnchangedAnswer, count_answer
from gateway.exchange.checking import with_members
from gateway.exchange.origin import AnswerOrigin
from gateway.exchange.planned import StoppedAnswer
from gateway.exchange.stream import StartedStream, StreamedAnswer
from gateway.exchange.target_request import AnswerSource
from gateway.exchange.whole_answer import WholeAnswer
from gateway.features.steps.answer_texts import read_answer
from gateway.features.steps.checked_stream import CheckedStream, StreamSource
from gateway.features.steps.runs import UNREAD
from gateway.features.steps.verdicts import RefusedByStep
from gateway.http.offload import offload
from gateway.ledger.record import Record
from gateway.streaming.keep_alive import CountedLane
from gateway.streaming.lane import Lane
from gateway.streaming.passthrough import Passthrough
from gateway.streaming.released import frame_of
from gateway.upstream.response import UpstreamResponse
from providers.apis import CODECS
from providers.neutral.tool_names import restore_name
from streams.errors import GatewayError
from streams.events import Event, NativeItem
from streams.fold import Fold


class CheckedWholeAnswer(WholeAnswer):
    """A complete response that its steps have checked."""

    keeps_events = True

    async def begin(self) -> None:
        try:
            await super().begin()
        except GatewayError as error:
            raise await check_error(self.source, error) from None
        request = self.source.target_request
        checks = request.checks
        assert checks is not None, "it is checked"
        if self.error is not None:
            if checks.session.awaits_verdict:
                await checks.session.await_verdict()
            if (checked := await checks.check_failure(self.error, self.body)) is not self.error:
                raise GatewayError.of(checked)
            return
        may_pass = self.lane_name == "byte"  # the client may get the provider's bytes
        choices = [self._folded.events]
        if may_pass or request.choices > 1:
            size = len(self.body) + request.request.incoming.size
            choices += await offload(size, read_other_events, request, self.response, self.body)
        if may_pass:
            unread = await checks.unread_texts(request.target.api, self.body, dict(enumerate(choices)))
            choices[0] = [*unread, *choices[0]]
        released = await checks.check_whole(choices, len(self.body))
        if released is choices and may_pass:
            return
        self.lane_name = "hub"
        first, *others = [_fold(events) for events in released]
        self._folded = attrs.evolve(self._folded, fold=first, lane="hub")
        self._other_choices = [one.answer() for one in others]

    async def write_for_client(self, record: Record) -> bytes:
        _keep_events(self.source)
        return await super().write_for_client(record)

    async def verdict(self) -> bool:
        """Return whether the steps, which have ended, masked nothing."""
        checks = self.source.target_request.checks
        return checks is not None and not checks.masked


class CheckedUnchangedAnswer(UnchangedAnswer):
    """A body that is read completely, after the verdict of the steps that run during the provider's work."""

    async def begin(self) -> None:
        try:
            await super().begin()
        except GatewayError as error:
            raise await check_error(self.source, error) from None
        checks = self.source.target_request.checks
        if checks is not None and checks.session.awaits_verdict:
            await checks.session.await_verdict()


async def check_body(source: AnswerSource, body: bytes) -> bytes:
    """Return ``body``, JSON for the client in its API, with the masks of its steps and the client's own values.

    Raises ``GatewayError`` for a refusal."""
    request = source.target_request
    if (checks := request.checks) is None:
        return body
    content = request.context.content
    keep = None if content is None else lambda one: content.keep_unrestored(one.body)
    texts = await offload(len(body), read_answer, request.context.codec.api, "application/json", body)
    return (await checks.check_texts(texts, keep)).body


async def check_error(source: AnswerSource, error: GatewayError) -> GatewayError:
    """Return the ``error`` of an attempt, without the provider's texts if a step masks or refuses any of them."""
    checks, info = source.target_request.checks, error.info
    if checks is None or isinstance(error, RefusedByStep) or info.reason is None:  # the steps' own errors
        return error
    checked = await checks.check_failure(info, info.body)
    return error if checked is info else GatewayError.of(checked)


def _fold(events: Sequence[Event]) -> Fold:
    folded = Fold()
    for event in events:
        if type(event) is not NativeItem or event.kind != UNREAD:  # only the provider's bytes have these texts
            folded.add(event)
    return folded


class CheckedStartedStream(StartedStream):
    """A stream whose text its steps release.

    ``chunks`` returns what the lane reads: the provider's events, or released events if the steps may change them."""

    keeps_pieces = True
    _stream: CheckedStream
    _released: AsyncIterator[bytes] | None = None
    has_begun = False

    async def begin(self) -> None:
        checks = self.source.target_request.checks
        if checks is not None and checks.translates:
            self.lane_name = "hub"
        try:
            await super().begin()
        except GatewayError as error:
            if self._released is not None:
                await self._released.aclose()  # type: ignore[attr-defined]
            raise await check_error(self.source, error) from None
        except BaseException:
            if self._released is not None:
                await self._released.aclose()  # type: ignore[attr-defined]
            raise
        finally:
            self.has_begun = True
            if self._released is not None:
                self.usage = self._stream.unsent_usage()

    def chunks(self) -> AsyncIterator[bytes]:
        if self._released is None:
            request = self.source.target_request
            checks, names, limits = request.checks, request.prepared.names, request.context.service.limits
            assert checks is not None, "it is checked"
            source = StreamSource(
                CODECS[request.target.api], request.target.framing, limits.event, limits.answer,
                partial(restore_name, names=names) if names else None, self._count_held,
                has_choices=request.choices > 1,
            )  # fmt: skip
            self._stream = CheckedStream(checks, source, self.source.watch, self._note_usage, self.pass_keep_alive)
            streamed = is_stream(request, self.response.header("content-type"))
            pieces = _CheckedPieces(self)
            self._released = self._stream.chunks(pieces) if streamed else self._stream.whole_chunks(pieces)
        return self._released

    async def _choose_lane(self, response: UpstreamResponse) -> Lane:
        lane = await super()._choose_lane(response)
        self.chunks()
        passing = lane.lane if isinstance(lane, CountedLane) else lane
        if isinstance(passing, Passthrough):
            released = self._stream.released_reader
            passing.use_reader(released, released.text_of)
        lane.progress.unsent_usage = self._stream.unsent_usage
        return lane

    async def verdict(self) -> bool:
        """Wait until the steps have released the whole response, and return whether they masked nothing."""
        await self._stream.ended.wait()
        return self._stream.is_clean

    async def aclose(self) -> None:
        if self._released is not None:
            with trio.CancelScope(shield=True):
                await self._released.aclose()  # type: ignore[attr-defined]
        await super().aclose()

    async def _count_held(self, size: int) -> int:
        return await count_answer(self.source.target_request.context, self.scope, size, self.source.watch)

    def _note_usage(self) -> None:
        """Report what a refused response costs: its events with the usage are not released."""
        progress = self.lane.progress
        progress.usage, progress.characters = self._stream.usage, self._stream.characters


class _CheckedPieces:
    """The provider's bytes of an answer, which also keeps those before the first content for the cache."""

    def __init__(self, answer: CheckedStartedStream) -> None:
        self._answer = answer
        self._keeps = answer.source.is_shared
        if self._keeps:
            answer.read_pieces.append((trio.current_time(), b""))

    def __aiter__(self) -> "_CheckedPieces":
        return self

    async def __anext__(self) -> bytes:
        piece = await anext(self._answer.response)  # another one once other requests follow it
        if self._keeps and not self._answer.has_begun:
            self._answer.read_pieces.append((trio.current_time(), piece))
        return piece


class CheckedStreamedAnswer(StreamedAnswer):
    """The delivery of a stream that steps may check."""

    def make_answer(self, source: AnswerSource) -> StartedStream:
        if source.target_request.checks is None:
            return super().make_answer(source)
        return CheckedStartedStream(
            source, self.origin, self.first_lane, self.delivery.lane, self.scope, self.pass_keep_alive
        )

    def first_events(self, answer: StartedStream) -> tuple[Lane, bytes]:
        _keep_events(answer.source)
        return super().first_events(answer)

    async def answer_refusal(self, error: GatewayError) -> bool:
        if not isinstance(error, StoppedAnswer):
            return False
        request, turn = self.origin.target_request, _promised_turn(self.origin)
        lane, writer = await offload(request.request.incoming.size, released_lane, request, turn, None)
        turn.record_target(request.target, writer)
        self.first_lane.release()
        self.use_lane(lane, with_members(lane.feed(frame_of(error.events)), error.members))
        return True


def _promised_turn(origin: AnswerOrigin) -> TurnRecorder:
    """Return the recorder of the turn if its client has received its id; other turns are not stored after a refusal."""
    turn = origin.request.turn
    return UNRECORDED if turn.background is None else turn


async def store_stopped_answer(origin: AnswerOrigin, stopped: StoppedAnswer) -> StoppedAnswer:
    """Return ``stopped``, an answer in place of the refused one, after storing it if the client has received its id.

    Raises ``GatewayError``."""
    request, turn = origin.target_request, _promised_turn(origin)
    if turn is UNRECORDED:
        return stopped
    answer = _fold(stopped.events).answer()
    turn.record_target(request.target)
    body = await offload(request.request.incoming.size, write_client_answer, request, turn, [answer])
    body = with_members(await turn.persist_whole(body, answer), stopped.members)
    return StoppedAnswer(stopped.info, body, stopped.headers, stopped.events, stopped.members)


def _keep_events(source: AnswerSource) -> None:
    """Give observers that want texts the released events, because the client's events have the restored values."""
    content, checks = source.target_request.context.content, source.target_request.checks
    if content is not None and checks is not None and checks.restores:
        content.keep_events(checks.unrestored)
