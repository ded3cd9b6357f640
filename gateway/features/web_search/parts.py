"""An answer of several parts: turns of the model, each a walk of its own, and what a feature adds between them. To the
kernel they are one response.

``PartsOrigin`` yields the client's events as frames (``gateway.streaming.released``). Limits, fallbacks
and steps apply to each turn; it has its own bill, and its events are written by a ``Writer`` of its own."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Self

import attrs
import msgspec
import trio

from gateway.conversations.recorder import UNRECORDED
from gateway.exchange.attempt_answer import A, AttemptAnswer, begin_answer, read_rest, rest_grace
from gateway.exchange.origin import Make
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.stream import FirstLane, StartedStream
from gateway.exchange.target_request import AnswerSource, TargetRequest
from gateway.exchange.walk import Walk
from gateway.http.offload import offload
from gateway.ledger.bill import Bill
from gateway.request.parse import Incoming, read_incoming
from gateway.routing.plan import Stage
from gateway.routing.target import Target
from gateway.seams.observers import Observers
from gateway.seams.open_response import OpenedResponse, ReleasedEvents, ResponseChecks, StreamTransform
from gateway.streaming.released import LENGTH, ReleasedFrameSplitter, ReleasedReader
from gateway.upstream.http11 import WireResponse
from gateway.upstream.response import UpstreamResponse
from providers.apis import CODECS
from providers.neutral.codec import Codec, Reply, Writer
from providers.neutral.next_turns import CallResult, with_turn
from streams.errors import GatewayError
from streams.events import Api, ErrorInfo, Event, NativeItem, Usage
from streams.fold import Answer, Fold
from streams.framing import FramingError
from streams.pipe import Watch
from streams.timeouts import UNLIMITED


class _PartCodec:
    """The client's codec, with another writer of streams and no framing of its own."""

    def __init__(self, codec: Codec, make_writer: Callable[[], Writer]) -> None:
        self.wire = attrs.evolve(codec.wire, unless_asked=None, counted_ping=None)
        self._codec, self._make_writer = codec, make_writer

    def writer(self, reply: Reply) -> Writer:
        return self._make_writer()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codec, name)


class Part:
    """One turn of the model, from its first content on. ``writer`` is the feature's writer of its events."""

    def __init__(self, walk: Walk, answer: StartedStream, observed: "PassedChecks") -> None:
        self.walk = walk
        self.writer: Any = answer.writer
        self._answer, self._observed = answer, observed

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """Yield the frames as they arrive. Raises ``GatewayError`` if the turn fails."""
        answer, lane, watch = self._answer, self._answer.lane, self._answer.source.watch
        lifecycle, chunks = self.walk.context.service.lifecycle, answer.chunks()
        yield answer.first
        while not lane.progress.over:
            watch.restart_idle_limit()
            chunk: bytes | None = None
            try:
                with lifecycle.track_pump(watch.renew_scope()), watch.scope:
                    if lane.progress.has_finished():
                        chunk = await read_rest(chunks, rest_grace(answer.source))
                    else:
                        chunk = await anext(chunks, None)
                if watch.scope.cancelled_caught and not lane.progress.has_finished():
                    raise GatewayError.of(watch.failure())
                frame = lane.end() if chunk is None else lane.feed(chunk)
            except FramingError as error:
                raise self._note_failure(ErrorInfo("upstream", str(error), reason="bad_answer")) from None
            except GatewayError as error:
                raise self._note_failure(error.info) from None
            watch.pause()  # the client may be the slow side
            yield frame
            if chunk is None:
                break
        if lane.progress.error is not None:
            raise self._note_failure(lane.progress.error)

    def _note_failure(self, error: ErrorInfo) -> GatewayError:
        self.walk.fail(error)
        return GatewayError.of(error)

    async def aclose(self) -> Usage:
        """Close and bill the turn, and return its usage so far."""
        progress = self._answer.lane.progress
        bill = Bill(
            usage=progress.usage, unsent_usage=progress.unsent_usage, characters=progress.characters,
            is_complete=progress.end is not None, request_size=self.walk.request.incoming.size,
        )  # fmt: skip
        usage = bill.usage_or_estimate()[0] or Usage(input=bill.estimated_input(), estimated=True)
        self.walk.end_part(usage)
        self._observed.end_part()
        with trio.CancelScope(shield=True):
            await self._answer.aclose()
        return usage


