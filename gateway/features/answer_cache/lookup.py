"""The cache lookup before each attempt, for the target that would receive the request. After a miss the request leads:
identical requests share its response while it arrives."""

import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final, Protocol

import attrs
import trio

from gateway.exchange.answering import is_stream
from gateway.exchange.attempt_answer import A, begin_answer
from gateway.exchange.context import ExchangeContext, attempt_record
from gateway.exchange.origin import Make
from gateway.exchange.target_request import AnswerSource, TargetRequest
from gateway.features.answer_cache.cache import AnswerCache, read_cache_control
from gateway.features.answer_cache.eligible import (
    EXCLUDED,
    FORM_MEMBERS,
    BodyParts,
    answer_key,
    canonical_bodies,
    is_cacheable,
    is_eligible,
    sets_length,
)
from gateway.features.answer_cache.flight import Flight, FlightReader
from gateway.features.answer_cache.outcome import mark_hit
from gateway.features.answer_cache.own_members import OWN_MEMBER, OwnMembersBody
from gateway.features.answer_cache.settings import CacheUse
from gateway.features.answer_cache.stored_answer import AnswerStamp, StoredAnswer, local_response, replay_body
from gateway.http.offload import offload
from gateway.http.passing import TO_PROVIDER, HeaderNames
from gateway.ledger.bill import AttemptOutcome, AttemptRecord, Cause
from gateway.request.wire import upstream_request
from gateway.routing.plan import Stage
from gateway.routing.target import Target
from gateway.upstream.http11 import BodySource
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError
from streams.events import ErrorInfo
from streams.pipe import Watch
from streams.timeouts import UNLIMITED

NOT_CACHED: Final = ErrorInfo(
    "timeout", "the cache has no response for this request, and cache-control: only-if-cached allows no other",
    code="not_cached", reason=None,
)  # fmt: skip

_LATE: Final = ErrorInfo(
    "timeout",
    "this request waited for the answer to an identical one, which did not come before the deadline",
    reason=None,
)

MAX_FLIGHTS: Final = 2
"""Failed responses of other requests that a request waits for. Then it fails, too, so that not all requests in turn try
an unavailable provider (ELares/IronTraffic#249)."""

JOIN_SECONDS: Final = 0.1
"""Seconds that a request waits for another client's identical request to be sent; its own limits may delay that."""

SESSIONS: Final = (
    "x-app", "x-claude-*", "originator", "version", "session-id", "session_id", "thread-id", "thread_id",
    "conversation-id", "conversation_id", "x-grok-conv-id",
)  # fmt: skip
"""Headers with the names and the sessions of coding agents."""

_VOLATILE: Final = HeaderNames.of((*TO_PROVIDER, *SESSIONS, "accept", "accept-encoding", "content-type"))
"""Headers that do not change the response; all other forwarded headers are part of the key."""

_KEY_HEADERS: Final = ("anthropic-version", "anthropic-beta", "openai-beta")
"""Client headers that are part of the key even if they are not forwarded."""


class AnswerKind(Protocol):
    """The cache's rules for one kind of requests: conversations, or an endpoint such as embeddings."""

    @property
    def can_change_form(self) -> bool:
        """Whether a stream can be made from a complete response, and the reverse."""

    def may_be_cached(self, target_request: TargetRequest, use: CacheUse, max_size: int) -> bool:
        """Return whether the response to ``target_request``, of at most ``max_size`` bytes, may come from the cache."""

    def request(self, target_request: TargetRequest) -> UpstreamRequest:
        """Return the unsigned request for a complete response."""

    def judge(self, target_request: TargetRequest, content_type: str) -> Callable[[bytes], bool]:
        """Return the function that checks whether a complete body may be cached."""

    def with_own_members(
        self, target_request: TargetRequest, body: BodySource, content_type: str, event_limit: int
    ) -> BodySource:
        """Return a cached ``body`` with the members of ``target_request`` that a provider repeats in its response."""


class ConversationAnswers:
    """The cache's rules for conversations."""

    can_change_form = True

    def may_be_cached(self, target_request: TargetRequest, use: CacheUse, max_size: int) -> bool:
        return target_request.choices == 1 and is_eligible(
            target_request.request.incoming, target_request.request.turn, use, max_size
        )

    def request(self, target_request: TargetRequest) -> UpstreamRequest:
        return upstream_request(
            target_request.prepared.outgoing, target_request.target, target_request.sent, stream=False
        )

    def judge(self, target_request: TargetRequest, content_type: str) -> Callable[[bytes], bool]:
        target = target_request.target
        api, framing = target.api, target.framing if is_stream(target_request, content_type) else None
        limited = sets_length(target_request.request.incoming)
        return lambda body: is_cacheable(api, body, framing=framing, limited=limited)

    def with_own_members(
        self, target_request: TargetRequest, body: BodySource, content_type: str, event_limit: int
    ) -> BodySource:
        target = target_request.target
        if target.api != "responses" or target.lane != "byte":  # the gateway writes the response itself
            return body
        framing = target.framing if is_stream(target_request, content_type) else None
        return OwnMembersBody.of(body, target_request.prepared.outgoing.body, framing, event_limit)


