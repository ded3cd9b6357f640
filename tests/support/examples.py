"""Numbers of examples and cuts in a test: all, or with ``--fast`` a part of them."""

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import settings

T = TypeVar("T")

USUAL = 100
"""The default number of examples of a property, without ``--fast``."""

STRIDE = 13
"""A prime, so that the tried positions differ between the events of a stream."""


def examples(count: int) -> int:
    """Return the number of examples for a property that tries ``count`` without ``--fast``.

    A literal number would apply to every profile.
    """
    return max(1, count * settings().max_examples // USUAL)


def places(every: Sequence[T]) -> Sequence[T]:
    """Return the positions at which to cut a stream: all, or with ``--fast`` every ``STRIDE``-th and the last."""
    if settings().max_examples >= USUAL or not every:
        return every
    return [*every[:-1:STRIDE], every[-1]]
