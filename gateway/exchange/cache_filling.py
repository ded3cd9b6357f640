"""The response cache around the walk of a plan: serves cached responses and stores new ones."""

import time
from collections.abc import Callable
from typing import Self

import trio

from gateway.answer_cache.flight import ABANDONED, Flight
from gateway.answer_cache.replay import local_response
from gateway.answer_cache.stored_answer import AnswerStamp, StoredAnswer
from gateway.exchange.attempt_answer import C
from gateway.exchange.cache_lookup import NOT_CACHED, CacheHit, CacheLookup
from gateway.exchange.origin import Make
from gateway.exchange.planned import PlannedRequest
from gateway.exchange.target_request import AnswerSource, TargetRequest
from gateway.exchange.walk import Walk
from gateway.http.offload import offload
from gateway.upstream.response import UpstreamResponse
from streams.errors import GatewayError
from streams.events import ErrorInfo


class CachedOrigin:
    """The ``AnswerOrigin`` of an exchange with cached responses.

    A step of ``walk`` is taken only if the cache has no response for its target and none is on its way. A hit takes
    no place in a target's queue and none of its allowances. A task of ``nursery`` reads a new response until its
    last reader ends: a slow client delays no other, and the response continues without the client that requested it
    first."""

    def __init__(
        self,
        walk: Walk,
        lookup: CacheLookup,
        nursery: trio.Nursery,
    ) -> None:
        self.deserted = trio.Event()
        self._walk = walk
        self._cache = walk.context.service.answer_cache
        self._lookup = lookup
        self._wish = lookup.wish
        self._nursery = nursery
        self._hit: CacheHit | None = None
        self._flight: Flight | None = None

    @property
    def request(self) -> PlannedRequest:
        return self._walk.request

    @property
    def made(self) -> TargetRequest:
        return self._walk.made if self._hit is None else self._hit.made

    @property
    def followers(self) -> Self:
        return self

    def leave(self) -> None:
        """Note that the client disconnected: the response continues only for other readers."""
        if self._flight is None or not self._flight.followers:
            self.deserted.set()
        else:
            self._flight.on_deserted = self.deserted

    def might_go_on(self, attempt: AnswerSource) -> bool:
        return self._hit is None and self._walk.might_go_on(attempt)

    def goes_on_after(self, attempt: AnswerSource, failed: ErrorInfo) -> bool:
        return self._hit is None and self._walk.goes_on_after(attempt, failed)

    def fail(self, failed: ErrorInfo) -> None:
        if self._hit is None:
            self._walk.fail(failed)
        else:
            self._hit.fail(failed)

    def release(self) -> None:
        self._walk.release()
        if self._hit is not None:
            self._hit.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._walk.__exit__(*raised)

    async def run(self, make: Make[C]) -> C:
        """Return the response of the cache or of the walk, after a lookup for each target.

        Raises ``GatewayError``: 504 if the client only accepts cached responses, and as a walk does."""
        while (answer := await self._step(make)) is None:
            await self._walk.look()
        return answer

    async def _step(self, make: Make[C]) -> C | None:
        """Return the response of the next target, or its cached response; ``None`` if the attempt fails."""
        walk, wish, record = self._walk, self._wish, self._walk.context.record
        key = await self._lookup.key(walk.made)
        if key is None or not (wish.reads or wish.keeps):
            record.cache, key = "bypass", None
        elif wish.reads:
            match await self._lookup.find(walk.made, key):
                case CacheHit() as hit:
                    self._hit = hit
                    return await hit.run(make)
                case ErrorInfo() as failed:
                    record.cache = "miss"
                    walk.note_failure(failed)
                    return None
        if wish.must_hit:
            raise GatewayError.of(NOT_CACHED)
        if key is not None:
            record.cache = "miss" if wish.reads else "bypass"
            if wish.keeps:
                return await self._lead(make, key)
        await walk.start()
        return await walk.step(make)

    async def _lead(self, make: Make[C], key: bytes) -> C | None:
        """Return the provider's response, which other requests may share, and cache a good one."""
        flights, flight = self._cache.flights, Flight(self._cache.settings.max_answer, AnswerStamp(int(time.time())))
        if self._wish.reads:
            flights.setdefault(key, flight)
        self._flight, target = flight, self._walk.made.target
        try:
            await self._walk.start(flight.stamp)
            answer = await self._walk.step(make)
            if answer is not None and self._walk.made.target is target:
                return await self._shared(answer, flight, key)
            flight.fail(self._walk.failed or ABANDONED)  # its readers would take it for the target's failure
        except GatewayError as error:
            flight.fail(error.info)
            raise
        except BaseException:
            flight.abandon()
            raise
        finally:
            if flight.has_failed and flights.get(key) is flight:
                del flights[key]
        if answer is None:
            return None
        self._flight = own = Flight(self._cache.settings.max_answer, flight.stamp)
        return await self._shared(answer, own)

    async def _shared(self, answer: C, flight: Flight, key: bytes = b"") -> C:
        """Return ``answer``, which continues in ``flight`` and is cached under ``key``; by default under the key of the
        target that sent it."""
        try:
            made = self._walk.made
            if not key:
                key = await self._lookup.key(made) or b""
            judge, rest = self._lookup.kind.judge(made, answer.content_type), answer.rest
            flight.begin(answer.content_type, answer.came, whole=rest is None)
            if rest is not None:
                answer.go_on_with(local_response(flight.lead(), rest.headers, rest.status))
        except BaseException:
            await answer.aclose()
            raise
        self._nursery.start_soon(self._keep, flight, rest, key, judge)
        return answer

    async def _keep(
        self,
        flight: Flight,
        rest: UpstreamResponse | None,
        key: bytes,
        judge: Callable[[bytes], bool],
    ) -> None:
        """Read the ``rest`` of a response for all its readers, and cache the response. It ends with the readers, not
        with the first client."""
        with trio.CancelScope(shield=True):
            try:
                if rest is not None:
                    await flight.run(rest)
                body = await flight.whole()
                if key and body is not None and await offload(len(body), judge, body):
                    answer = StoredAnswer(0.0, flight.content_type, flight.stamp, body, tuple(flight.pauses))
                    await self._lookup.keep(key, answer)
            finally:
                if self._cache.flights.get(key) is flight:
                    del self._cache.flights[key]