class CacheHit(AnswerSource):
    """A cached response, without a request.

    ``response`` reads like the provider's, ``target_request`` is the request that would have been sent, ``age`` is the
    number of seconds since the response was created. ``followed`` reads a response in progress. ``joined``: it
    continued without the client that requested it. ``cause`` is the reason for the attempt that it replaces."""

    stage = Stage.ANSWERING

    def __init__(
        self,
        target_request: TargetRequest,
        response: UpstreamResponse,
        stamp: AnswerStamp,
        age: int,
        *,
        followed: FlightReader | None = None,
        joined: bool = False,
    ) -> None:
        request = attrs.evolve(target_request, ids=stamp)
        super().__init__(request, Watch(UNLIMITED if followed is None else target_request.target.entry.timeouts))
        self._response = response
        self._began = time.perf_counter()
        self._age = age
        self._followed = followed
        self._is_joined = joined
        self._has_begun = False
        self._cached_attempt: AttemptRecord | None = None
        places = request.context.attempt_log.places
        self.cause: Cause = "first" if not places else "retry" if request.target.place in places else "fallback"

    async def send(self) -> UpstreamResponse:
        return self._response

    async def aclose(self) -> None:
        await self._response.aclose()

    async def run(self, make: Make[A]) -> A:
        """Return the response for the client. Raises ``GatewayError`` if the client cannot receive it."""
        context, turn = self.target_request.context, self.target_request.request.turn
        record = context.record
        mark_hit(record, self._age, joined=self._is_joined)
        self.target_request.report(record)
        try:
            answer = await begin_answer(context, self.watch, make(self))
        except BaseException as error:
            await self.aclose()
            if isinstance(error, GatewayError):
                self._record_attempt(error.info)
            raise
        self.watch.lift_content_limit()
        self._has_begun = True
        record.lane = answer.lane_name
        if turn.records:
            turn.record_target(self.target_request.target, answer.writer)
        self._record_attempt(None)
        return answer

    def note_disconnect(self) -> None:
        """Note that the client has disconnected before the end of the response."""
        if self._followed is not None:
            self._followed.has_left = True

    def fail(self, error: ErrorInfo) -> None:
        """Report that the response failed with ``error`` after its start."""
        self._record_attempt(error)

    def _record_attempt(self, error: ErrorInfo | None) -> None:
        cached_attempt = _cached_attempt(
            self.target_request, error, self.cause, committed=self._has_begun,
            content=time.perf_counter() - self._began,
        )  # fmt: skip
        self.target_request.context.attempt_log.add(cached_attempt, self._cached_attempt)
        self._cached_attempt = cached_attempt


