"""The cache lookup before each attempt, for the target that would receive the request. After a miss the request leads:
identical requests share its response while it arrives."""

import time
from collections.abc import Callable, Collection, Iterator
from typing import Any, ClassVar, Final, Protocol

import attrs

from gateway.answer_cache.eligible import is_cacheable, is_eligible, sets_length
from gateway.answer_cache.flight import Flight
from gateway.answer_cache.key import EXCLUDED, FORM_MEMBERS, answer_key, canonical
from gateway.answer_cache.replay import local_response, replay_response
from gateway.answer_cache.stored_answer import AnswerStamp, StoredAnswer
from gateway.answer_cache.uses import read_cache_control
from gateway.config.aliases import Route
from gateway.config.cached_answers import CacheUse
from gateway.conversations.recorder import TurnRecorder
from gateway.exchange.answering import is_stream
from gateway.exchange.attempt_answer import C, begun
from gateway.exchange.context import ExchangeContext, tried_at
from gateway.exchange.origin import Make
from gateway.exchange.target_request import TargetRequest
from gateway.http.offload import offload
from gateway.http.passing import TO_PROVIDER, HeaderNames
from gateway.ledger.bill import Tried, TriedReason
from gateway.request.wire import upstream_request
from gateway.routing.plan import Stage
from gateway.routing.target import Target
from gateway.upstream.request import UpstreamRequest
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError
from streams.events import ErrorInfo
from streams.pipe import Watch

NOT_CACHED: Final = ErrorInfo(
    "timeout", "the cache has no response for this request, and cache-control: only-if-cached allows no other",
    code="not_cached", reason=None,
)  # fmt: skip

FOLLOWED: Final = 2
"""Flights that a request follows until they fail before their content. Then it fails, too, so that not all requests in
turn try an unavailable provider (ELares/IronTraffic#249)."""

SESSIONS: Final = (
    "x-app", "x-claude-*", "originator", "version", "session-id", "session_id", "thread-id", "thread_id",
    "conversation-id", "conversation_id", "x-grok-conv-id",
)  # fmt: skip
"""Headers with the names and the sessions of coding agents."""

_VOLATILE: Final = HeaderNames.of((*TO_PROVIDER, *SESSIONS, "accept", "accept-encoding", "content-type"))
"""Headers that no response depends on; all other forwarded headers are part of the key."""

_ALWAYS: Final = ("anthropic-version", "anthropic-beta", "openai-beta")
"""Client headers that are part of the key even if they are not forwarded."""


class AnswerKind(Protocol):
    """A kind of responses for the cache."""

    @property
    def has_forms(self) -> bool:
        """Whether a stream can be made from a complete response, and the reverse."""
        ...

    def may_be_cached(self, made: TargetRequest, use: CacheUse, most: int) -> bool:
        """Return whether the response to ``made``, of at most ``most`` bytes, may come from the cache."""
        ...

    def request(self, made: TargetRequest) -> UpstreamRequest:
        """Return the unsigned request for a complete response."""
        ...

    def judge(self, made: TargetRequest, content_type: str) -> Callable[[bytes], bool]:
        """Return the function that decides whether a complete body may be cached."""
        ...


@attrs.frozen(eq=False, repr=False)
class ConversationAnswers:
    """The ``AnswerKind`` of conversations. ``turn`` is what is stored of one."""

    turn: TurnRecorder
    has_forms: ClassVar[bool] = True

    def may_be_cached(self, made: TargetRequest, use: CacheUse, most: int) -> bool:
        return is_eligible(made.request.incoming, self.turn, use, most)

    def request(self, made: TargetRequest) -> UpstreamRequest:
        return upstream_request(made.prepared.outgoing, made.target, made.sent, stream=False)

    def judge(self, made: TargetRequest, content_type: str) -> Callable[[bytes], bool]:
        api, framing = made.target.api, made.target.framing if is_stream(made, content_type) else None
        limited = sets_length(made.request.incoming)
        return lambda body: is_cacheable(api, body, framing=framing, limited=limited)


class CacheHit:
    """A cached response, an ``AnswerSource`` without a request.

    ``response`` reads like the provider's, ``made`` is the request that would have been sent, ``age`` is the number of
    seconds since the response was created."""

    stage = Stage.ANSWERING
    requests = 0

    def __init__(self, made: TargetRequest, response: UpstreamResponse, stamp: AnswerStamp, age: int) -> None:
        self.made = made
        self.stamp = stamp
        self.watch = Watch(made.target.entry.timeouts)
        self._response = response
        self._began = time.perf_counter()
        self._age = age
        self._has_begun = False
        self._told: Tried | None = None

    async def send(self) -> UpstreamResponse:
        return self._response

    def release(self) -> None:
        self.made = self.made.released()

    def might_go_on(self, attempt: object) -> bool:
        """Return that nothing follows a hit."""
        return False

    def goes_on_after(self, attempt: object, failed: ErrorInfo) -> bool:
        """Return that nothing follows a hit."""
        return False

    async def run(self, make: Make[C]) -> C:
        """Return the response for the client. Raises ``GatewayError`` if the client cannot receive it."""
        context, turn = self.made.context, self.made.request.turn
        record = context.record
        record.hits(self._age)
        self.made.report(record)
        try:
            answer = await begun(context, self.watch, make(self))
        except BaseException as error:
            await self._response.aclose()
            if isinstance(error, GatewayError):
                self._tell(error.info)
            raise
        self.watch.content_arrived()
        self._has_begun = True
        record.lane = answer.lane_name
        if turn.records:
            turn.record_target(self.made.target, answer.writer)
        self._tell(None)
        return answer

    def fail(self, failed: ErrorInfo) -> None:
        """Report that the response ``failed`` after its start."""
        self._tell(failed)

    def _tell(self, failed: ErrorInfo | None) -> None:
        told = _told(self.made, failed, committed=self._has_begun, content=time.perf_counter() - self._began)
        self.made.context.tried.add(told, self._told)
        self._told = told


