"""How many examples and cuts of a stream a test tries: all, or with ``--fast`` a part of them."""

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import settings

T = TypeVar("T")

USUAL = 100
"""The examples of a property that says no number, in a whole run."""

STRIDE = 13
"""Prime, so that the places that are tried lie differently in each event of a stream."""


def examples(count: int) -> int:
    """The ``max_examples`` of a property that tries ``count`` in a whole run: the profile's share of them. A number
    that is written out would hold in every profile."""
    return max(1, count * settings().max_examples // USUAL)


def places(every: Sequence[T]) -> Sequence[T]:
    """The places where a stream is cut: each in a whole run, else one in ``STRIDE`` and the last."""
    if settings().max_examples >= USUAL or not every:
        return every
    return [*every[:-1:STRIDE], every[-1]]
