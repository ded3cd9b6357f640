"""Patterns of names: shell patterns, as in a client key's ``only``, and those of the key ``model_names``."""

import re
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

import attrs

from configfile.keys import setting


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


_TRIED: Final = 256
"""Remembered pattern lists; each configuration has one."""


@attrs.frozen(repr=False)
class ModelNames:
    """The mapping ``model_names`` of the root."""

    exact: bool = setting(
        "Serve only names of entries and aliases, and `NAME/…` of a wildcard `NAME/*`, also as targets of aliases. An "
        "entry with a `name` has no other name.",
        False,
    )
    refused: tuple[str, ...] = setting(
        "Names that get 404 even if a wildcard matches them, with `*`. Names of entries and aliases, and longer "
        "wildcards, take precedence. Only aliases reach an entry whose whole name is listed.",
        (),
    )

    def refused_length(self, name: str) -> int:
        """Return the length of the longest item of ``refused`` that matches ``name``, 0 if none does."""
        return max((len(text) for text, pattern in _compile(self.refused) if pattern.fullmatch(name)), default=0)


@lru_cache(_TRIED)
def _compile(texts: Sequence[str]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Return each text with its pattern."""
    return tuple((text, re.compile(_pattern(text), re.DOTALL)) for text in texts if text)


def _pattern(text: str) -> str:
    """Return a pattern that matches in linear time: each ``*`` matches the shortest text, and is not tried again."""
    first, *others = map(re.escape, re.split(r"\*+", text))
    between = "".join(f"(?>.*?{part})" for part in others[:-1])
    return f"{first}{between}.*{others[-1]}" if others else first


ALL_NAMES: Final = ModelNames()
