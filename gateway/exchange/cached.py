"""An attempt's answer out of the cache of answers, or on its way into it.

``CachedAsk`` stands around the way in which an attempt's answer is asked for. Each attempt looks under its own target,
so that an answer is that of the place which would be asked now; whoever finds nothing leads a flight, which identical
requests follow until its answer is kept.
"""

import time
from collections.abc import Awaitable, Callable, Collection, Iterator
from functools import partial
from typing import Any, ClassVar, Final, Protocol, TypeVar

import attrs
import trio

from gateway.answer_cache.directives import read_wish
from gateway.answer_cache.eligible import is_eligible, sets_length
from gateway.answer_cache.flight import Flight
from gateway.answer_cache.keepable import is_keepable
from gateway.answer_cache.key import FORM, LEFT_OUT, answer_key, canonical
from gateway.answer_cache.replay import replayed, response_of
from gateway.answer_cache.stored_answer import AnswerStamp, StoredAnswer
from gateway.config.cached_answers import CacheUse
from gateway.conversations.recorder import TurnRecorder
from gateway.exchange.attempt import Attempt, is_stream
from gateway.exchange.context import ExchangeContext
from gateway.exchange.disconnect import Audience
from gateway.http.offload import offload
from gateway.http.passing import TO_PROVIDER, HeaderNames
from gateway.http.request_scope import RequestScope
from gateway.request.parse import Incoming
from gateway.request.wire import upstream_request
from gateway.routing.target import Target
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError
from streams.events import ErrorInfo

T = TypeVar("T")

NOT_CACHED: Final = ErrorInfo(
    "timeout", "there is no cached answer to this request, and cache-control: only-if-cached asks for none else",
    code="not_cached", reason=None,
)  # fmt: skip

FOLLOWED: Final = 2
"""Flights that one attempt follows that fail before their content: the failure of the last one is its own then, so that
a provider which is out is not asked by all of them in turn (ELares/IronTraffic#249)."""

SESSIONS: Final = (
    "x-app", "x-claude-*", "originator", "version", "session-id", "session_id", "thread-id", "thread_id",
    "conversation-id", "conversation_id", "x-grok-conv-id",
)  # fmt: skip
"""Headers in which coding agents name themselves and their sessions."""

_VOLATILE: Final = HeaderNames.of((*TO_PROVIDER, *SESSIONS, "accept", "accept-encoding", "content-type"))
"""Headers on which no answer depends; others that go to the provider do count."""

_ALWAYS: Final = ("anthropic-version", "anthropic-beta", "openai-beta")
"""Headers of a client's that count also where they do not go to the provider."""


class AnswerKind(Protocol):
    """What the cache has to know of a kind of answers."""

    @property
    def has_forms(self) -> bool:
        """Whether a stream can be made of a whole answer, and the other way round."""
        ...

    def may_be_cached(self, attempt: Attempt, use: CacheUse, most: int) -> bool:
        """Whether the answer to ``attempt``, whose request has ``most`` bytes at most, may come from the cache."""
        ...

    def request(self, attempt: Attempt) -> UpstreamRequest:
        """The request as it is sent for a whole answer, before it is signed."""
        ...

    def judge(self, attempt: Attempt, response: UpstreamResponse) -> Callable[[bytes], bool]:
        """What tells of the whole body of ``response`` whether it is worth being kept."""
        ...


@attrs.frozen
class ConversationAnswers:
    """The ``AnswerKind`` of conversations; ``turn`` is what is stored of one."""

    turn: TurnRecorder
    has_forms: ClassVar[bool] = True

    def may_be_cached(self, attempt: Attempt, use: CacheUse, most: int) -> bool:
        return is_eligible(attempt.incoming, self.turn, use, most)

    def request(self, attempt: Attempt) -> UpstreamRequest:
        return upstream_request(attempt.prepared.outgoing, attempt.target, attempt.sent, stream=False)

    def judge(self, attempt: Attempt, response: UpstreamResponse) -> Callable[[bytes], bool]:
        framing = attempt.target.framing if is_stream(attempt.target, response) else None
        limited = sets_length(attempt.incoming)
        return partial(is_keepable, attempt.target.api, framing=framing, limited=limited)


