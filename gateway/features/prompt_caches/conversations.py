"""Facts about conversations, besides their prompts: what each exchange left, and the one that a request continues.

All times are seconds of one clock."""

from operator import attrgetter
from typing import Final, TypeAlias

import msgspec
from msgspec import structs

from gateway.features.prompt_caches.prompts import PromptDigest
from gateway.features.prompt_caches.structures import Structure
from providers.catalog.prompt_caching import CachingRow

UNKNOWN_RULES: Final = CachingRow(reports="flag")
"""The row of a provider whose rules are unknown: it reports cached tokens once it has done so."""


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
    """A position of a prompt where an exchange left an entry in the provider's cache.

    - ``position``: 0 in the table of boundaries, which knows them by the digest of the prefix.
    - ``tokens``: the tokens up to it; ``is_exact`` if the provider counted them, otherwise they are interpolated.
    - ``used``: the time when the entry was last written or read. ``ttl``: the seconds without use after which it
      expires; for ``None``, the provider's row states them.
    - ``readable_from``: when the response that wrote the entry began; ``None`` if it has not begun.
    - ``unread``: the nano-dollars by which writing it cost more than plain input, until a response of this client reads
      it."""

    position: int
    tokens: int
    used: float
    readable_from: float | None
    ttl: int | None = None
    is_exact: bool = True
    unread: int = 0

    def is_alive(self, sent: float, row: CachingRow) -> bool:
        """Return whether an entry can exist for a request of ``sent``; without a stated lifetime it can."""
        if self.readable_from is None or sent < self.readable_from:
            return False
        lifetime = (row.longest or row.lifetime) if self.ttl is None else self.ttl
        return lifetime is None or sent - self.used <= lifetime

    def merge(self, new: "Boundary") -> "Boundary":
        """Return the boundary after another request wrote it or read it again."""
        began = [at for at in (self.readable_from, new.readable_from) if at is not None]
        ttls = [ttl for ttl in (self.ttl, new.ttl) if ttl is not None]
        keeps_tokens = (self.is_exact and not new.is_exact) or not new.tokens
        return Boundary(
            new.position, self.tokens if keeps_tokens else new.tokens, max(self.used, new.used),
            min(began, default=None), max(ttls, default=None), self.is_exact or new.is_exact, new.unread or self.unread,
        )  # fmt: skip


class ExchangeEnd(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The end of an exchange in a conversation: the ``position`` after its last block, with the anchor there.

    ``tokens`` is the provider's count of the prompt, 0 if unknown. ``head`` is when its response began. ``response`` is
    a digest of the response's id, if a request may continue it or be compared with it."""

    anchor: bytes
    position: int
    sent: float
    head: float | None = None
    tokens: int = 0
    response: bytes = b""


class KnownConversation(msgspec.Struct, array_like=True, frozen=True):
    """A conversation's branch without its blocks: ``ends`` and ``boundaries`` of its exchanges, the oldest first.

    ``scope``, ``edits`` (the names of the steps and keys by which the gateway changed the request) and ``size`` (bytes
    of its messages) are those of the latest exchange. ``longest_ttl`` is the longest lifetime that its marks had.
    ``response_id`` is that of its response, only if its entry requests diagnoses, for which the provider needs it."""

    scope: CacheScope
    ends: tuple[ExchangeEnd, ...]
    boundaries: tuple[Boundary, ...] = ()
    edits: tuple[str, ...] = ()
    longest_ttl: float | None = None
    size: int = 0
    response_id: str = ""

    def end_of(self, sent: float) -> ExchangeEnd | None:
        """Return the end of the exchange that was sent at ``sent``."""
        return next((end for end in reversed(self.ends) if end.sent == sent), None)

    def with_end(self, sent: float, **changes: object) -> "KnownConversation":
        """Return the conversation with ``changes`` of the end of the exchange that was sent at ``sent``."""
        ends = [structs.replace(one, **changes) if one.sent == sent else one for one in self.ends]
        return structs.replace(self, ends=tuple(ends))

    def keep_latest(self, most: int) -> "KnownConversation":
        """Return the conversation with the latest ``most`` exchanges."""
        ends, boundaries = len(self.ends), len(self.boundaries)
        if ends <= most >= boundaries:
            return self
        return structs.replace(
            self, ends=self.ends[max(ends - most, 0) :], boundaries=self.boundaries[max(boundaries - most, 0) :]
        )


RememberedPrompts: TypeAlias = tuple[PromptDigest, PromptDigest | None]
"""A prompt as sent, and as the client wrote it: ``None`` if they are equal but for the model."""


class Parent(Structure, frozen=True, eq=True, gc=True):
    """The earlier exchange that a request continues, at ``end`` of the conversation ``id``.

    - ``prompts``: those of the conversation's latest exchange. A conversation may have grown since that end, before the
      client went back.
    - ``latest``: the conversation with its latest numbers, if the exchange was running when the request was sent.
    - ``is_compacted``: the client replaced the history by a summary.
    - ``is_similar``: the request has another conversation, with almost the same tools and system texts. ``end`` is then
      the end of these."""

    id: bytes
    conversation: KnownConversation
    prompts: RememberedPrompts
    end: ExchangeEnd
    latest: KnownConversation | None = None
    is_compacted: bool = False
    is_similar: bool = False

    @property
    def prompt(self) -> PromptDigest:
        """The prompt as sent."""
        return self.prompts[0]

    @property
    def own(self) -> PromptDigest:
        """The prompt as the client wrote it."""
        return self.prompts[1] or self.prompts[0]

    @property
    def is_latest(self) -> bool:
        """Whether the conversation has no later exchange."""
        return self.end is self.conversation.ends[-1]

    @property
    def boundaries(self) -> tuple[Boundary, ...]:
        """The boundaries that the conversation's exchanges left, up to its end, the deepest last.

        They are the ones that count for *could*, so they are listed even if they have expired since or are in another
        scope."""
        found = [one for one in (self.latest or self.conversation).boundaries if one.position <= self.end.position]
        return tuple(sorted(found, key=attrgetter("position")))  # each position has one


class Situation(Structure, frozen=True, eq=True):
    """The facts about an attempt on which its verdict depends.

    - ``sent``: when it was sent.
    - ``reports``: true if the target is known to report cached tokens: its row states so, or it has once.
    - ``move``: the reason for another target than the parent's, as in the log, such as ``busy``; "" if unknown.
    - ``edits``: the names of the steps and keys by which the gateway changed the request.
    - ``rate``: requests of the last minute with this prefix and key, this one included.
    - ``diagnosis``: the provider's own explanation that the client or an entry requested, unchanged.
    - ``diagnoses_parent``: it compares the request with the parent's, not with that of another response."""

    scope: CacheScope
    sent: float
    reports: bool = True
    move: str = ""
    edits: tuple[str, ...] = ()
    rate: int = 0
    diagnosis: str | None = None
    diagnoses_parent: bool = True