class PartsOrigin:
    """The origin of an answer that may have several parts, an ``AnswerOrigin``. Each feature has a subclass.

    The answer of a target without parts passes as that of a walk."""

    desertion: trio.Event | None = None

    def __init__(self, walk: Walk, make_writer: Callable[[], Writer]) -> None:
        """Answer the request of ``walk``. ``make_writer`` makes the writer of a turn's events as frames."""
        self.context, self.request = walk.context, walk.request
        self.usage = Usage()
        """The usage of the turns that have ended."""
        codec: Any = _PartCodec(walk.context.codec, make_writer)
        self._part_context = attrs.evolve(walk.context, codec=codec)
        self._walk = walk
        self._part: Part | None = None
        self._has_parts = True
        self.passed = PassedChecks()
        self._whole: tuple[TargetRequest, TargetRequest] | None = None

    # Defined by each feature

    async def prepare(self) -> PlannedRequest:
        """Return the request of the first turn. Raises ``GatewayError``."""
        return self.request

    def has_parts(self, target: Target) -> bool:
        """Return whether an answer of ``target`` has several parts."""
        raise NotImplementedError

    def frames(self) -> AsyncGenerator[bytes, None]:
        """Yield the client's events, from the first turn on, which has begun. Raises ``GatewayError``."""
        raise NotImplementedError

    # For the feature

    @property
    def part(self) -> Part:
        """The turn in progress."""
        assert self._part is not None, "it has begun"
        return self._part

    async def next_request(self, answer: Answer, results: Sequence[CallResult]) -> tuple[Incoming, bool]:
        """Return the request after ``answer``, the model's last turn, and the ``results`` of its calls, and whether the
        steps have changed it. Raises ``GatewayError`` if they refuse it, or ``StoppedAnswer``.

        It repeats both as the client itself would, so that the steps see the results."""
        request = self._walk.request
        reply, codec = self._walk.target_request.reply(UNRECORDED), self.context.codec
        written = await offload(request.incoming.size, codec.write_answer, answer, reply)
        size = request.incoming.size + len(written)
        incoming = await offload(size, _with_turn, request.incoming, written, results)
        checks, checked = self.context.checks, incoming
        if checks is not None:
            checked = await checks.check_more(incoming, self._walk.target_request.target)
        return checked, checked is not incoming

    async def begin_next(self, incoming: Incoming) -> None:
        """Begin a turn with the request ``incoming``. From now on each target ``has_parts``. Raises
        ``GatewayError``."""
        request = self._walk.request
        plan = request.plan.with_each_target(_with_translation)
        if self.request.incoming.stream:  # its client has the first content
            plan = attrs.evolve(plan, deadline=self.context.service.health.clock() + plan.retries.deadline)
        request = attrs.evolve(request, plan=plan)
        if request.reservation is not None:
            request.reservation.begin_part()
        walk = self._walk.beside(self._part_context, request.with_incoming(incoming))
        await walk.start()
        self._walk = walk  # before, it has no request for the lane of an error
        self._note_begin(await self._walk.run(partial(_make_answer, self._walk)))

    async def close_part(self) -> None:
        """Close and bill the turn in progress, if any."""
        if (part := self._part) is not None:
            self._part = None
            self.usage += await part.aclose()

    # As the kernel calls it

    async def start(self) -> None:
        request = await self.prepare()
        plan = request.plan.with_each_target(lambda one: _with_translation(one) if self.has_parts(one) else one)
        request = attrs.evolve(request, plan=plan, turn=UNRECORDED)
        self._walk = self._walk.beside(self._part_context, request.with_incoming(request.incoming))
        await self._walk.start()

    async def run(self, make: Make[A]) -> A:
        """Return the client's answer once its first turn has content. Raises ``GatewayError``."""
        begun: Any = await self._walk.run(partial(self._make_first, make))
        answer: A = begun if self._note_begin(begun) else await self._begin_whole(make)
        if (turn := self.request.turn).records:
            turn.record_target(answer.source.target_request.target, answer.writer)
        return answer

    def _make_first(self, make: Make[Any], source: AnswerSource) -> AttemptAnswer:
        """Return the reader of the first turn, or of the client's answer if it has no other parts."""
        inner = source.target_request
        if self.has_parts(inner.target):
            return _make_answer(self._walk, source)
        source.target_request = self._whole_request(inner)
        answer: AttemptAnswer = make(source)
        return answer

    def _note_begin(self, answer: AttemptAnswer) -> bool:
        """Note that a turn has content. Return true if it is the whole answer."""
        request = answer.source.target_request
        self._has_parts = self.has_parts(request.target)
        if self._has_parts:
            assert isinstance(answer, StartedStream), "it is made here"
            self._part = Part(self._walk, answer, self.passed)
            self.passed.begin_part(request.checks)
        return not self._has_parts

    async def _begin_whole(self, make: Make[A]) -> A:
        source = _PartsSource(self.target_request, self)
        try:
            return await begin_answer(self.context, source.watch, make(source))
        except BaseException:
            await self.close_part()  # noqa: ASYNC102 -- it shields what waits
            raise

    @property
    def target_request(self) -> TargetRequest:
        """The request for the client's answer, in place of that of the turn."""
        inner = self._walk.target_request
        return inner if inner.context is self.context else self._whole_request(inner)

    def _whole_request(self, inner: TargetRequest) -> TargetRequest:
        if self._whole is not None and self._whole[0] is inner:
            return self._whole[1]
        whole = attrs.evolve(inner, context=self.context, request=self.request)
        if self.has_parts(inner.target):
            self.passed.inner, target = inner.checks, inner.target
            if not self.request.incoming.stream:
                target = attrs.evolve(target, api=self.context.codec.api)
            prepared = attrs.evolve(inner.prepared, names={})
            whole = attrs.evolve(whole, target=target, checks=self.passed, prepared=prepared)
        self._whole = inner, whole
        return whole

    @property
    def reported_usage(self) -> Usage | None:
        return self._walk.reported_usage

    def may_be_followed(self, attempt: AnswerSource) -> bool:
        return not isinstance(attempt, _PartsSource) and self._walk.may_be_followed(attempt)

    def would_be_followed(self, attempt: AnswerSource, error: ErrorInfo) -> bool:
        return not isinstance(attempt, _PartsSource) and self._walk.would_be_followed(attempt, error)

    def fail(self, error: ErrorInfo) -> None:
        """Report a failure of an answer without parts. Each turn reports its own."""
        if not self._has_parts:
            self._walk.fail(error)

    def note_disconnect(self) -> None:
        pass

    def release(self) -> None:
        """Release the request's text, unless the next turn repeats it."""
        if not self._has_parts:
            self._walk.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if not self._has_parts:
            self._walk.__exit__(*raised)


