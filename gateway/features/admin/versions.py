"""Versions of objects: ``ETag`` of what a caller reads, ``If-Match`` of what it changes, ``If-None-Match: *``."""

import hashlib
from collections.abc import Callable
from typing import TypeVar

from gateway.stores.errors import Changed

T = TypeVar("T")


def version_tag(text: str) -> str:
    """Return the version of an object, which is stored as ``text``."""
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def check_unchanged_since(
    before: T | None, version: Callable[[T | None], object] = lambda stored: stored
) -> Callable[[T | None], None]:
    """Return a check that the stored object is still the one that was read."""

    def check(present: T | None) -> None:
        if version(present) != version(before):
            raise Changed

    return check
