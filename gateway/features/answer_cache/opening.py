"""The response store that a configuration selects."""

from collections.abc import Sequence
from typing import assert_never

from gateway.config.cached_answers import AnswerCacheSettings
from gateway.features.answer_cache.store import AnswerStore, MemoryAnswers


def open_answers(settings: AnswerCacheSettings, keys: Sequence[bytes] = ()) -> AnswerStore:
    """Return the store of ``settings``, not yet connected; with ``keys``, data outside this process is encrypted.

    Raises ``ImportError`` for a missing package."""
    store = _store(settings)
    if not keys or settings.type == "memory":
        return store
    from gateway.features.answer_cache.encrypted import EncryptedAnswers  # imported only when needed: it is large

    return EncryptedAnswers(store, keys)


def _store(settings: AnswerCacheSettings) -> AnswerStore:
    match settings.type:
        case "memory":
            return MemoryAnswers(settings.max_bytes)
        case "sqlite":
            from gateway.features.answer_cache.sqlite import SqliteAnswers

            assert settings.path is not None
            return SqliteAnswers(settings.path, settings.max_bytes)
        case "redis":
            from gateway.features.answer_cache.redis import RedisAnswers

            assert settings.url is not None
            return RedisAnswers(settings.url, settings.max_bytes)
    assert_never(settings.type)
