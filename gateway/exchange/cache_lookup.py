"""The look into the cache of answers, before a target is asked.

An answer is looked up under the target that would be asked now. Whoever finds none leads: identical requests follow its
answer while that is on its way.
"""

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
"""Flights that a request follows that fail before their content: the failure of the last one is its own then, so that a
provider which is out is not asked by all of them in turn (ELares/IronTraffic#249)."""

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

    def may_be_cached(self, made: TargetRequest, use: CacheUse, most: int) -> bool:
        """Return whether the answer to ``made``, of ``most`` bytes at most, may come from the cache."""
        ...

    def request(self, made: TargetRequest) -> UpstreamRequest:
        """Return the request as it is sent for a whole answer, before it is signed."""
        ...

    def judge(self, made: TargetRequest, content_type: str) -> Callable[[bytes], bool]:
        """Return what tells of a whole body whether it is worth being kept."""
        ...


@attrs.frozen(eq=False, repr=False)
class ConversationAnswers:
    """The ``AnswerKind`` of conversations; ``turn`` is what is stored of one."""

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
    """An answer that is given again: an ``AnswerSource`` for which nobody is asked. ``response`` reads as the
    provider's did, ``made`` is what would have been sent for it, ``age`` are the seconds since it was given."""

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
        """Return the answer that goes to the client. Raises ``GatewayError`` for one that it cannot be given."""
        context, turn = self.made.context, self.made.request.turn
        record = context.record
        record.hits(self._age)
        self.made.report(record)
        try:
            answer = await begun(context, self.watch, make(self))
        except BaseException as error:
            await self._response.aclose()
            if isinstance(error, GatewayError):
                self._tell(error.failed)
            raise
        self.watch.content_arrived()
        self._has_begun = True
        record.lane = answer.lane_name
        if turn.records:
            turn.record_target(self.made.target, answer.writer)
        self._tell(None)
        return answer

    def fail(self, failed: ErrorInfo) -> None:
        """Book that the answer has ``failed`` behind its beginning."""
        self._tell(failed)

    def _tell(self, failed: ErrorInfo | None) -> None:
        told = _told(self.made, failed, committed=self._has_begun, content=time.perf_counter() - self._began)
        self.made.context.tried.add(told, self._told)
        self._told = told


def lookup_of(context: ExchangeContext, route: Route | None, kind: AnswerKind) -> "CacheLookup | None":
    """Return the look into the cache for answers of ``kind``; ``None`` where nothing is cached for the client, or for
    the name ``route`` that it asks for."""
    client, uses = context.asked.client, context.service.cache_uses
    use = None if uses is None else uses.use_of(client, route)
    if uses is None or use is None:
        return None
    owner = uses.owner(use, client, context.service.admission.holder(client, context.asked.headers))
    return CacheLookup(context, use, owner, kind)


class CacheLookup:
    """The look into the cache for answers of ``kind`` by one exchange, as its client wishes it. ``owner`` is whose its
    answers are."""

    def __init__(self, context: ExchangeContext, use: CacheUse, owner: str, kind: AnswerKind) -> None:
        self.wish = read_cache_control(context.asked.header("cache-control"))
        self._context = context
        self._use = use
        self._owner = owner
        self.kind = kind
        self._cache = context.service.answer_cache

    async def find(self, made: TargetRequest, key: bytes) -> CacheHit | ErrorInfo | None:
        """Return a hit for ``made`` under ``key``, the failure of the requests that it followed, or ``None`` on a miss.
        Cancelled, it follows nobody any more."""
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
        """Keep ``answer`` under ``key``, for its owner."""
        await self._cache.keep(key, self._owner, answer, self._use.ttl)

    async def key(self, made: TargetRequest) -> bytes | None:
        """Return the key of the answer to ``made``, ``None`` where it may not come from the cache."""
        return await offload(made.request.incoming.size, self._key, made)

    def _key(self, made: TargetRequest) -> bytes | None:
        if not self.kind.may_be_cached(made, self._use, self._cache.settings.max_request):
            return None
        try:
            return answer_key(self._parts(made))
        except (ValueError, RecursionError):
            return None

    def _left_out(self, target: Target) -> Collection[str]:
        """Return the members that do not count. Responses repeats them in its answers, which then are not for
        others."""
        if self._use.strict:
            return ()
        return FORM_MEMBERS if target.api == "responses" and self._use.scope != "key" else EXCLUDED

    def _parts(self, made: TargetRequest) -> Iterator[bytes]:
        """Yield everything that the answer depends on, as it would be sent and as it was said."""
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
    """Wait for the answer of ``flight``; ``None`` where it fails before its content."""
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
    """Return what is told of an answer for which nobody was asked."""
    reason: TriedReason = "ok" if failed is None else failed.reason or "internal"
    return tried_at(made.target, reason, made.target.lane, content=content, committed=committed)


def _spelled(value: Any) -> dict[str, Any]:
    """Return a value of a class in words that every process has for it: sets in order."""
    return attrs.asdict(value, value_serializer=lambda _, __, one: sorted(one) if isinstance(one, frozenset) else one)
