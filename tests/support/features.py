"""The features that the gateway has: each can be deleted, and tests outside its folder still pass."""

from importlib.util import find_spec
from typing import TypeVar

T = TypeVar("T")


def rows_of(feature: str, *rows: T) -> tuple[T, ...]:
    """Return the ``rows`` of a table about ``feature``, none if the gateway does not have it."""
    return () if find_spec(f"gateway.features.{feature}") is None else rows
