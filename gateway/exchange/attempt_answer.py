"""The response of one attempt until it may go to the client."""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeAlias, TypeVar

import trio

from gateway.access.body_memory import UNCOUNTED
from gateway.exchange.answering import correct_content_type
from gateway.exchange.context import ExchangeContext
from gateway.exchange.delivery import END_GRACE, SILENT_INTERVALS
from gateway.exchange.target_request import AnswerSource
from gateway.http.headers import Headers
from gateway.http.offload import offload
from gateway.http.pieces import join_pieces
from gateway.http.request_scope import RequestScope
from gateway.routing.target import LaneName
from gateway.seams.open_response import ResponseChecks, Transform
from gateway.streaming.lane import too_large
from gateway.upstream.response import UpstreamResponse
from providers.apis import CODECS
from providers.errors.answer_form import JSON
from providers.errors.failures import EARLY
from providers.neutral.codec import Writer
from streams.errors import GatewayError
from streams.events import AnswerEnd, ErrorInfo, Usage
from streams.framing import FramingError
from streams.pipe import SHUTTING_DOWN, Watch

Pieces: TypeAlias = list[tuple[float, bytes]]
"""Pieces of a provider's body, each with the time (trio's clock) of its arrival."""

Verdict: TypeAlias = Callable[[], Awaitable[bool]]


class AttemptAnswer:
    """The response of one attempt, from its start until it has gone to the client.

    - ``lane_name`` is the lane of the response, ``writer`` the writer of the client's stream if the response is
      translated into one.
    - ``usage`` is the usage that the provider has reported so far.
    - ``read_pieces`` are the pieces that were read before it began, if it may be cached. The first one is empty and has
      the time of the head.
    - ``verdict()`` waits for the checks of the response, and returns whether they let it pass unchanged. It is ``None``
      without checks."""

    response: UpstreamResponse
    lane_name: LaneName
    writer: Writer | None = None
    usage: Usage | None = None

    def __init__(self, source: AnswerSource) -> None:
        self.source = source
        self.lane_name = source.target_request.target.lane
        self.read_pieces: Pieces = []

    @property
    def verdict(self) -> Verdict | None:
        return None

    @property
    def content_type(self) -> str:
        """The content type of the provider's response."""
        return self.response.header("content-type") or ""

    @property
    def client_headers(self) -> Headers:
        """The response's headers for the client."""
        return self.source.target_request.disclosure.headers(self.response.headers, self.lane_name)

    @property
    def unread_response(self) -> UpstreamResponse | None:
        """The response with unread bytes, or ``None`` if nothing more will be read."""
        return None

    async def begin(self) -> None:
        """Send the request and read its response until it may go to the client: its first content, or all of it.

        Meanwhile nothing is sent to the client or recorded. Raises ``GatewayError`` if the attempt fails. After a
        failure or cancellation the response is closed."""
        raise NotImplementedError

    def continue_from(self, response: UpstreamResponse) -> None:
        """Read the unread bytes from ``response`` from now on."""
        self.response = response

    def keep_public_events(self) -> None:
        """Give observers the public view of the response, which goes to its client with values that are not public."""
        request = self.source.target_request
        if request.checks is not None:
            request.checks.keep_public_events(request.context.observers)

    async def aclose(self) -> None:
        """Close the response of an attempt that is not needed."""
        await self.response.aclose()


class StartedAnswer(AttemptAnswer):
    """A partly read response to the request of ``scope``; ``chunks`` are its rest.

    ``is_held``: it was read completely and must not be sent before its end was processed."""

    is_held = False
    _transform: Transform | None = None
    _released: AsyncGenerator[bytes, None] | None = None
    """The pieces that the transform releases."""

    def __init__(self, source: AnswerSource, scope: RequestScope) -> None:
        super().__init__(source)
        self.scope = scope
        self._checks = source.target_request.checks

    @property
    def verdict(self) -> Verdict | None:
        return None if self._checks is None and self._transform is None else self.passed_unchanged

    @property
    def unread_response(self) -> UpstreamResponse | None:
        return None if self.response.is_closed else self.response

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the rest as it arrives. Raises ``GatewayError`` if it breaks off."""
        return self.response.chunks() if self._released is None else self._released

    def release_through(self, transform: Transform, released: AsyncGenerator[bytes, None]) -> None:
        """Read the pieces that ``transform`` has ``released``, instead of the provider's."""
        self._transform, self._released = transform, released

    async def count_held(self, size: int) -> int:
        """Count ``size`` held bytes for the client, and return the size at which to call this again."""
        return await count_answer(self.source.target_request.context, self.scope, size, self.source.watch)

    async def passed_unchanged(self) -> bool:
        """Wait until everything was released, and return whether it passed unchanged: a ``Verdict``."""
        return self._transform is None or await self._transform.verdict()

    async def aclose(self) -> None:
        if self._transform is not None:
            self._transform.close()
        if self._released is not None:
            with trio.CancelScope(shield=True):
                await self._released.aclose()
        await super().aclose()


