"""A streamed response of a conversation, from its first content on."""

import contextlib
import logging
import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Final

import attrs
import trio

from gateway.access.body_memory import UNCOUNTED
from gateway.conversations.recorder import TurnRecorder
from gateway.exchange.answering import (
    correct_content_type,
    is_stream,
    make_stream_lane,
    make_whole_answer_lane,
    refuse_change_of_form,
)
from gateway.exchange.attempt_answer import StartedAnswer, rest_grace
from gateway.exchange.context import ExchangeContext
from gateway.exchange.delivering import DeliveredAnswer
from gateway.exchange.delivery import END_GRACE, MAX_HELD, Delivery
from gateway.exchange.disconnect import Audience, survive_disconnect
from gateway.exchange.origin import AnswerOrigin
from gateway.exchange.planned import STOPPED, Form, StoppedAnswer
from gateway.exchange.target_request import AnswerSource, TargetRequest
from gateway.http.headers import Headers
from gateway.http.late_imports import load_module
from gateway.http.offload import offload
from gateway.http.pieces import join_pieces
from gateway.http.redaction import Secrets
from gateway.http.request_scope import RequestScope
from gateway.ledger.bill import CHARACTERS_PER_TOKEN
from gateway.logs.masking import without_quotations
from gateway.request.public_errors import secrets_of
from gateway.routing.target import Target
from gateway.seams.observed_stream import ObservedStream
from gateway.seams.open_response import OpenedResponse, ResponseChecks, StreamTransform
from gateway.streaming.doubt import stream_doubt
from gateway.streaming.keep_alive import CountedLane
from gateway.streaming.lane import Lane, StreamProgress
from gateway.streaming.passthrough import Passthrough
from gateway.upstream.response import UpstreamResponse
from providers.neutral.codec import Writer
from providers.neutral.tool_names import restore_name
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage
from streams.framing import FramingError

log = logging.getLogger("trigate")


class FirstLane:
    """The lane of a stream until a target responds. It writes keep-alives, or the error if no target responds.

    The lane of the response to ``target_request`` is the same object; other responses have their own."""

    def __init__(self, target_request: TargetRequest, lane: Lane, writer: Writer | None) -> None:
        self.lane = lane
        self._target_request: TargetRequest | None = target_request
        self._writer = writer

    def release(self) -> None:
        """Release the request, because a response has begun."""
        self._target_request = None

    @property
    def is_in_use(self) -> bool:
        """Whether a response uses the lane, or another lane has replaced it."""
        return self._target_request is None

    def take(self, source: AnswerSource) -> tuple[Lane, Writer | None] | None:
        """Return the lane and its writer for the response of ``source``.

        Returns ``None`` if the lane is for another target, or already in use."""
        if self._target_request is not source.target_request:
            return None
        self._target_request = None
        return self.lane, self._writer


async def make_first_lane(origin: AnswerOrigin) -> FirstLane:
    """Return the lane of the first target, for use before it responds."""
    target_request = origin.target_request
    return FirstLane(target_request, *await _make_lane(target_request, origin.request.turn))


async def _make_lane(target_request: TargetRequest, turn: TurnRecorder) -> tuple[Lane, Writer | None]:
    """Return the lane of a stream and its writer. A lane that translates may repeat much of the request."""
    size = target_request.request.incoming.size if target_request.target.lane == "hub" else 0
    return await offload(size, make_stream_lane, target_request, turn)


PEEKED: Final = 8
"""Bytes of a body that show that it is a stream. One byte shows that it is JSON."""


