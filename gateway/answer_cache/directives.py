"""What a client's ``cache-control`` asks for (RFC 9111, section 5.2.1)."""

import math
import re
from typing import Final

import attrs

_MAX_AGE: Final = re.compile(r"max-age=\"?([0-9]{1,9})\"?")


@attrs.frozen
class CacheWish:
    """A wish for one request: whether a cached answer may be ``read`` and a fresh one ``kept``, how many seconds old
    an answer may be, and whether it ``must_hit``: nothing is to be asked of a provider."""

    reads: bool = True
    keeps: bool = True
    max_age: float = math.inf
    must_hit: bool = False


NO_WISH: Final = CacheWish()


def read_wish(header: str | None) -> CacheWish:
    """The wish in a ``cache-control`` header. What it says besides has no meaning here."""
    if not header:
        return NO_WISH
    words = {word.strip().lower() for word in header.split(",")}
    ages = [int(found[1]) for word in words if (found := _MAX_AGE.fullmatch(word)) is not None]
    return CacheWish(
        reads=words.isdisjoint(("no-cache", "no-store")),
        keeps="no-store" not in words,
        max_age=min(ages, default=math.inf),
        must_hit="only-if-cached" in words,
    )