def _with_turn(incoming: Incoming, answer: bytes, results: Sequence[CallResult]) -> Incoming:
    member = CODECS[incoming.api].wire.conversation.member
    before = msgspec.json.decode(incoming.members[member]) if member in incoming.members else None
    after = with_turn(incoming.api, before, msgspec.json.decode(answer), results)
    body = msgspec.json.encode({**incoming.members, member: after})
    return attrs.evolve(incoming, body=body, members=read_incoming(incoming.api, body).members)


def _with_translation(target: Target) -> Target:
    return attrs.evolve(target, lane="hub")


def _make_answer(walk: Walk, source: AnswerSource) -> StartedStream:
    lane: Any = None  # each attempt makes its own
    first = FirstLane(source.target_request, lane, None)
    first.release()
    return StartedStream(source, walk, first, walk.scope, lambda: None)


class _PartsSource(AnswerSource):
    """The source of the whole answer."""

    stage = Stage.ANSWERING

    def __init__(self, target_request: TargetRequest, origin: PartsOrigin) -> None:
        super().__init__(target_request, Watch(UNLIMITED))
        self._origin = origin

    async def send(self) -> UpstreamResponse:
        streamed = self.target_request.request.incoming.stream
        content_type = self.target_request.target.framing.content_type if streamed else "application/json"
        passed = self._origin.passed
        body = _StreamedBody(self._origin) if streamed else _WholeBody(self._origin, self.target_request, passed)
        headers = ((b"content-type", content_type.encode()),)
        return UpstreamResponse(WireResponse(200, headers, body), 0, lambda: None)

    def release(self) -> None:
        """Keep the request, which the next turn repeats."""