A = TypeVar("A", bound=AttemptAnswer)


async def begin_answer(context: ExchangeContext, watch: Watch, answer: A) -> A:
    """Begin ``answer`` within the limits of ``watch``, and return it. Raises ``GatewayError``, also at the end of the
    drain."""
    try:
        with context.service.lifecycle.track_pump(watch.scope), watch.scope:
            checks = answer.source.target_request.checks
            await (answer.begin() if checks is None else _begin_checked(answer, checks))
            return answer
    finally:  # also if cancelled, because a client that does not read receives no failure
        context.record.shut_down = is_shut_down(watch)
    raise GatewayError.of(watch.failure())


async def _begin_checked(answer: AttemptAnswer, checks: ResponseChecks) -> None:
    """Begin ``answer``. No text of a provider's error passes unchecked."""
    try:
        await answer.begin()
    except GatewayError as error:
        answer.source.watch.note_end()
        raise await checks.check_error(error) from None


class UnchangedAnswer(AttemptAnswer):
    """A response with an unchanged body, read completely."""

    def __init__(self, scope: RequestScope, source: AnswerSource) -> None:
        super().__init__(source)
        self.body = b""
        self._scope = scope

    async def begin(self) -> None:
        self.response = await self.source.send()
        self.body = await read_body(self.source, self.response, self._scope)
        JSON.check_type(self.content_type.lower())
        framing = self.source.target_request.target.framing
        is_stream = framing.matches_type(self.content_type) or framing.begins(self.body)
        is_deletion = self.source.target_request.request.method == "DELETE"
        if not is_stream and not (is_deletion and self.response.status == 204):
            await offload(len(self.body), JSON.check_whole, self.body)
        if (checks := self.source.target_request.checks) is not None:
            self.source.watch.note_end()
            await checks.await_verdict()

    async def public_body(self) -> bytes:
        """Return the body without the provider's key."""
        return await offload(len(self.body), self.source.target_request.disclosure.body, self.body)


async def read_body(
    source: AnswerSource, response: UpstreamResponse, scope: RequestScope, read_pieces: Pieces | None = None
) -> bytes:
    """Return the whole body of ``response`` and close it. Raises ``GatewayError``.

    Its memory counts for the client until ``scope`` ends. Adds its pieces to ``read_pieces``, for the cache."""
    context, watch = source.target_request.context, source.watch
    limit, size, counted = context.service.settings.limits.answer, 0, UNCOUNTED
    parts: list[bytes | bytearray] = []
    # A deadline only applies to a wait.
    has_arrived = response.has_arrived
    if not has_arrived:
        watch.await_body()
        arriving = await _counted_body(source, response)
        watch.limit_keep_alives(arriving.amount)
    pieces = read_pieces if source.is_shared else None
    if pieces is not None:
        pieces.append((trio.current_time(), b""))
    chunks = response.chunks(split_dense=pieces is not None)  # the cache replays the pieces as a stream
    try:
        while True:
            chunk = await (anext(chunks, None) if has_arrived else arriving.next_piece(chunks))
            if chunk is None:
                break
            if not has_arrived:
                watch.restart_idle_limit()
            if pieces is not None:
                pieces.append((trio.current_time(), chunk))
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                raise GatewayError.of(too_large(limit))
            if size > counted:
                counted = await count_answer(context, scope, size, watch)
    finally:
        await response.aclose()
    body = await join_pieces(parts, size)
    context.observers.note_body(response.identity, response.status, body, is_public=context.checks is None)
    return body


async def _counted_body(source: AnswerSource, response: UpstreamResponse) -> "_CountedBody":
    """Return the reader of the body of ``response``, which may be a stream for a client without one."""
    if correct_content_type(source.target_request.target.framing, response, await response.peek(1)):
        return _CountedStream(source)
    response.end_with_json(END_GRACE)
    return _CountedBody()


