"""The facts about an attempt besides its prompt: its scope, its parent and the boundaries in memory.

All times are seconds of one clock."""

import msgspec

from gateway.features.prompt_caches.prompts import PromptDigest
from gateway.features.prompt_caches.structures import Structure
from providers.catalog.prompt_caching import CachingRow


class CacheScope(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The bounds of a shared cache of a provider.

    ``digest`` is that of everything that separates caches: endpoint, account, region, model, cache key and service
    tier, as sent. ``target`` is the name of the entry. ``model``, ``key`` and ``tier`` are digests of the client's own
    model name, cache key and service tier; they find out who changed the scope."""

    digest: bytes
    target: str
    model: bytes = b""
    key: bytes = b""
    tier: bytes = b""


class Boundary(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A position of the prompt where an exchange left an entry in the provider's cache.

    - ``tokens``: the tokens up to it; ``is_exact`` if the provider counted them, otherwise they are interpolated.
    - ``used``: the time when the entry was last written or read. ``ttl``: the seconds without use after which it
      expires; for ``None``, the provider's row states them.
    - ``readable_from``: when the response that wrote the entry began; ``None`` if it has not begun.
    - ``is_unread``: writing it cost more than plain input, and no response of this client has read it.
    - ``written``: when the exchange that left it was sent."""

    position: int
    tokens: int
    used: float
    readable_from: float | None
    ttl: float | None = None
    is_exact: bool = True
    is_unread: bool = False
    written: float = 0.0

    def is_alive(self, sent: float, row: CachingRow) -> bool:
        """Return whether an entry can exist for a request of ``sent``; without a stated lifetime it can."""
        if self.readable_from is None or sent < self.readable_from:
            return False
        lifetime = (row.longest or row.lifetime) if self.ttl is None else self.ttl
        return lifetime is None or sent - self.used <= lifetime


class Parent(Structure, frozen=True, eq=True):
    """The earlier exchange that a request continues.

    - ``prompt``: as sent; ``client_prompt``: as the client wrote it, ``None`` if they are equal but for the model.
    - ``position``: in ``prompt``, the end of the exchange that the request continues. A conversation may have grown
      since, before the client went back. For a parent that shares only tools and system, the end of system.
    - ``tokens``: the provider's count of the whole prompt at ``position``, for a parent without a boundary.
    - ``boundaries``: those that the conversation's exchanges left, up to ``position``, the deepest last. They are the
      ones that count for *could*, so they are listed even if they have expired since or are in another scope.
    - ``sent``, ``head``: when it was sent, and when the head of its response arrived (``None``: not yet, or never).
    - ``edits``: the names of the steps and keys by which the gateway changed it.
    - ``longest_ttl``: the longest lifetime that the conversation's marks had.
    - ``response``: a digest of its response's id, b"" if unknown."""

    prompt: PromptDigest
    scope: CacheScope
    position: int
    tokens: int
    boundaries: tuple[Boundary, ...] = ()
    client_prompt: PromptDigest | None = None
    sent: float = 0.0
    head: float | None = 0.0
    edits: tuple[str, ...] = ()
    longest_ttl: float | None = None
    response: bytes = b""


class Situation(Structure, frozen=True, eq=True):
    """The facts about an attempt on which its verdict depends.

    - ``sent``: when it was sent.
    - ``reports``: true if the target is known to report cached tokens: its row states so, or it has once.
    - ``move``: the reason for another target than the parent's, as in the log, such as ``busy``; "" if unknown.
    - ``edits``: the names of the steps and keys by which the gateway changed the request.
    - ``is_compacted``: the client replaced its history by a summary, as far as the memory can see that.
    - ``rate``: requests of the last minute with this prefix and key, this one included.
    - ``diagnosis``: the provider's own explanation that the client or an entry requested, unchanged.
    - ``diagnoses_parent``: it compares the request with the parent's, not with that of another response."""

    scope: CacheScope
    sent: float
    reports: bool = True
    move: str = ""
    edits: tuple[str, ...] = ()
    is_compacted: bool = False
    rate: int = 0
    diagnosis: str | None = None
    diagnoses_parent: bool = True