class CacheLookup:
    """The cache lookup of one exchange, following the client's ``cache-control``.

    ``owner`` is the name under which responses are cached: no other owner receives them. ``holder`` is the client
    whose share of memory the request uses. ``body_parts`` returns the parts of keys for bodies."""

    def __init__(
        self,
        context: ExchangeContext,
        cache: AnswerCache,
        use: CacheUse,
        owner: str,
        holder: str,
        kind: AnswerKind,
        body_parts: BodyParts = canonical_bodies,
    ) -> None:
        self.holder = holder
        self.cache = cache
        self.cache_control = read_cache_control(context.client_request.header("cache-control"))
        self._context = context
        self._use = use
        self._owner = owner
        self.kind = kind
        self._body_parts = body_parts

    async def find(self, target_request: TargetRequest, key: bytes) -> CacheHit | ErrorInfo | None:
        """Return the cached response of ``key``, or share the response to an identical request; ``None`` without one.

        If the provider fails ``MAX_FLIGHTS`` identical requests before their content, returns the last error. Raises
        ``GatewayError`` at the request's deadline."""
        failures: list[ErrorInfo] = []
        for _ in range(MAX_FLIGHTS):
            if (answer := await self.cache.find(key, self.cache_control.max_age)) is not None:
                response = self._local_response(
                    target_request, replay_body(answer, self._use.pace), answer.content_type
                )
                return CacheHit(target_request, response, answer.stamp, self.cache.age(answer))
            flight = self.cache.flights.get(key)
            if flight is None or not flight.may_be_joined:
                return None
            if (hit := await self._follow(flight, target_request)) is not None:
                return hit
            if not flight.has_failed:
                return None
            if flight.error is not None:
                failures.append(flight.error)
        if len(failures) < MAX_FLIGHTS:
            return None
        self._context.attempt_log.add(_cached_attempt(target_request, failures[-1], committed=False))
        return failures[-1]

    async def _follow(self, flight: Flight, target_request: TargetRequest) -> CacheHit | None:
        """Wait for the response to an identical request, and return it as a hit.

        Returns ``None`` if it fails before its content, or if another client's own limits delay it. Raises
        ``GatewayError`` at the request's deadline."""
        plan, now = target_request.request.plan, self._context.service.health.clock()
        reader = flight.follow(self.holder)
        try:
            with trio.move_on_after(max(0.0, plan.deadline - now)) as time:
                if flight.holder != self.holder:
                    with trio.move_on_after(JOIN_SECONDS):
                        await flight.wait_until_sent()
                if (flight.holder == self.holder or flight.was_sent) and await flight.wait_for_content():
                    response = self._local_response(target_request, reader, flight.content_type)
                    return CacheHit(target_request, response, flight.stamp, 0, followed=reader, joined=flight.is_kept)
        except BaseException:
            await reader.aclose()
            raise
        await reader.aclose()
        if time.cancelled_caught:
            raise GatewayError.of(_LATE)
        return None

    def _local_response(self, target_request: TargetRequest, body: BodySource, content_type: str) -> UpstreamResponse:
        """Return ``body`` as the response to ``target_request``, with the members that it repeats of the request."""
        if OWN_MEMBER in self._excluded_members(target_request.target):
            limit = self._context.service.settings.limits.event
            body = self.kind.with_own_members(target_request, body, content_type, limit)
        return local_response(body, (("content-type", content_type),))

    async def keep(self, key: bytes, answer: StoredAnswer) -> None:
        """Store ``answer`` in the cache under ``key``."""
        await self.cache.keep(key, self._owner, answer, self._use.ttl)

    async def key(self, target_request: TargetRequest) -> bytes | None:
        """Return the cache key of ``target_request``, or ``None`` if its response must not be cached."""
        return await offload(target_request.request.incoming.size, self._key, target_request)

    def _key(self, target_request: TargetRequest) -> bytes | None:
        if not self.kind.may_be_cached(target_request, self._use, self.cache.settings.max_request):
            return None
        try:
            return answer_key(self._key_parts(target_request))
        except (ValueError, RecursionError):
            return None

    def _excluded_members(self, target: Target) -> Collection[str]:
        """Return the request members that are not part of the key.

        The Responses API repeats most members in its responses, which other requests then cannot use."""
        if self._use.strict:
            return ()
        return FORM_MEMBERS if target.api == "responses" and self._use.scope != "key" else EXCLUDED

    def _key_parts(self, target_request: TargetRequest) -> Iterator[bytes]:
        """Yield the parts of the cache key: everything that the response depends on, as sent and as requested."""
        target, incoming = target_request.target, target_request.request.incoming
        client_request = self._context.client_request
        out = self.kind.request(target_request)
        identity = target.identity
        if target.entry.passthrough_auth:
            identity = identity.with_credential(self._context.forwarded_credential(target))
        yield self._owner.encode()
        yield repr((incoming.api, out.method, out.url, target.api, target.lane, target.entry.name)).encode()
        yield repr((target.model, identity.endpoint, _with_sorted_sets(target.recipient.quirks))).encode()
        yield identity.place
        yield repr([pair for pair in out.headers if pair[0].lower() not in _VOLATILE]).encode()
        yield repr([client_request.header(name) for name in _KEY_HEADERS]).encode()
        excluded = self._excluded_members(target)
        yield from self._body_parts(incoming, out.body, excluded)
        if target.api == "chat" and incoming.stream and b'"include_usage"' not in out.body:
            yield b"not counted as it streams"
        if self._use.strict or not self.kind.can_change_form:
            yield b"stream" if incoming.stream else b"whole"


def _cached_attempt(
    target_request: TargetRequest,
    error: ErrorInfo | None,
    cause: Cause = "first",
    *,
    committed: bool,
    content: float | None = None,
) -> AttemptRecord:
    """Return the record of an attempt that the cache answered without a request to the provider."""
    reason: AttemptOutcome = "ok" if error is None else error.reason or target_request.context.own_reason(error)
    target = target_request.target
    return attempt_record(target, reason, target.lane, cause, content=content, committed=committed, requests=0)


def _with_sorted_sets(value: Any) -> dict[str, Any]:
    """Return the attributes of an attrs ``value`` with sets sorted, so that every process encodes it alike."""
    return attrs.asdict(value, value_serializer=lambda _, __, one: sorted(one) if isinstance(one, frozenset) else one)