def lookup_of(context: ExchangeContext, route: Route | None, kind: AnswerKind) -> "CacheLookup | None":
    """Return the cache lookup for responses of ``kind``, or ``None`` if caching is off for the client or for the name
    ``route``."""
    client, uses = context.asked.client, context.service.cache_uses
    use = None if uses is None else uses.use_of(client, route)
    if uses is None or use is None:
        return None
    owner = uses.owner(use, client, context.service.admission.holder(client, context.asked.headers))
    return CacheLookup(context, use, owner, kind)


class CacheLookup:
    """The cache lookup of one exchange, with its client's wishes. ``owner`` owns the cached responses."""

    def __init__(self, context: ExchangeContext, use: CacheUse, owner: str, kind: AnswerKind) -> None:
        self.wish = read_cache_control(context.asked.header("cache-control"))
        self._context = context
        self._use = use
        self._owner = owner
        self.kind = kind
        self._cache = context.service.answer_cache

    async def find(self, made: TargetRequest, key: bytes) -> CacheHit | ErrorInfo | None:
        """Return a hit for ``made`` under ``key``, the failure of the flights that it followed, or ``None`` after a
        miss.

        Cancellation ends the following."""
        failed: ErrorInfo | None = None
        for _ in range(FOLLOWED):
            if (answer := await self._cache.find(key, self.wish.max_age)) is not None:
                return CacheHit(made, replay_response(answer, self._use.pace), answer.stamp, self._cache.age(answer))
            flight = self._cache.flights.get(key)
            if flight is None or not flight.may_be_joined:
                return None
            if (hit := await _follow(flight, made)) is not None:
                return hit
            failed = flight.failed
        assert failed is not None, "that is why it looks no more"
        self._context.tried.add(_told(made, failed, committed=False))
        return failed

    async def keep(self, key: bytes, answer: StoredAnswer) -> None:
        """Cache ``answer`` under ``key`` for its owner."""
        await self._cache.keep(key, self._owner, answer, self._use.ttl)

    async def key(self, made: TargetRequest) -> bytes | None:
        """Return the cache key of ``made``, or ``None`` if its response may not come from the cache."""
        return await offload(made.request.incoming.size, self._key, made)

    def _key(self, made: TargetRequest) -> bytes | None:
        if not self.kind.may_be_cached(made, self._use, self._cache.settings.max_request):
            return None
        try:
            return answer_key(self._parts(made))
        except (ValueError, RecursionError):
            return None

    def _left_out(self, target: Target) -> Collection[str]:
        """Return the members that are not part of the key.

        Responses repeats them in its responses, which other requests then cannot use."""
        if self._use.strict:
            return ()
        return FORM_MEMBERS if target.api == "responses" and self._use.scope != "key" else EXCLUDED

    def _parts(self, made: TargetRequest) -> Iterator[bytes]:
        """Yield everything that the response depends on, as sent and as requested."""
        target, asked, strict, incoming = made.target, self._context.asked, self._use.strict, made.request.incoming
        out = self.kind.request(made)
        identity = target.identity
        if target.entry.passthrough_auth:
            identity = identity.with_credential(self._context.passed_on(target))
        yield self._owner.encode()
        yield repr((incoming.api, out.method, out.url, target.api, target.lane, target.entry.name)).encode()
        yield repr((target.model, identity.endpoint, _spelled(target.recipient.quirks))).encode()
        yield identity.place
        yield repr([pair for pair in out.headers if pair[0].lower() not in _VOLATILE]).encode()
        yield repr([asked.header(name) for name in _ALWAYS]).encode()
        excluded = self._left_out(target)
        yield canonical(out.body, excluded)
        yield canonical(incoming.body, excluded)
        if target.api == "chat" and incoming.stream and b'"include_usage"' not in out.body:
            yield b"not counted as it streams"
        if strict or not self.kind.has_forms:
            yield b"stream" if incoming.stream else b"whole"


async def _follow(flight: Flight, made: TargetRequest) -> CacheHit | None:
    """Wait for the response of ``flight``, and return it, or ``None`` if it fails before its content."""
    reader = flight.follow()
    try:
        if await flight.wait_for_content():
            return CacheHit(made, local_response(reader, (("content-type", flight.content_type),)), flight.stamp, 0)
    except BaseException:
        await reader.aclose()
        raise
    await reader.aclose()
    return None


def _told(made: TargetRequest, failed: ErrorInfo | None, *, committed: bool, content: float | None = None) -> Tried:
    """Return the record of a response without a request."""
    reason: TriedReason = "ok" if failed is None else failed.reason or "internal"
    return tried_at(made.target, reason, made.target.lane, content=content, committed=committed)


def _spelled(value: Any) -> dict[str, Any]:
    """Return a class's value with sets sorted, so that every process encodes it alike."""
    return attrs.asdict(value, value_serializer=lambda _, __, one: sorted(one) if isinstance(one, frozenset) else one)