class CachedAsk:
    """The use of the cache by one exchange, whose tasks live in ``scope``. ``owner`` is whose its answers are."""

    def __init__(
        self, context: ExchangeContext, use: CacheUse, owner: str, kind: AnswerKind, scope: RequestScope
    ) -> None:
        self._context = context
        self._cache = context.service.answer_cache
        self._use = use
        self._owner = owner
        self._kind = kind
        self._nursery = scope.nursery
        self._wish = read_wish(context.asked.header("cache-control"))
        self._flight: Flight | None = None
        self.deserted = trio.Event()
        """Nobody is there for whom the answer should go on without its client."""

    def left(self) -> None:
        """The client has left: the answer goes on while others follow it."""
        if self._flight is None or not self._flight.followers:
            self.deserted.set()
        else:
            self._flight.on_deserted = self.deserted

    async def ask(self, ask: Callable[[Attempt], Awaitable[T]], attempt: Attempt) -> T:
        """What ``ask`` gives for ``attempt``, whose answer is a cached one where there is one."""
        record, wish = self._context.record, self._wish
        key = await offload(attempt.incoming.size, self._key, attempt)
        if key is None or not (wish.reads or wish.keeps):
            record.cache = "bypass"
            self._may_ask()
            return await ask(attempt)
        failed: ErrorInfo | None = None
        for _ in range(FOLLOWED if wish.reads else 0):
            if (answer := await self._cache.find(key, wish.max_age)) is not None:
                age = self._cache.age(answer)
                return await self._given(ask, attempt, answer.stamp, replayed(answer, self._use.pace), age)
            flight = self._cache.flights.get(key)
            if flight is None or attempt.raced or not flight.may_be_joined:
                failed = None
                break
            reader = flight.follow()
            try:
                if await flight.begun():
                    headers = (("content-type", flight.content_type),)
                    return await self._given(ask, attempt, flight.stamp, response_of(reader, headers), 0)
            finally:
                await reader.aclose()
            failed = flight.failed
        if failed is not None:
            record.cache = "miss"
            attempt.reuse()
            attempt.requests = 1  # one of those that the client has: it was sent, though not for this request alone
            raise GatewayError.of(failed)
        self._may_ask()
        record.cache = "miss" if wish.reads else "bypass"
        return await self._lead(ask, attempt, key) if wish.keeps else await ask(attempt)

    def _may_ask(self) -> None:
        """Raises ``GatewayError`` (504) where the client wants nothing but a cached answer."""
        if self._wish.must_hit:
            raise GatewayError.of(NOT_CACHED)

    async def _given(
        self,
        ask: Callable[[Attempt], Awaitable[T]],
        attempt: Attempt,
        stamp: AnswerStamp,
        response: UpstreamResponse,
        age: int,
    ) -> T:
        """What ``ask`` makes of ``response``, for which nobody is asked."""
        record = self._context.record
        record.cache, record.cache_age = "hit", age
        attempt.reuse()
        attempt.stamp = stamp

        async def give(_: Attempt) -> UpstreamResponse:
            return response

        attempt.instead = give
        try:
            return await ask(attempt)
        finally:
            await response.aclose()

    async def _lead(self, ask: Callable[[Attempt], Awaitable[T]], attempt: Attempt, key: bytes) -> T:
        """What ``ask`` makes of the provider's answer, which others may follow meanwhile, and which is kept if it is
        good."""
        flights = self._cache.flights
        flight = Flight(self._cache.settings.max_answer, AnswerStamp(int(time.time())))
        if not attempt.raced and self._wish.reads:
            flights.setdefault(key, flight)
        if not attempt.raced:
            self._flight = flight
        attempt.stamp = flight.stamp
        attempt.instead = partial(self._send, flight=flight, key=key)
        attempt.on_commit = flight.begin
        try:
            return await ask(attempt)
        except GatewayError as error:
            flight.fail(error.failed)
            raise
        except BaseException:
            flight.abandon()
            raise
        finally:
            if flight.is_lost and flights.get(key) is flight:
                del flights[key]

    async def _send(self, attempt: Attempt, flight: Flight, key: bytes) -> UpstreamResponse:
        """The provider's response, which is read in a task of its own from now on: a slow client slows nobody who
        follows."""
        response = await attempt.send_once()
        flight.content_type = response.header("content-type") or ""
        self._nursery.start_soon(self._read, flight, response, key, self._kind.judge(attempt, response))
        return response_of(flight.lead(), response.headers, response.status)

    async def _read(
        self, flight: Flight, response: UpstreamResponse, key: bytes, judge: Callable[[bytes], bool]
    ) -> None:
        """Read ``response`` for all who follow it, and keep it. It ends with them, not with the leader's client."""
        with trio.CancelScope(shield=True):
            await flight.run(response)
            try:
                body = await flight.whole()
                if body is None:
                    return
                if await offload(len(body), judge, body):
                    answer = StoredAnswer(0.0, flight.content_type, flight.stamp, body, tuple(flight.pauses))
                    await self._cache.keep(key, self._owner, answer, self._use.ttl)
            finally:
                if self._cache.flights.get(key) is flight:
                    del self._cache.flights[key]

    def _key(self, attempt: Attempt) -> bytes | None:
        """The key of the attempt's answer, ``None`` where it may not come from the cache."""
        incoming, use = attempt.incoming, self._use
        if not self._kind.may_be_cached(attempt, use, self._cache.settings.max_request):
            return None
        try:
            return answer_key(self._parts(attempt, incoming))
        except (ValueError, RecursionError):
            return None

    def _left_out(self, target: Target) -> Collection[str]:
        """The members that do not count. Responses repeats them in its answers, which then are not for others."""
        if self._use.strict:
            return ()
        return FORM if target.api == "responses" and self._use.scope != "key" else LEFT_OUT

    def _parts(self, attempt: Attempt, incoming: Incoming) -> Iterator[bytes]:
        """Everything that the answer depends on, as it would be sent and as it was said."""
        target, asked, strict = attempt.target, self._context.asked, self._use.strict
        out = self._kind.request(attempt)
        identity = target.identity
        if target.entry.passthrough_auth:
            identity = identity.with_credential(self._context.passed_on(target))
        yield self._owner.encode()
        yield repr((incoming.api, out.method, out.url, target.api, target.lane, target.entry.name)).encode()
        yield repr((target.model, identity.endpoint, _spelled(target.recipient.quirks))).encode()
        yield identity.place
        yield repr([pair for pair in out.headers if pair[0].lower() not in _VOLATILE]).encode()
        yield repr([asked.header(name) for name in _ALWAYS]).encode()
        left_out = self._left_out(target)
        yield canonical(out.body, left_out)
        yield canonical(incoming.body, left_out)
        if target.api == "chat" and incoming.stream and b'"include_usage"' not in out.body:
            yield b"not counted as it streams"
        if strict or not self._kind.has_forms:
            yield b"stream" if incoming.stream else b"whole"


def _spelled(value: Any) -> dict[str, Any]:
    """A value of a class in words that every process has for it: sets in order."""
    return attrs.asdict(value, value_serializer=lambda _, __, one: sorted(one) if isinstance(one, frozenset) else one)


def going_on(cached: CachedAsk | None, audience: Audience, target: Target) -> CachedAsk | None:
    """``cached`` where it decides how long an answer goes on without its client: one that is read to its end anyhow
    does not depend on others."""
    return None if audience.survives(target) else cached
