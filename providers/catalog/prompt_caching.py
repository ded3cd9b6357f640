"""Rules of providers' prompt caches as rows."""

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from providers.catalog.provider import Source
from streams.events import Api

CachedSection: TypeAlias = Literal["tools", "system", "history"]

BoundaryRule: TypeAlias = Literal["marks", "ends", "step"]
"""The positions where a request leaves cache entries: marked blocks, ends of messages, or a number of tokens."""


@attrs.frozen(repr=False)
class CachingRow:
    """The rules of a provider's prompt cache for some models. ``None`` is an unknown or undocumented rule.

    - ``needs_marks``: nothing is cached without a mark. ``takes_marks``: the most marks in a request, 0 for none.
    - ``minimum``: the tokens below which a prefix is not cached.
    - ``boundaries``: where a request leaves entries. ``step``: the tokens to which cached prefixes are rounded down.
    - ``lookup``: the positions before a mark where the provider searches for an entry.
    - ``lifetime``: the seconds for which an unused entry stays at least; ``longest``: at most. ``lifetimes``: by the
      word of a mark or of the member ``lifetime_member``, the seconds that replace both.
    - ``settings``: members of a request besides its prompt that are in the key, each with the section from which on.
      A name with ``header:`` is a header.
    - ``ignores``: parts of a request that are not in the key: ``billing_line``, ``deferred_tools``.
    - ``reports``: ``exact`` (read and written), ``read``, or ``flag`` (read, if the server is started with a flag).
    - ``rate``: requests per minute for one prefix and key that one machine serves.
    - ``key_member``: the member or header that selects or routes to a cache; ``key_separates``: it is in the key.
    - ``takes_salt``: the member that separates caches of users.
    - ``sources``: by field, its documentation; "" for all others."""

    needs_marks: bool = False
    takes_marks: int = 0
    minimum: int | None = None
    boundaries: BoundaryRule | None = None
    step: int | None = None
    lookup: int | None = None
    lifetime: float | None = None
    longest: float | None = None
    lifetimes: Mapping[str, float] = attrs.field(factory=dict)
    lifetime_member: str | None = None
    settings: tuple[tuple[str, CachedSection], ...] = ()
    ignores: tuple[str, ...] = ()
    reports: Literal["exact", "read", "flag"] = "read"
    rate: int | None = None
    key_member: str | None = None
    key_separates: bool = False
    takes_salt: str | None = None
    sources: Mapping[str, Source] = attrs.field(factory=dict)


def caching_row(provider_id: str, model: str, api: Api) -> CachingRow | None:
    """Return the rules for ``model`` of the provider at ``api``, ``None`` if they are unknown."""
    raise NotImplementedError
