"""Shell patterns over entry names, as in a client key's ``only``."""

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase


def matches_one(name: str, patterns: Iterable[str]) -> bool:
    """Return whether ``name`` equals or matches one of ``patterns``: ``groq/*`` is itself a name."""
    return any(name == pattern or fnmatchcase(name, pattern) for pattern in patterns)


def matches(patterns: tuple[str, ...] | None, names: Collection[str | None]) -> bool:
    """Return whether a request with ``names`` matches ``patterns``, in which ``!`` excludes.

    Every name can match, but only the first one, which a client cannot spell differently, can be excluded. An absent
    name matches only ``*``, and no pattern excludes it."""
    if patterns is None:
        return True
    known = [name for name in names if name is not None]
    excluding = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    including = [pattern for pattern in patterns if not pattern.startswith("!")]
    if known and matches_one(known[0], excluding):
        return False
    return not including or "*" in including or any(matches_one(name, including) for name in known)