class StartedStream(StartedAnswer):
    """A stream that was read up to its first content.

    ``lane`` makes the client's stream. ``first`` are the client's bytes for the part that was read, and
    ``forwarded_pieces`` its pieces: the provider's bytes with the client's."""

    lane: Lane
    _transform: StreamTransform | None = None
    has_begun = False

    def __init__(
        self,
        source: AnswerSource,
        origin: AnswerOrigin,
        first_lane: FirstLane,
        scope: RequestScope,
        pass_keep_alive: Callable[[], object],
    ) -> None:
        """Prepare the stream of the request with ``scope``. ``pass_keep_alive`` is called for the provider's
        keep-alives before its first content."""
        super().__init__(source, scope)
        self.first = b""
        self.forwarded_pieces: list[tuple[bytes, bytes]] = []
        self._form, self._turn = origin.request.form, origin.request.turn
        self._origin = origin
        self.first_lane = first_lane
        self.pass_keep_alive = pass_keep_alive
        self._is_whole = False
        self._counted = math.inf  # the size at which to count more memory of a response that is no stream

    async def begin(self) -> None:
        if self._checks is not None and self._checks.translates:
            self.lane_name = "hub"
        self.response = response = await self.source.send()
        try:
            self.source.watch.await_body()
            await self._correct_content_type(response)
            self.lane = await self._choose_lane(response)
            if self._checks is not None:
                self._open_transform(self._checks, response, self.lane)
            progress, watch = self.lane.progress, self.source.watch
            if self._transform is None:
                amount = partial(_amount_of, progress, None)
                watch.limit_keep_alives(amount, progress.has_finished, rest_grace(self.source))
            else:  # which ends a finished answer itself
                watch.limit_keep_alives(partial(_amount_of, progress, self._transform))
            self.first = await self._read_first_content(response)
        except BaseException:
            await self.aclose()
            raise
        finally:
            self.has_begun = True
            if self._transform is not None:
                self.usage = _usage_so_far(self._transform)

    def _open_transform(self, checks: ResponseChecks, response: UpstreamResponse, lane: Lane) -> None:
        """Read the response through the transform of ``checks``, for ``lane``."""
        request = self.source.target_request
        transformed = import_module("gateway.exchange.transformed")  # few gateways have steps
        wait = transformed.ProviderWait()
        names, limits = request.prepared.names, request.context.service.settings.limits
        streamed = is_stream(request, response.header("content-type"))
        opened = OpenedResponse(
            request.target.api, request.target.framing if streamed else None, self.content_type, limits.event,
            limits.answer, request.choices, partial(restore_name, names=names) if names else None, wait.cut,
            self._note_refusal, self.count_held,
        )  # fmt: skip
        transform = checks.open_stream(opened)
        watch = self.source.watch
        pieces = _KeptPieces(self, lane.progress if self._is_whole else None)
        released = transformed.transformed_pieces(
            transform, pieces, watch, wait, is_stream=streamed, grace=rest_grace(self.source),
            finished_amount=lambda: transform.characters if transform.has_finished() else None,
        )  # fmt: skip
        self.release_through(transform, released)
        passing = lane.lane if isinstance(lane, CountedLane) else lane
        if isinstance(passing, Passthrough):
            passing.use_reader(transform.reader, transform.reader.text_of)
        lane.progress.unsent_usage = partial(_usage_so_far, transform)

    def _note_refusal(self) -> Usage | None:
        """Report and return what a refused response costs: its events with the usage are not released."""
        usage = None
        if (transform := self._transform) is not None:
            progress, written = self.lane.progress, transform.characters
            progress.usage = usage = _usage_so_far(transform)
            if usage is not None:  # its output is at least that of the text, or the provider's final count
                written = min(written, usage.output * CHARACTERS_PER_TOKEN)
            progress.characters = written and max(1, written // self.source.target_request.choices)
        return usage

    async def _correct_content_type(self, response: UpstreamResponse) -> None:
        """Correct a wrong content type."""
        target_request = self.source.target_request
        least = 1 if is_stream(target_request, response.header("content-type")) else PEEKED
        correct_content_type(target_request.target.framing, response, await response.peek(least))

    async def _choose_lane(self, response: UpstreamResponse) -> Lane:
        """Return the lane of the response. Raises ``GatewayError`` for a response that the client cannot receive."""
        source, target_request = self.source, self.source.target_request
        if is_stream(target_request, response.header("content-type")):
            # If another attempt may follow, the first lane keeps the connection alive until that begins.
            first = None if self._origin.may_be_followed(source) else self.first_lane.take(source)
            lane, self.writer = first or await _make_lane(target_request, self._turn)
            return lane
        if self._form is Form.REJECTED:
            raise GatewayError("upstream", "the provider did not return a stream: send the request without stream=true")
        incoming = target_request.request.incoming
        await offload(incoming.size, lambda: incoming.request)  # for the lane
        self.lane_name, self._is_whole = "hub", True
        response.end_with_json(END_GRACE)
        self._counted = UNCOUNTED
        lane, self.writer = make_whole_answer_lane(target_request, self._turn)
        return lane

    async def _read_first_content(self, response: UpstreamResponse) -> bytes:
        """Read up to the first content of the response, and return the client's bytes for it.

        If the response fails before or in the same piece, the client receives nothing of it, and another attempt may
        follow. At most ``MAX_HELD`` bytes of earlier events are held."""
        lane, source = self.lane, self.source
        pieces = self.read_pieces if source.is_shared and self._released is None else None
        first: list[bytes | bytearray] = []
        size = seen = 0
        if pieces is not None:
            pieces.append((trio.current_time(), b""))
        try:
            async for chunk in self.chunks():
                source.watch.restart_idle_limit()
                if pieces is not None:
                    pieces.append((trio.current_time(), chunk))
                out = lane.feed(chunk)
                first.append(out)
                size += len(out)
                seen += len(chunk)
                if seen > self._counted:
                    self._counted = await self.count_held(seen)
                if seen <= MAX_HELD:
                    self.forwarded_pieces.append((chunk, out))
                if lane.progress.committed or lane.progress.error is not None or size > MAX_HELD:
                    break
                if lane.progress.take_keep_alive():
                    self.pass_keep_alive()
            else:
                first.append(await offload(seen, lane.end))  # it may be a complete response, which is read only now
                self.forwarded_pieces.append((b"", bytes(first[-1])))
            if (error := lane.progress.error) is not None and error.is_end:
                await self._read_usage(lane)
        except FramingError as exception:
            first.append(lane.end(ErrorInfo("upstream", str(exception), reason="bad_answer")))
        finally:  # also if cancelled: the provider bills what it has reported
            self.usage = lane.progress.unsent_usage() or lane.progress.usage
        error = lane.progress.error or stream_doubt(lane.progress)
        if error is not None and (not lane.progress.committed or self._origin.would_be_followed(source, error)):
            raise GatewayError.of(
                source.target_request.disclosure.error_with_headers(error, response.headers, self.lane_name)
            )
        if self._is_whole:
            refuse_change_of_form(source.target_request)
        return await join_pieces([one for one in first if one], sum(map(len, first)))

    async def _read_usage(self, lane: Lane) -> None:
        """Read what follows a last word without content for a moment if it may have the usage."""
        reported = lane.progress.unsent_usage if self._transform is None else self._transform.unsent_usage
        if reported() is not None:
            return
        with trio.move_on_after(END_GRACE), contextlib.suppress(GatewayError):
            async for chunk in self.chunks():
                lane.feed(chunk)


def _usage_so_far(transform: StreamTransform) -> Usage | None:
    """Return the usage of a response that may be interrupted while ``transform`` holds its text: at least the tokens of
    the text that has arrived. The provider bills them, although the client has not received them.

    The provider's count of a whole answer is final."""
    reported = (transform.usage if transform.has_ended else None) or transform.unsent_usage()
    known = Usage() if reported is None else reported
    written = -(-transform.characters // CHARACTERS_PER_TOKEN)
    if (known.output and transform.has_ended) or (not written and (reported is None or transform.has_ended)):
        return reported
    # Without a known prompt, the input is still to be estimated.
    return attrs.evolve(known, output=max(known.output, written), estimated=known.prompt > 0)


def _amount_of(progress: StreamProgress, transform: StreamTransform | None) -> tuple[int, int]:
    """Return the amount of a response that has arrived, without keep-alives; ``transform`` may hold a part of it."""
    held = 0 if transform is None else transform.characters
    return progress.characters + held, progress.other_events


class _KeptPieces:
    """The provider's bytes of ``answer``, which also keeps those before the first content for the cache.

    ``progress`` is that of a response that is no stream: its lane gets nothing before the end."""

    def __init__(self, answer: StartedStream, progress: StreamProgress | None) -> None:
        self._answer = answer
        self._progress = progress
        self._keeps = answer.source.is_shared
        if self._keeps:
            answer.read_pieces.append((trio.current_time(), b""))

    def __aiter__(self) -> "_KeptPieces":
        return self

    async def __anext__(self) -> bytes:
        piece = await anext(self._answer.response)  # another one once other requests follow it
        if self._keeps and not self._answer.has_begun:
            self._answer.read_pieces.append((trio.current_time(), piece))
        if self._progress is not None and not piece.isspace():  # white space only shows that the provider works
            self._progress.other_events += 1
        return piece


class StreamedAnswer(DeliveredAnswer[StartedStream]):
    """The delivery of one streamed response. ``client_headers`` are the provider's headers for the client."""

    client_headers: Headers

    def __init__(
        self,
        context: ExchangeContext,
        origin: AnswerOrigin,
        scope: RequestScope,
        audience: Audience,
        first_lane: FirstLane,
    ) -> None:
        service, turn, wire = context.service, origin.request.turn, context.codec.wire
        self.client_headers = ()
        self._turns = turn
        self.first_lane = first_lane
        check = _make_checker(context, origin) if service.settings.check_streams else None
        clock = trio.lowlevel.current_clock().current_time  # three times as fast as trio.current_time
        secrets = _secret_finder(origin.request.plan.targets, context.client_request.credential)
        self.observed = observed = ObservedStream(first_lane.lane, secrets)
        delivery = Delivery(
            first_lane.lane,
            context.record,
            service.settings.keep_alive,
            clock,
            turn=turn,
            check=check,
            observed=observed,
            join=context.client_request.framing(wire).join,
            error_parts=wire.error_parts,
        )
        survival, target = None, origin.target_request.target
        if (survives := audience.survives(target)) or origin.desertion is not None:
            deserted = None if survives else origin.desertion
            survival = partial(survive_disconnect, scope.nursery, target, deserted=deserted)
        super().__init__(context, origin, scope, delivery, survival, turn, service.settings.limits.answer)
        observed.follow(self.chunks)
        context.observers.note_stream(observed)

    def make_answer(self, source: AnswerSource) -> StartedStream:
        return StartedStream(source, self.origin, self.first_lane, self.scope, self.pass_keep_alive)

    def first_events(self, answer: StartedStream) -> tuple[Lane, bytes]:
        answer.keep_public_events()
        self.client_headers = answer.client_headers
        self.first_lane.release()
        self.observed.identity = answer.response.identity
        self.observed.use_lane(answer.lane, answer.forwarded_pieces)
        answer.forwarded_pieces.clear()
        return answer.lane, answer.first

    async def refusal_lane(self) -> Lane | None:
        if not self.first_lane.is_in_use:
            return None
        lane, _ = await _make_lane(self.origin.target_request, self._turns)
        return lane

    async def answer_refusal(self, error: GatewayError) -> bool:
        if not isinstance(error, StoppedAnswer):
            return False
        lane, first = await (await load_module(STOPPED)).begin_stopped(self.origin, error)
        self.first_lane.release()
        self.use_lane(lane, first)
        return True


def _secret_finder(targets: tuple[Target, ...], credential: str | None) -> Callable[[], Secrets]:
    """Return a function that returns the secrets that ``targets`` may repeat. It keeps no part of the request."""
    return lambda: tuple(secret for target in targets for secret in secrets_of(target, credential))


def _make_checker(context: ExchangeContext, origin: AnswerOrigin) -> Callable[[bytes], None] | None:
    """Return the function that checks the client's events against the API's grammar, ``None`` if it has none.

    The check is tolerant for a provider's unchanged stream."""
    from providers.grammar import GRAMMARS, Judge  # imported only if it is used

    wire = context.codec.wire
    if context.codec.api not in GRAMMARS or context.client_request.framing(wire) is not wire.framing:
        return None
    judge = Judge(context.codec.api, tolerant=any(one.lane == "byte" for one in origin.request.plan.targets))
    splitter = wire.framing.splitter(context.service.settings.limits.event)

    def check(data: bytes) -> None:
        for raw in splitter.feed(data):
            if (broken := judge.feed(raw)) is not None:
                found = without_quotations(broken.found)  # it may quote the response
                log.warning("request %s: the stream violates %s: %s", context.id, broken.rule, found)

    return check
