"""The entries that a successful request leaves in the provider's cache, and their tokens."""

from collections.abc import Sequence
from typing import Final

from gateway.features.prompt_caches.positions import boundary_positions, lifetime_of
from gateway.features.prompt_caches.prompts import PromptDigest
from gateway.features.prompt_caches.structures import Structure
from providers.catalog.prompt_caching import CachingRow
from streams.events import Usage

_BYTES_PER_TOKEN: Final = 4

_SURE: Final = 0.95
"""The share of an estimated number of tokens from which on it counts as read."""


class PlannedBoundary(Structure, frozen=True):
    """A position where the request leaves an entry if it succeeds.

    ``prefix`` is the digest of everything before it, ``size`` its bytes, ``ttl`` the lifetime that its mark states."""

    position: int
    prefix: bytes
    size: int
    ttl: float | None


def planned_boundaries(prompt: PromptDigest, row: CachingRow | None) -> tuple[PlannedBoundary, ...]:
    """Return the positions where a request with ``prompt`` leaves entries, in order."""
    found: list[PlannedBoundary] = []
    marks = dict(prompt.marks)
    for position in boundary_positions(prompt, row):
        if (prefix := prompt.prefix(position)) is not None:
            ttl = None if row is None else lifetime_of(prompt, row, marks.get(position))
            found.append(PlannedBoundary(position, prefix, prompt.size_at(position), ttl))
    return tuple(found)


def split_premium(premium: int, read: int, tokens: Sequence[int]) -> list[int]:
    """Return the share in ``premium`` of each boundary that a request left, by the tokens that it wrote there.

    ``premium`` is what all of them cost more than plain input, ``tokens`` are those up to each boundary, in order. The
    request has read the first ``read`` tokens."""
    if not premium or not tokens or tokens[-1] <= read:
        return [0] * len(tokens)
    ends = [max(one, read) for one in tokens]
    known = [premium * (end - read) // (ends[-1] - read) for end in ends]
    return [one - before for before, one in zip((0, *known), known, strict=False)]


def is_covered(tokens: int, is_exact: bool, read: int) -> bool:
    """Return whether a response that read ``read`` tokens from the cache has read a boundary."""
    return 0 < (tokens if is_exact else tokens * _SURE) <= read


def boundaries_left(
    planned: Sequence[PlannedBoundary], prompt: PromptDigest, row: CachingRow | None, usage: Usage | None
) -> list[tuple[PlannedBoundary, int, bool]]:
    """Return the boundaries that a successful attempt left, each with its tokens, and whether these are exact.

    The provider counts the tokens up to the deepest one. For others, the tokens are interpolated by bytes."""
    if not planned:
        return []
    deepest, end = planned[-1], prompt.end
    if usage is None or usage.estimated or not usage.prompt:
        tokens, is_exact = deepest.size // _BYTES_PER_TOKEN, False
    elif row is not None and row.reports == "exact":
        tokens, is_exact = usage.cache_read + usage.cache_write, True
    else:
        step = 1 if row is None or row.step is None else row.step
        share = 1.0 if deepest.position == end else deepest.size / max(1, prompt.size_at(end))
        tokens, is_exact = int(usage.prompt * share) // step * step, deepest.position == end
    least = 0 if row is None or row.minimum is None else row.minimum
    if not tokens or tokens < least:
        return []
    others = [(one, tokens * one.size // max(1, deepest.size), False) for one in planned[:-1]]
    return [*(one for one in others if one[1] >= max(1, least)), (deepest, tokens, is_exact)]