class _StreamedBody:
    """The frames of an answer as the body of a response."""

    def __init__(self, origin: PartsOrigin) -> None:
        self._origin, self._frames = origin, origin.frames()

    async def read(self) -> bytes:
        async for frame in self._frames:
            if frame:
                return frame
        return b""

    async def aclose(self) -> None:
        await self._frames.aclose()
        await self._origin.close_part()


class _WholeBody(_StreamedBody):
    """The whole answer as JSON of the client's API, read once. ``passed`` gets its events, which have more."""

    def __init__(self, origin: PartsOrigin, target_request: TargetRequest, passed: "PassedChecks") -> None:
        super().__init__(origin)
        self._target_request: TargetRequest | None = target_request
        self._passed = passed

    async def read(self) -> bytes:
        if (target_request := self._target_request) is None:
            return b""
        self._target_request = None
        splitter, reader, fold = ReleasedFrameSplitter(0), ReleasedReader(), Fold()
        self._passed.events = events = []
        while data := await super().read():
            for raw in splitter.feed(data):
                events += [one for one in reader.read_event("", raw[LENGTH:]) if not _is_announcement(one)]
        for event in events:
            fold.add(event)
        reply, codec = target_request.reply(UNRECORDED), target_request.context.codec
        return await offload(target_request.request.incoming.size, codec.write_answer, fold.answer(), reply)


def _is_announcement(event: Event) -> bool:
    """Return whether ``event`` is an item that a later one repeats with its result."""
    return isinstance(event, NativeItem) and isinstance(event.item, dict) and event.item.get("status") == "in_progress"


class _PublicEvents(Observers):
    """The public events of one turn, ``None`` if its client gets no other values."""

    events: Mapping[int, Sequence[Event]] | None = None

    def note_public_events(self, events: Mapping[int, Sequence[Event]]) -> None:
        self.events = events


class PassedChecks:
    """The checks of the whole answer, a ``ResponseChecks``: all passes, because the steps have checked each turn.

    ``inner`` are the checks of a turn, ``events`` those of a whole answer. Observers get the public view of all
    turns."""

    translates = True
    masked = False

    def __init__(self) -> None:
        self.inner: ResponseChecks | None = None
        self.events: list[Event] | None = None
        self._public: dict[int, list[Event]] = {0: []}
        self._is_separate = False
        self._turn = _PublicEvents()

    def begin_part(self, checks: ResponseChecks | None) -> None:
        """Read the public view of the next turn."""
        self._turn = _PublicEvents()
        if checks is not None:
            checks.keep_public_events(self._turn)
            self._is_separate = self._is_separate or self._turn.events is not None

    def end_part(self) -> None:
        """Keep the public view of the turn that has ended."""
        self._public[0] += (self._turn.events or {}).get(0, ())
        self._turn = _PublicEvents()

    def open_stream(self, opened: OpenedResponse) -> StreamTransform:
        return _Unchanged()

    def open_body(self, opened: OpenedResponse) -> None:
        return None

    async def check_whole(
        self, choices: Sequence[Sequence[Event]], size: int, own: tuple[Api, bytes] | None = None
    ) -> Sequence[Sequence[Event]]:
        return choices if self.events is None else [self.events]

    async def check_body(self, api: str, body: bytes, public: Observers) -> bytes:
        return body

    async def check_error(self, error: GatewayError, body: bytes = b"") -> GatewayError:
        return error

    async def await_verdict(self) -> None:
        await trio.lowlevel.checkpoint()

    def restored_members(self, members: Mapping[str, Any]) -> Mapping[str, Any]:
        return members if self.inner is None else self.inner.restored_members(members)

    def keep_public_events(self, public: Observers) -> None:
        if self._is_separate:
            public.note_public_events(self._public)


@attrs.define
class _Unchanged:
    """A transform that changes nothing: its bytes are frames already."""

    may_cut: bool = False
    may_wait: bool = False
    is_over: bool = False
    has_changed: bool = True
    usage: Usage | None = None
    characters: int = 0
    has_ended: bool = False

    @property
    def reader(self) -> ReleasedEvents:
        raise AssertionError("the lane reads frames")

    async def feed(self, data: bytes) -> bytes:
        return data

    async def end(self) -> bytes:
        return b""

    def close(self) -> None:
        pass

    async def verdict(self) -> bool:
        return False

    def unsent_usage(self) -> Usage | None:
        return None

    def has_finished(self) -> bool:
        return False
