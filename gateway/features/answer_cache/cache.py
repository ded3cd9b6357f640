"""The response cache of a process: stored responses, and responses in progress.

The requests that use it are configured, and follow the demands of ``cache-control`` (RFC 9111, section 5.2.1)."""

import logging
import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, Literal, Protocol, TypeVar

import attrs
import trio

from gateway.config.clients import name_of_group
from gateway.config.settings import Config
from gateway.features.answer_cache.feature import caches
from gateway.features.answer_cache.flight import Flight
from gateway.features.answer_cache.settings import AnswerCacheSettings, CacheUse, cache_of
from gateway.features.answer_cache.store import AnswerStore, AnswerStoreUnavailable, MemoryAnswers
from gateway.features.answer_cache.stored_answer import StoredAnswer, decode_response, encode_response
from gateway.http.offload import offload


@attrs.frozen(eq=False, repr=False)
class CacheUses:
    """The cache settings of a configuration by client name, and the clients' groups."""

    clients: Mapping[str, CacheUse | Literal[False]]
    groups: Mapping[str, str]

    @classmethod
    def of(cls, config: Config) -> "CacheUses | None":
        """Return the settings of ``config``, ``None`` if it caches nothing."""
        if not caches(config):
            return None
        return cls(config.by_client(cache_of), config.by_client(name_of_group))

    def of_client(self, client: str | None) -> CacheUse | Literal[False] | None:
        """Return the settings of ``client``, which take precedence over a route's; ``None`` if it has none."""
        return None if client is None else self.clients.get(client)

    def owner(self, use: CacheUse, client: str | None, holder: str) -> str:
        """Return the owner of a response, who alone receives it again.

        ``holder`` identifies a client without a name."""
        group = self.groups.get(client) if client is not None else None
        if use.scope == "all":
            return "all"
        return f"group {group}" if use.scope == "group" and group is not None else f"key {holder}"


_MAX_AGE: Final = re.compile(r"max-age=\"?([0-9]{1,9})\"?")


@attrs.frozen(eq=False, repr=False)
class CacheDemand:
    """The demands of a request on the cache.

    ``reads`` allows a cached response of at most ``max_age`` seconds, ``may_store`` allows the cache to store a new
    one. ``must_hit`` forbids a request to a provider."""

    reads: bool = True
    may_store: bool = True
    max_age: float = math.inf
    must_hit: bool = False


NO_DEMAND: Final = CacheDemand()


def read_cache_control(header: str | None) -> CacheDemand:
    """Return the demands in a ``cache-control`` header; other directives are ignored."""
    if not header:
        return NO_DEMAND
    words = {word.strip().lower() for word in header.split(",")}
    ages = [int(found[1]) for word in words if (found := _MAX_AGE.fullmatch(word)) is not None]
    return CacheDemand(
        reads=words.isdisjoint(("no-cache", "no-store")),
        may_store="no-store" not in words,
        max_age=min(ages, default=math.inf),
        must_hit="only-if-cached" in words,
    )


T = TypeVar("T")

log = logging.getLogger("trigate.cache")

_LATE: Final = 0.02
"""Seconds by which a timeout may be late before it shows a busy process instead of a slow store."""

READ_TIMEOUT: Final = 0.05
"""Seconds that a request waits for the store before it goes to a provider."""

WRITE_TIMEOUT: Final = 2.0
"""Seconds that storing a response may take; no request waits for it."""

LOG_INTERVAL: Final = 60.0
"""Seconds between log lines about an unavailable store."""


class Keeper(Protocol):
    """Keeps responses whose clients have disconnected, in case they repeat their requests."""

    def keep(self, flights: dict[bytes, Flight], key: bytes, flight: Flight, desertion: trio.Event) -> bool:
        """Keep ``flight`` among ``flights`` under ``key`` for a while, and set ``desertion`` afterwards; never wait.

        Return false if it should not be kept. The keeper then decides how long it continues, and removes it."""


class AnswerCache:
    """The response cache; ``flights`` has the responses in progress that requests with the same key may follow.

    Without a ``store`` it only has responses that its ``keeper`` keeps. ``note_failure`` is called when the store is
    unavailable or too slow."""

    flights: dict[bytes, Flight]
    keeper: Keeper | None = None

    def __init__(
        self,
        settings: AnswerCacheSettings,
        store: AnswerStore | None,
        clock: Callable[[], float] = time.time,
        note_failure: Callable[[], object] = lambda: None,
    ) -> None:
        self.settings = settings
        self.flights = {}
        self.has_store = store is not None
        self._store = store or MemoryAnswers(0)
        self._clock = clock
        self._note_failure = note_failure
        self._is_closed = False
        self._logged_at = -LOG_INTERVAL

    async def run(self, ending: trio.Event) -> None:
        """Run the store's background work until ``ending``, then close it: requests that still run find nothing."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._store.run)
            await ending.wait()
            self._is_closed = True
            nursery.cancel_scope.cancel()
        await self._store.aclose()

    def age(self, answer: StoredAnswer) -> int:
        """Return the age of ``answer`` in whole seconds."""
        return max(0, int(self._clock() - answer.at))

    async def find(self, key: bytes, max_age: float) -> StoredAnswer | None:
        """Return the response stored under ``key`` if it is at most ``max_age`` seconds old, else ``None``. Never
        raises."""
        if not self.has_store:
            return None
        found = await self._run_within(READ_TIMEOUT, partial(self._store.get, key))
        answer = None if found is None else await offload(len(found) // 16, decode_response, found)
        return None if answer is None or self._clock() - answer.at > max_age else answer

    async def keep(self, key: bytes, owner: str, answer: StoredAnswer, ttl: float) -> None:
        """Store ``answer`` under ``key`` for ``ttl`` seconds if the store is available. Never raises."""
        data = await offload(len(answer.body) // 16, encode_response, attrs.evolve(answer, at=self._clock()))
        await self._run_within(WRITE_TIMEOUT, partial(self._store.put, key, owner, data, ttl))

    async def _run_within(self, seconds: float, work: Callable[[], Awaitable[T]]) -> T | None:
        """Return the result of ``work``, ``None`` if it takes longer than ``seconds`` or the store is unavailable."""
        if self._is_closed:
            return None
        with trio.move_on_after(seconds) as scope:
            try:
                return await work()
            except AnswerStoreUnavailable as error:
                self._count_failure(str(error))
                return None
        if trio.current_time() < scope.deadline + _LATE:  # otherwise this process did not run
            self._count_failure(f"no response for {seconds:g} s")
        return None

    def _count_failure(self, why: str) -> None:
        self._note_failure()
        if trio.current_time() - self._logged_at >= LOG_INTERVAL:
            self._logged_at = trio.current_time()
            log.warning("the response cache is unavailable, so requests go to their providers: %s", why)
