"""The parts of the response cache that other features use: the origin of answers that several requests share."""

from collections.abc import Mapping

from gateway.features.answer_cache.cache import AnswerCache
from gateway.features.answer_cache.filling import CachedOrigin
from gateway.features.answer_cache.flight import Flight
from gateway.features.answer_cache.lookup import CacheLookup, ConversationAnswers
from gateway.features.answer_cache.opening import OpenCache
from gateway.features.answer_cache.settings import AnswerCacheSettings, CacheUse
from gateway.seams.running import Running


def cache_in(opened: Mapping[str, Running]) -> AnswerCache | None:
    """Return the response cache among the ``opened`` features, ``None`` without one."""
    found = opened.get("answer_cache")
    return found.cache if isinstance(found, OpenCache) else None
