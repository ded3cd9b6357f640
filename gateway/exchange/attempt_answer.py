"""The response of one attempt until it may go to the client."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias, TypeVar

import trio

from gateway.access.body_memory import UNCOUNTED
from gateway.exchange.context import ExchangeContext
from gateway.exchange.target_request import AnswerSource
from gateway.http.headers import Headers
from gateway.http.offload import join_pieces, offload
from gateway.http.request_scope import RequestScope
from gateway.routing.target import LaneName
from gateway.streaming.lane import too_large
from gateway.upstream.response import UpstreamResponse
from providers.neutral.codec import Writer
from streams.errors import GatewayError
from streams.events import Usage
from streams.pipe import SHUTTING_DOWN, Watch

Pieces: TypeAlias = list[tuple[float, bytes]]
"""Pieces of a provider's body, each with the time (trio's clock) of its arrival."""

Verdict: TypeAlias = Callable[[], Awaitable[bool]]


class AttemptAnswer(Protocol):
    """The response of one attempt, from its start until it has gone to the client."""

    @property
    def lane_name(self) -> LaneName:
        """The lane of the response."""
        ...

    @property
    def usage(self) -> Usage | None:
        """The usage that the provider has reported so far."""
        ...

    @property
    def writer(self) -> Writer | None:
        """The writer of the client's stream, if the response is translated into one."""
        ...

    async def begin(self) -> None:
        """Send the request and read its response until it may go to the client: its first content, or all of it.

        Meanwhile nothing is sent to the client or recorded. Raises ``GatewayError`` if the attempt fails. After a
        failure or cancellation the response is closed."""
        ...

    async def aclose(self) -> None:
        """Close the response of an attempt that is not needed."""
        ...


class CacheableAnswer(AttemptAnswer, Protocol):
    """A response that other requests may share, and that may be cached."""

    @property
    def read_pieces(self) -> Pieces:
        """The pieces that were read before it began. The first one is empty and has the time of the head."""
        ...

    @property
    def content_type(self) -> str:
        """The content type of the provider's response."""
        ...

    @property
    def unread_response(self) -> UpstreamResponse | None:
        """The response with unread bytes, or ``None`` if everything was read."""
        ...

    def continue_from(self, response: UpstreamResponse) -> None:
        """Read the unread bytes from ``response`` from now on."""
        ...

    @property
    def verdict(self) -> Verdict | None:
        """Waits for the steps that check the response, and returns whether they let it pass unchanged. ``None`` without
        steps."""
        ...


A = TypeVar("A", bound=AttemptAnswer)
C = TypeVar("C", bound=CacheableAnswer)


async def begin_answer(context: ExchangeContext, watch: Watch, answer: A) -> A:
    """Begin ``answer`` within the limits of ``watch``, and return it. Raises ``GatewayError``, also at the end of the
    drain."""
    try:
        with context.service.lifecycle.track_pump(watch.scope), watch.scope:
            await answer.begin()
            return answer
    finally:  # also if cancelled, because a client that does not read receives no failure
        context.record.shut_down = is_shut_down(watch)
    raise GatewayError.of(watch.failure())


class UnchangedAnswer:
    """The ``AttemptAnswer`` of an unchanged body, read completely."""

    writer = None
    usage: Usage | None = None

    def __init__(self, scope: RequestScope, source: AnswerSource) -> None:
        self.source = source
        self.lane_name = source.target_request.target.lane
        self.response: UpstreamResponse
        self.body = b""
        self._scope = scope

    async def begin(self) -> None:
        self.response = await self.source.send()
        self.body = await read_body(self.source, self.response, self._scope)

    async def aclose(self) -> None:
        await self.response.aclose()

    async def public_body(self) -> bytes:
        """Return the body without the provider's key."""
        return await offload(len(self.body), self.source.target_request.disclosure.body, self.body)

    @property
    def client_headers(self) -> Headers:
        """The response's headers for the client."""
        return self.source.target_request.disclosure.headers(self.response.headers, self.lane_name)


async def read_body(
    source: AnswerSource, response: UpstreamResponse, scope: RequestScope, read_pieces: Pieces | None = None
) -> bytes:
    """Return the whole body of ``response`` and close it. Raises ``GatewayError``.

    Its memory counts for the client until ``scope`` ends. Adds its pieces to ``read_pieces``, for the cache."""
    context, watch = source.target_request.context, source.watch
    limit, size, counted = context.service.limits.answer, 0, UNCOUNTED
    parts: list[bytes | bytearray] = []
    restart_limit = (
        _do_nothing if response.has_arrived else watch.restart_idle_limit
    )  # a deadline only applies to a wait
    restart_limit()
    pieces = None if source.stamp is None else read_pieces
    if pieces is not None:
        pieces.append((trio.current_time(), b""))
    try:
        async for chunk in response.chunks(split_dense=pieces is not None):  # the cache replays the pieces as a stream
            restart_limit()
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
    context.observer.note_body(body)
    return body


async def count_answer(context: ExchangeContext, scope: RequestScope, size: int, watch: Watch) -> int:
    """Count ``size`` bytes of a response that is read completely, and return the size at which to call this again.

    Waits while the client's other responses need its memory."""
    if (memory := scope.answer) is None:
        admission, client_request = context.service.admission, context.client_request
        holder = admission.holder(client_request.client, client_request.headers)
        memory = scope.answer = admission.answer(holder, scope)
    await memory.reach(size, watch)
    return memory.next_size


def _do_nothing() -> None:
    return


def is_shut_down(watch: Watch) -> bool:
    """Return whether the end of the drain cancelled ``watch``, and not its own limits."""
    return watch.scope.cancelled_caught and watch.failure() is SHUTTING_DOWN
