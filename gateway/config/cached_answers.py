"""Which answers are kept to be given again, for whom, and where."""

from pathlib import Path
from typing import Literal, TypeAlias

import attrs

CacheScope: TypeAlias = Literal["key", "group", "all"]
"""Who shares a cached answer: the requests of one client key, of its group, or everybody for whom this holds."""

CacheWhen: TypeAlias = Literal["always", "deterministic"]
"""Whether all requests are answered from the cache, or only those that say ``temperature: 0``."""

CachePace: TypeAlias = Literal["none", "recorded"]
"""Whether a cached stream comes at once, or with the pauses in which it came first."""


@attrs.frozen
class CacheUse:
    """The use of the cache for a name or a client. ``ttl`` is seconds; ``strict``: requests that differ in members
    which do not concern the answer, as ``user`` and ``metadata``, share none either."""

    ttl: float
    scope: CacheScope = "key"
    strict: bool = False
    when: CacheWhen = "always"
    pace: CachePace = "none"


@attrs.frozen
class AnswerCacheSettings:
    """Where answers are kept, and how much: ``max_bytes`` in all, of requests up to ``max_request`` bytes and answers
    up to ``max_answer``, for ``max_ttl`` seconds at most. ``path`` is there for sqlite and ``url`` for redis."""

    type: Literal["memory", "sqlite", "redis"] = "memory"
    path: Path | None = None
    url: str | None = attrs.field(default=None, repr=False)
    max_bytes: int = 64 * 2**20
    max_request: int = 2**20
    max_answer: int = 4 * 2**20
    max_ttl: float = 86400.0
