"""Opens the response cache of a configuration, with the store that it selects."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import trio

from configfile.keys import part_of
from gateway.config.settings import Config
from gateway.features.answer_cache.cache import AnswerCache, CacheUses
from gateway.features.answer_cache.filling import cached_origin
from gateway.features.answer_cache.settings import AnswerCacheKeys, AnswerCacheSettings
from gateway.features.answer_cache.store import AnswerStore, MemoryAnswers
from gateway.named_imports import import_named
from gateway.open_store import missing_package
from gateway.seams.hooks import Hooks
from gateway.seams.running import Ports, Running

FAILURES: Final = "trigate_cache_failures_total"


class OpenCache(Running):
    """The cache with the ``uses`` of a configuration. The cache outlives configurations."""

    has_tasks = True

    def __init__(self, cache: AnswerCache, uses: CacheUses | None) -> None:
        self.cache = cache
        if uses is not None:
            self.hooks = Hooks(wrap_origin=(partial(cached_origin, cache, uses),))

    @property
    def lasting(self) -> AnswerCache:
        return self.cache

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await self.cache.run(ending)


def open_cache(config: Config, ports: Ports, before: Running | None) -> OpenCache:
    """Return the cache of ``before`` with the uses of ``config``. Raises ``ConfigError`` for a missing package."""
    uses = CacheUses.of(config)
    if isinstance(before, OpenCache):
        return OpenCache(before.cache, uses)
    figures = ports.ledger.figures
    cache = AnswerCache(
        part_of(config, AnswerCacheKeys).cache, _answer_store(config), note_failure=lambda: figures.add(FAILURES)
    )
    return OpenCache(cache, uses)


def _answer_store(config: Config) -> AnswerStore:
    """Return the store of cached answers, encrypted if conversations are. Raises ``ConfigError``."""
    storage, cache = config.state_storage, part_of(config, AnswerCacheKeys).cache
    try:
        return open_answers(cache, () if storage is None else storage.encryption_key)
    except ImportError:
        needs = "redis" if cache.type == "redis" else "encryption"
        raise missing_package(config, "cache.type", cache.type, needs) from None


def open_answers(settings: AnswerCacheSettings, keys: Sequence[bytes] = ()) -> AnswerStore:
    """Return the store of ``settings``, not yet connected; with ``keys``, data outside this process is encrypted.

    Raises ``ImportError`` for a missing package."""
    store = _store(settings)
    if not keys or settings.type == "memory":
        return store
    encrypted: AnswerStore = import_named("gateway.features.answer_cache.encrypted:EncryptedAnswers")(store, keys)
    return encrypted


def _store(settings: AnswerCacheSettings) -> AnswerStore:
    if settings.type == "memory":
        return MemoryAnswers(settings.max_bytes)
    place = settings.path if settings.type == "sqlite" else settings.url
    assert place is not None
    store: AnswerStore = import_named(_STORES[settings.type])(place, settings.max_bytes)
    return store


_STORES: Final = {
    "sqlite": "gateway.features.answer_cache.sqlite:SqliteAnswers",
    "redis": "gateway.features.answer_cache.redis:RedisAnswers",
}
"""The stores outside this process, which are imported only when needed: they are large."""
