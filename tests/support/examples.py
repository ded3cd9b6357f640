"""Numbers of examples and cuts in a test: a part of them, and all with ``--hypothesis-profile=explore``."""

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import settings

T = TypeVar("T")

USUAL = 100
"""The number that ``examples`` takes as the default and scales."""

DEFAULT = 15
"""The number of examples of a property without ``--fast``."""

STRIDE = 13
"""A prime, so that the tried positions differ between the events of a stream."""


def examples(count: int) -> int:
    """Return the number of examples for a property that tries ``count`` where others try ``USUAL``.

    A literal number would apply to every profile.
    """
    return max(1, count * settings().max_examples // USUAL)


def places(every: Sequence[T], by_default: int = 7) -> Sequence[T]:
    """Return the positions at which to cut a stream: all in the profile ``explore``, and a part in others.

    The part is the last one, and every ``STRIDE``-th with ``--fast``, otherwise every ``by_default``-th.
    """
    if settings().max_examples >= USUAL or not every:
        return every
    return [*every[: -1 : by_default if settings().max_examples >= DEFAULT else STRIDE], every[-1]]
