"""The response cache around the walk of a plan: serves cached responses and stores new ones."""

import time
from collections.abc import Callable
from functools import partial
from typing import Self

import trio

from configfile.keys import part_of
from gateway.exchange.attempt import Attempt
from gateway.exchange.attempt_answer import A, Verdict
from gateway.exchange.origin import AnswerOrigin, Make
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.target_request import AnswerSource, TargetRequest
from gateway.exchange.walk import CachedContender, Walk
from gateway.features.answer_cache.cache import AnswerCache, CacheUses
from gateway.features.answer_cache.flight import Flight
from gateway.features.answer_cache.lookup import NOT_CACHED, CacheHit, CacheLookup, ConversationAnswers
from gateway.features.answer_cache.outcome import NOTE, OFF, CacheNote, CacheOutcome, unmark_hit
from gateway.features.answer_cache.relayed import RelayedAnswers
from gateway.features.answer_cache.settings import NameCacheKeys
from gateway.features.answer_cache.stored_answer import AnswerStamp, StoredAnswer, local_response
from gateway.http.offload import offload
from gateway.relay.relaying import RelayedRequest
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError
from streams.events import ErrorInfo, Usage


def cached_origin(
    cache: AnswerCache, uses: CacheUses, walk: Walk, relayed: RelayedRequest | None, nursery: trio.Nursery
) -> AnswerOrigin:
    """Return ``walk`` with the cache around it, or ``walk`` if neither its client nor its route uses the cache."""
    context = walk.context
    client = context.client_request.client
    use, route = uses.of_client(client), walk.request.plan.route
    if use is None and route is not None:
        use = part_of(route, NameCacheKeys).cache
    if not use:
        context.record.add_note(NOTE, OFF)
        return walk
    kind = ConversationAnswers() if relayed is None else RelayedAnswers(relayed, context.endpoint)
    holder = context.service.admission.holder(client, context.client_request.headers)
    owner = uses.owner(use, client, holder)
    return CachedOrigin(walk, CacheLookup(context, cache, use, owner, holder, kind), nursery)


