"""Shell patterns over entry names, as in a client key's ``only``."""

from collections.abc import Iterable
from fnmatch import fnmatchcase


def matches_one(name: str, patterns: Iterable[str]) -> bool:
    """Return whether ``name`` equals or matches one of ``patterns``: ``groq/*`` is itself a name."""
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)
