"""The verdict on the use that an attempt made of its provider's prompt cache, and what the missed tokens cost.

It is the note of this feature in the record of an attempt, for other observers."""

from typing import Final, Literal, TypeAlias

import attrs

from providers.catalog.prices import NANOS
from providers.catalog.prices import Grade as PriceGrade

NOTE: Final = "prompt_caches"
"""The name of the notes in records of attempts."""

CauseName: TypeAlias = Literal[
    "moved", "edited", "model", "key", "tier", "compacted", "tools", "system", "settings", "history", "small", "marks",
    "early", "expired", "busy", "provider", "unknown",
]  # fmt: skip
"""The cause of a miss.

- By the gateway: ``moved`` (another target) and ``edited`` (a step, a reload, a translation, added members).
- By the client: ``model``, ``key`` and ``tier`` select another cache; ``compacted`` is intended; ``tools``, ``system``,
  ``settings`` and ``history`` changed; ``marks`` are missing.
- By the order of requests: ``small`` (below the minimum), ``early`` (before the parent's response began).
- By time or by the provider: ``expired``, ``busy``, ``provider``.
- ``unknown``, with an ``UnknownReason``."""

UnknownReason: TypeAlias = Literal["not_seen", "not_reported", "no_usage", "no_row", "contradiction"]
"""The reason for an unknown cause: the parent is not remembered, the target does not report cached tokens, the response
has no usage, the rules of the provider are not known, or the provider's number contradicts the comparison."""

Grade: TypeAlias = Literal["exact", "estimated"]
"""``exact`` tokens are the provider's; ``estimated`` ones are interpolated by bytes."""


@attrs.frozen(repr=False)
class CauseShare:
    """A cause with its share of the missed tokens.

    ``at`` is the position and kind of the difference in the client's words, such as ``tools[3].description changed``,
    or both targets with the reason, such as ``gpu-1>gpu-2 (busy)``, or an ``UnknownReason``."""

    name: CauseName
    at: str | None
    tokens: int

    @property
    def word(self) -> str:
        """The name of the cause, with the reason if it is unknown: ``unknown:not_seen``."""
        return f"unknown:{self.at}" if self.name == "unknown" and self.at else self.name


@attrs.define(repr=False)
class CacheVerdict:
    """The comparison of an attempt with the provider's reported usage.

    - ``could``, ``readable``, ``read``, ``missed``: tokens. ``read`` is ``None`` if the provider did not report it.
      Without a miss, ``readable`` counts only the tokens that the provider read.
    - ``causes``: at most two, the larger first; their tokens add up to ``missed``. Empty for a small or no miss.
    - ``idle``: for ``expired``, the seconds for which the boundary was unused.
    - ``provider``: the provider's own diagnosis, unchanged.
    - ``unread``: nano-dollars, for sums only. Writing an entry adds what it cost more than plain input, and its first
      reading subtracts that. So a sum has the price of entries that were not read. Settling the attempt sets it.
    - ``is_unkeyed``: the provider advises a cache key, and the request had none."""

    could: int = 0
    readable: int = 0
    read: int | None = None
    missed: int = 0
    causes: tuple[CauseShare, ...] = ()
    grade: Grade = "exact"
    idle: float | None = None
    provider: str | None = None
    unread: int = 0
    is_unkeyed: bool = False

    @property
    def cause(self) -> CauseShare | None:
        """The cause of most missed tokens, ``None`` if there is no cause."""
        return self.causes[0] if self.causes else None


@attrs.frozen(repr=False)
class CacheLoss:
    """The loss of a verdict: ``nanos`` in total, ``shares`` for each of its causes in order, in nano-dollars.

    Causes that are no loss have a share of 0. ``grade`` is the worst of the tokens' and the prices'."""

    nanos: int
    shares: tuple[int, ...]
    grade: PriceGrade

    @property
    def dollars(self) -> tuple[str, ...]:
        """The shares in dollars."""
        return tuple(f"{nanos / NANOS:.9f}" for nanos in self.shares)


@attrs.frozen(repr=False)
class JudgedAttempt:
    """The note on an attempt: its ``verdict``, and the ``loss`` if prices are known."""

    verdict: CacheVerdict
    loss: CacheLoss | None = None
