"""The cache of whole answers that a process has: what is kept, and what is on its way."""

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

import attrs
import trio

from gateway.answer_cache.flight import Flight
from gateway.answer_cache.store import AnswersAway, AnswerStore
from gateway.answer_cache.stored_answer import StoredAnswer, decoded, encoded
from gateway.config.cached_answers import AnswerCacheSettings
from gateway.http.offload import offload

T = TypeVar("T")

log = logging.getLogger("trigate.cache")

PATIENCE: Final = 0.05
"""Seconds that a request waits for the store: a slow one is as good as none."""

TO_KEEP: Final = 2.0
"""Seconds that an answer may take to be kept, which nobody waits for."""

SILENT: Final = 60.0
"""Seconds between two lines of the log about a store that is away."""


class AnswerCache:
    """``flights`` are the answers on their way that requests with the same key may follow."""

    flights: dict[bytes, Flight]

    def __init__(
        self, settings: AnswerCacheSettings, store: AnswerStore, clock: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self.flights = {}
        self._store = store
        self._clock = clock
        self._failures = 0
        self._told = -SILENT

    async def run(self) -> None:
        """Has to run as long as it is used."""
        await self._store.run()

    async def aclose(self) -> None:
        await self._store.aclose()

    def take_failures(self) -> int:
        """How often the store was away, or too slow, since this was last read."""
        taken, self._failures = self._failures, 0
        return taken

    def age(self, answer: StoredAnswer) -> int:
        """Whole seconds."""
        return max(0, int(self._clock() - answer.at))

    async def find(self, key: bytes, max_age: float) -> StoredAnswer | None:
        """The answer under ``key``, if it is no older than that. Raises nothing: a store that is away has none."""
        found = await self._asked(PATIENCE, partial(self._store.get, key))
        answer = None if found is None else await offload(len(found) // 16, decoded, found)
        return None if answer is None or self._clock() - answer.at > max_age else answer

    async def keep(self, key: bytes, owner: str, answer: StoredAnswer, ttl: float) -> None:
        """Keep ``answer`` under ``key`` for ``ttl`` seconds, if that can be. Raises nothing."""
        data = await offload(len(answer.body) // 16, encoded, attrs.evolve(answer, at=self._clock()))
        await self._asked(TO_KEEP, partial(self._store.put, key, owner, data, ttl))

    async def _asked(self, seconds: float, work: Callable[[], Awaitable[T]]) -> T | None:
        """What the store gives, ``None`` if that takes longer or it is away."""
        with trio.move_on_after(seconds):
            try:
                return await work()
            except AnswersAway as error:
                self._miss(str(error))
                return None
        self._miss(f"no answer for {seconds:g} s")
        return None

    def _miss(self, why: str) -> None:
        self._failures += 1
        if trio.current_time() - self._told >= SILENT:
            self._told = trio.current_time()
            log.warning("the cache of answers is away, requests go to their providers: %s", why)