class _CountedBody:
    """Reads a body, and counts what arrives without keep-alives.

    It keeps neither the pieces nor the source: the watch that asks for its amount lasts longer."""

    def __init__(self) -> None:
        self._amount = 0

    def amount(self) -> int:
        """Return how much has arrived."""
        return self._amount

    async def next_piece(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        """Return the next piece of ``chunks``, ``None`` at the end. Raises ``GatewayError``."""
        if (piece := await anext(chunks, None)) is not None:
            self._amount += not piece.isspace()  # white space only shows that the provider works
        return piece


class _CountedStream(_CountedBody):
    """Reads a stream along. After the answer's end, its body may break off or stay silent."""

    def __init__(self, source: AnswerSource) -> None:
        super().__init__()
        target, limits = source.target_request.target, source.target_request.context.service.settings.limits
        self._framing = target.framing
        self._splitter = target.framing.splitter(limits.answer)
        self._codec = CODECS[target.api]
        self._reader = self._codec.reader(content_limit=0)
        self._has_ended = False
        self._rest_grace = rest_grace(source)
        self._rest = RestOfAnswer()

    async def next_piece(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        if not (self._has_ended or self._reader.has_finished()):
            piece = await anext(chunks, None)
        else:
            piece = await self._rest.read(chunks, self._amount, END_GRACE if self._has_ended else self._rest_grace)
        if piece is not None:
            await offload(len(piece), self._read, piece)
        return piece

    def _read(self, piece: bytes) -> None:
        try:
            parsed = [event for raw in self._splitter.feed(piece) if (event := self._framing.parse(raw)) is not None]
        except FramingError:  # the whole body will be read, and will fail
            self._amount += 1
            return
        self._amount += sum(not self._codec.wire.words.is_keep_alive(*event) for event in parsed)
        if not self._has_ended:
            events = [event for name, data in parsed for event in self._reader.read_event(name, data)]
            self._has_ended = any(isinstance(event, AnswerEnd | ErrorInfo) for event in events)


def rest_grace(source: AnswerSource) -> float:
    """Return the seconds of silence after the last word of an answer until it ends."""
    return min(SILENT_INTERVALS * source.target_request.context.service.settings.keep_alive, source.watch.idle / 2)


class RestOfAnswer:
    """The rest of a response that is complete without it, such as its usage. ``failure`` is why it did not arrive."""

    def __init__(self) -> None:
        self.failure: GatewayError | None = None
        self._last: object = None
        self._deadline = 0.0

    async def read(self, chunks: AsyncIterator[bytes], amount: object, grace: float) -> bytes | None:
        """Return the next piece, ``None`` if ``amount``, which keep-alives do not change, stays equal for ``grace``
        seconds."""
        now = trio.current_time()
        if (amount, grace) != self._last:
            self._last, self._deadline = (amount, grace), now + grace
        try:
            return await _read_within(chunks, max(0, self._deadline - now))
        except GatewayError as error:
            self.failure = error
            return None


async def read_rest(chunks: AsyncIterator[bytes], grace: float) -> bytes | None:
    """Return the next piece of a response that is complete without it, ``None`` if it does not arrive."""
    with contextlib.suppress(GatewayError):
        return await _read_within(chunks, grace)
    return None


async def _read_within(chunks: AsyncIterator[bytes], grace: float) -> bytes | None:
    """Return the next piece, ``None`` at the end. Raises ``GatewayError`` if it does not arrive within ``grace``
    seconds."""
    with trio.move_on_after(grace):
        return await anext(chunks, None)
    raise GatewayError.of(EARLY)


async def count_answer(context: ExchangeContext, scope: RequestScope, size: int, watch: Watch) -> int:
    """Count ``size`` bytes of a response that is read completely, and return the size at which to call this again.

    Waits while the client's other responses need its memory."""
    if (memory := scope.answer_memory) is None:
        admission, client_request = context.service.admission, context.client_request
        holder = admission.holder(client_request.client, client_request.headers)
        memory = scope.answer_memory = admission.answer(holder, scope)
    await memory.reach(size, watch)
    return memory.next_size


def is_shut_down(watch: Watch) -> bool:
    """Return whether the end of the drain cancelled ``watch``, and not its own limits."""
    return watch.scope.cancelled_caught and watch.failure() is SHUTTING_DOWN
