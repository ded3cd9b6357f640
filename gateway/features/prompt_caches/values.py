"""The results of a comparison with a provider's prompt cache: verdicts with their causes."""

from typing import Any, Final, Literal, TypeAlias

import attrs

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

NO_LOSS: Final[frozenset[CauseName]] = frozenset({"compacted", "small", "early", "unknown"})
"""Causes whose missed tokens are shown and are no loss."""

LONGEST_HEADER: Final = 300
"""Bytes of a header that describes a verdict."""

LEAST_MISSED: Final = 2000
"""The least missed tokens that get a cause, if they are also ``LEAST_SHARE`` of the tokens that the cache could serve.

Claude Code applies the same rule (https://code.claude.com/docs/en/statusline)."""

LEAST_SHARE: Final = 0.05


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

    @property
    def header(self) -> str | None:
        """The verdict for the client, ``None`` for a first turn, an unknown cause or nothing to report.

        Before the response ends, it is a prediction, with ``readable`` instead of ``read``."""
        if not self.could or any(cause.name == "unknown" for cause in self.causes):
            return None
        if self.read is None:
            return _header({"could": self.could, "readable": self.readable}, self.causes)
        return _header({"could": self.could, "read": self.read, "missed": self.missed}, self.causes)

    def fields(self, dollars: tuple[str, ...] | None = None) -> dict[str, Any]:
        """Return the fields of the log line, with the ``dollars`` lost to each cause in order.

        ``prompt_cache_cause`` is the larger cause. If there are two, ``prompt_cache_causes`` lists both."""
        if not self.could and not self.causes:
            return {} if self.provider is None else {"prompt_cache_provider": self.provider}
        found: dict[str, Any] = {"prompt_cache_could": self.could, "prompt_cache_missed": self.missed}
        if (cause := self.cause) is not None:
            found["prompt_cache_cause"] = cause.word
            if cause.at is not None and cause.name != "unknown":
                found["prompt_cache_at"] = cause.at
        if len(self.causes) > 1:
            found["prompt_cache_causes"] = [
                _cause_fields(one, None if dollars is None else dollars[number])
                for number, one in enumerate(self.causes)
            ]
        if self.idle is not None:
            found["prompt_cache_idle_s"] = round(self.idle)
        if self.provider is not None:
            found["prompt_cache_provider"] = self.provider
        found["prompt_cache_grade"] = self.grade
        return found


def _cause_fields(cause: CauseShare, dollars: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"cause": cause.word, "tokens": cause.tokens}
    if cause.at is not None and cause.name != "unknown":
        found["at"] = cause.at
    if dollars is not None:
        found["usd"] = float(dollars)
    return found


def _header(numbers: dict[str, int], causes: tuple[CauseShare, ...]) -> str:
    """Return ``numbers`` and ``causes`` as a header's value, in printable ASCII."""
    pairs = [f"{name}={number}" for name, number in numbers.items()]
    if causes:
        pairs.append("cause=" + ",".join(cause.word for cause in causes))
        if places := [cause.at for cause in causes if cause.at is not None]:
            pairs.append("at=" + ",".join(places))
    text = ", ".join(pairs)
    if not (text.isascii() and text.isprintable()):
        text = "".join(letter if " " <= letter <= "~" else "?" for letter in text)
    return text if len(text) <= LONGEST_HEADER else text[: LONGEST_HEADER - 3] + "..."