class CachedOrigin:
    """The origin of an exchange's response, with the same methods as its ``walk``, if responses may be cached.

    The ``walk`` sends a request only if no response for its target is cached or arriving. A cached response uses no
    allowance. A task of ``nursery`` reads each new response until its last reader has ended: a slow client delays no
    other, and the response continues without the client that requested it first."""

    def __init__(
        self,
        walk: Walk,
        lookup: CacheLookup,
        nursery: trio.Nursery,
    ) -> None:
        self.desertion = trio.Event()
        self._walk = walk
        self._cache = lookup.cache
        self._lookup = lookup
        self._cache_control = lookup.cache_control
        self._nursery = nursery
        self._hit: CacheHit | None = None
        self._flight: Flight | None = None
        self._key = b""  # of the flight

    @property
    def request(self) -> PlannedRequest:
        return self._walk.request

    @property
    def target_request(self) -> TargetRequest:
        return self._walk.target_request if self._hit is None else self._hit.target_request

    @property
    def reported_usage(self) -> Usage | None:
        return self._walk.reported_usage if self._hit is None else None

    def note_disconnect(self) -> None:
        """Note that the client disconnected: the response continues only for other readers, or if it is kept."""
        flight = self._flight
        if self._hit is not None:
            self._hit.note_disconnect()
        if flight is None:
            self.desertion.set()
        elif self._is_kept(flight):
            self._walk.context.record.kept = True
            self._walk.release_places()
        elif not flight.followers:
            self.desertion.set()
        else:
            flight.on_deserted = self.desertion

    def _is_kept(self, flight: Flight) -> bool:
        """Return whether ``flight`` continues because its client has left before the end, unless it reads no kept
        answers (``no-cache``)."""
        keeper = self._cache.keeper
        if keeper is None or not (self._walk.scope.has_left and self._key and self._cache_control.reads):
            return False
        return keeper.keep(self._cache.flights, self._key, flight, self.desertion)

    def may_be_followed(self, attempt: AnswerSource) -> bool:
        return self._hit is None and self._walk.may_be_followed(attempt)

    def would_be_followed(self, attempt: AnswerSource, error: ErrorInfo) -> bool:
        return self._hit is None and self._walk.would_be_followed(attempt, error)

    def fail(self, error: ErrorInfo) -> None:
        if self._hit is None:
            self._walk.fail(error)
        else:
            self._hit.fail(error)

    def release(self) -> None:
        self._walk.release()
        if self._hit is not None:
            self._hit.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._walk.__exit__(*raised)

    async def start(self) -> None:
        """Write the request for the next target, for the lookup. Raises ``GatewayError`` as a walk's start does."""
        await self._walk.write_next_request(self._is_paid)

    async def _is_paid(self, target_request: TargetRequest) -> bool:
        """Return whether the client has left an answer to the same request, for which it has reserved."""
        flights, lookup = self._cache.flights, self._lookup
        if self._cache.keeper is None or not (flights and self._cache_control.reads):
            return False
        flight = flights.get(await lookup.key(target_request) or b"")
        return flight is not None and flight.is_kept and flight.may_be_joined and flight.holder == lookup.holder

    async def run(self, make: Make[A]) -> A:
        """Return the response of the cache or of the walk, after a lookup for each target.

        Raises ``GatewayError``: 504 if the client only accepts cached responses, and as a walk does."""
        while (answer := await self._serve_next_target(make)) is None:
            await self.start()
        return answer

    async def _serve_next_target(self, make: Make[A]) -> A | None:
        """Return the response of the next target, or its cached response; ``None`` if the attempt fails."""
        walk, cache_control = self._walk, self._cache_control
        key = await self._lookup.key(walk.target_request)
        if key is None or not (cache_control.reads or cache_control.may_store):
            self._mark("bypass")
            key = None
        elif cache_control.reads:
            match await self._lookup.find(walk.target_request, key):
                case CacheHit() as hit:
                    return await self._run_hit(hit, make)
                case ErrorInfo() as error:
                    self._mark("miss")
                    walk.note_failure(error)
                    return None
        if cache_control.must_hit and self._cache.has_store:
            raise GatewayError.of(NOT_CACHED)
        walk.find_cached = partial(self._find_for_hedge, make)
        if key is not None:
            self._mark("miss" if cache_control.reads else "bypass")
            if cache_control.may_store:
                return await self._fetch_and_share(make, key)
        await walk.start()
        return await walk.step(make)

    def _mark(self, outcome: CacheOutcome) -> None:
        if self._cache.has_store:
            self._walk.context.record.add_note(NOTE, CacheNote(outcome))

    async def _find_for_hedge(self, make: Make[A], target_request: TargetRequest) -> CachedContender[A] | None:
        """Return a contender with the cached response to a hedge's request, or ``None`` without one."""
        key = await self._lookup.key(target_request) if self._cache_control.reads else None
        hit = None if key is None else await self._lookup.find(target_request, key)
        if not isinstance(hit, CacheHit):
            return None
        hit.cause = "hedge"
        return partial(self._run_hit, hit, make)

    async def _run_hit(self, hit: CacheHit, make: Make[A], has_lost: bool = False) -> A | None:
        """Return the cached response, or ``None`` if the client cannot receive it; another attempt may then follow.

        A hit that ``has_lost`` to another attempt is closed."""
        if has_lost:
            await hit.aclose()
            return None
        self._hit = hit
        try:
            return await hit.run(make)
        except GatewayError as error:
            self._hit = None
            unmark_hit(self._walk.context.record)
            self._mark("miss")
            self._walk.note_hit_failure(hit.target_request.step.target, error.info)
            return None

    async def _fetch_and_share(self, make: Make[A], key: bytes) -> A | None:
        """Make the attempt, share its response with identical requests, and cache a good response."""
        flights, flight = self._cache.flights, self._new_flight(AnswerStamp(int(time.time())))
        if self._cache_control.reads and self._cache.has_store:
            flights.setdefault(key, flight)
        self._flight, self._key = flight, key
        target = self._walk.target_request.step.target
        try:
            await self._walk.start(flight.stamp)
            answer = await self._walk.step(partial(_make_shared, flight, make))
            if self._hit is not None:  # of a hedge
                flight.fail(None)
                self._flight = None
                return answer
            if answer is not None and self._walk.target_request.step.target is target:
                return await self._share(answer, flight, key)
            flight.fail(self._walk.shared_failure(target))  # its readers take it for the target's failure
        except BaseException:
            flight.abandon()
            raise
        finally:
            if flight.has_failed and flights.get(key) is flight:
                del flights[key]
        if answer is None:
            return None
        self._flight = own = self._new_flight(flight.stamp)
        return await self._share(answer, own)

    def _new_flight(self, stamp: AnswerStamp) -> Flight:
        holder = self._lookup.holder
        memory = self._walk.context.service.admission.pieces(holder)
        return Flight(self._cache.settings.max_answer, stamp, memory, holder)

    async def _share(self, answer: A, flight: Flight, key: bytes = b"") -> A:
        """Let other requests share ``answer`` through ``flight``, and return it.

        It is cached under ``key``, by default the key of the target that sent it."""
        try:
            target_request = self._walk.target_request
            if not key:
                key = self._key = await self._lookup.key(target_request) or b""
            judge, rest = self._lookup.kind.judge(target_request, answer.content_type), answer.unread_response
            flight.begin(answer.content_type, answer.read_pieces, whole=rest is None)
            if rest is not None:
                answer.continue_from(local_response(flight.lead(), rest.headers, rest.status))
        except BaseException:
            flight.finish()
            await answer.aclose()
            raise
        self._nursery.start_soon(self._fill_cache, flight, rest, key, judge, answer.verdict)
        return answer

    async def _fill_cache(
        self,
        flight: Flight,
        rest: UpstreamResponse | None,
        key: bytes,
        judge: Callable[[bytes], bool],
        verdict: Verdict | None,
    ) -> None:
        """Read the ``rest`` of a response for all its readers, then cache the response.

        Ends when the last reader has ended, not with the first client."""
        with trio.CancelScope(shield=True):
            try:
                if rest is not None:
                    await flight.run(rest)
                body = await flight.wait_for_body()
                if not self._cache.has_store or (verdict is not None and not await verdict()):
                    return
                if key and body is not None and await offload(len(body), judge, body):
                    answer = StoredAnswer(0.0, flight.content_type, flight.stamp, body, tuple(flight.pauses))
                    await self._lookup.keep(key, answer)
            finally:
                if not flight.is_kept:
                    flight.finish()
                    if self._cache.flights.get(key) is flight:
                        del self._cache.flights[key]


def _make_shared(flight: Flight, make: Make[A], attempt: Attempt) -> A:
    """Return the reader of the response to ``attempt``, which lets others follow ``flight`` when it is sent."""
    attempt.on_send = flight.mark_sent
    return make(attempt)
