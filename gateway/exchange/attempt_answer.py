"""The answer of one attempt while it is read, up to where it may go to the client."""

from typing import Protocol, TypeAlias, TypeVar

import trio

from gateway.exchange.context import ExchangeContext
from gateway.exchange.target_request import AnswerSource
from gateway.http.headers import Headers
from gateway.routing.target import LaneName
from gateway.streaming.lane import too_large
from gateway.upstream.response import UpstreamResponse
from providers.neutral.codec import Writer
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage
from streams.pipe import SHUTTING_DOWN, Watch

Pieces: TypeAlias = list[tuple[float, bytes]]
"""Pieces of a provider's body, each with the moment (trio's clock) at which it came."""


class AttemptAnswer(Protocol):
    """The answer of one attempt, while it is read and until it has gone to the client."""

    @property
    def lane_name(self) -> LaneName:
        """The way of the answer to the client."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What the provider has said so far that the answer took."""
        ...

    @property
    def writer(self) -> Writer | None:
        """The writer of the client's stream, if the answer is translated into one."""
        ...

    async def begin(self) -> None:
        """Send the request, and read its answer up to where it may go to the client: its first content, or all of it.

        Nothing goes to the client or on the record meanwhile. Raises ``GatewayError`` where the attempt fails.
        Cancelled, or failed, it has closed the response."""
        ...

    async def aclose(self) -> None:
        """Close the response of an answer that has begun and is not wanted."""
        ...


class CacheableAnswer(AttemptAnswer, Protocol):
    """An answer that others may follow, and that may be kept to be given again."""

    @property
    def came(self) -> Pieces:
        """What was read of it until it had begun. The first piece is empty: it is the moment of the head."""
        ...

    @property
    def content_type(self) -> str:
        """That of the provider's response."""
        ...

    @property
    def rest(self) -> UpstreamResponse | None:
        """The response of which more is to be read, ``None`` where all of it was."""
        ...

    def go_on_with(self, response: UpstreamResponse) -> None:
        """Read the rest from ``response``."""
        ...


A = TypeVar("A", bound=AttemptAnswer)
C = TypeVar("C", bound=CacheableAnswer)


class OtherAttempts(Protocol):
    """What may follow an attempt."""

    def might_go_on(self, attempt: AnswerSource) -> bool:
        """Return whether another attempt might follow ``attempt``."""
        ...

    def goes_on_after(self, attempt: AnswerSource, failed: ErrorInfo) -> bool:
        """Return whether another attempt would follow if ``attempt`` had ``failed``."""
        ...


async def begun(context: ExchangeContext, watch: Watch, answer: A) -> A:
    """Return ``answer`` once it has begun, or raise ``GatewayError``: also for the end of the drain, and where
    ``watch`` has run out."""
    try:
        with context.service.lifecycle.pump(watch.scope), watch.scope:
            await answer.begin()
            return answer
    finally:  # cancelled, too: a client that does not read is never told
        context.record.shut_down = is_shut_down(watch)
    raise GatewayError.of(watch.failure())


class UnchangedAnswer:
    """The ``AttemptAnswer`` of a body that passes as it is, read to its end."""

    writer = None
    usage: Usage | None = None

    def __init__(self, source: AnswerSource) -> None:
        self.source = source
        self.lane_name = source.made.target.lane
        self.response: UpstreamResponse
        self.body = b""

    async def begin(self) -> None:
        self.response = await self.source.send()
        self.body = await read_body(self.source, self.response)

    async def aclose(self) -> None:
        await self.response.aclose()

    @property
    def public_body(self) -> bytes:
        """The body without the provider's key, should it hold it."""
        return self.source.made.disclosure.body(self.body)

    @property
    def passed(self) -> Headers:
        """The headers of the response that are for the client."""
        return self.source.made.disclosure.headers(self.response.headers, self.lane_name)


async def read_body(source: AnswerSource, response: UpstreamResponse, came: Pieces | None = None) -> bytes:
    """Read the whole body of ``response``, which is closed then; add its pieces to ``came`` where it may be cached.
    Raises ``GatewayError``."""
    context, watch = source.made.context, source.watch
    limit, size = context.service.limits.answer, 0
    parts: list[bytes] = []
    note = _nothing if response.has_arrived else watch.data_arrived  # a deadline is only for a wait
    note()
    pieces = None if source.stamp is None else came
    if pieces is not None:
        pieces.append((trio.current_time(), b""))
    try:
        async for chunk in response.chunks():
            note()
            if pieces is not None:
                pieces.append((trio.current_time(), chunk))
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                raise GatewayError.of(too_large(limit))
    finally:
        await response.aclose()
    body = b"".join(parts)
    context.observer.received(body)
    return body


def _nothing() -> None:
    return


def is_shut_down(watch: Watch) -> bool:
    """Return whether it was the end of the drain that cut what ``watch`` is over, and not its own limits."""
    return watch.scope.cancelled_caught and watch.failure() is SHUTTING_DOWN
