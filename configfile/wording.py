"""Words of messages about a wrong value: its description, the valid values, and the most similar name."""

import difflib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from configfile.expanded import Expanded

UNKNOWN_KEY: Final = "unknown key"
"""The fault of a key that its mapping does not have."""


class Wrong(ValueError):
    """The error for a value that is wrong in its place."""

    def __init__(self, found: str, expected: str, suggestion: str | None = None, known: tuple[str, ...] = ()) -> None:
        """Create the error; ``known`` are the valid keys, for an unknown key without better advice."""
        super().__init__(found)
        self.found = found
        self.expected = expected
        self.suggestion = suggestion
        self.known = known

    @property
    def words(self) -> tuple[str, str, str | None, tuple[str, ...]]:
        """The arguments of ``Document.mistake`` after the path."""
        return self.found, self.expected, self.suggestion, self.known


_CREDENTIALS: Final = re.compile(r"://.*@", re.DOTALL)
"""The part before the host of an address, which may have a password."""


def describe(value: Any) -> str:
    """Describe a value in a few words, without text from the environment."""
    if isinstance(value, Expanded):
        return "the variable's value"
    if isinstance(value, str):
        value = _CREDENTIALS.sub("://…@", value)
        return repr(value if len(value) <= 60 else value[:60] + "…")
    if isinstance(value, bool | int | float):
        return spell_number(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    return {list: "a list", type(None): "nothing"}.get(type(value), f"a {type(value).__name__}")


def describe_word(value: Any) -> str:
    """Describe a value in place of a word, with a note if YAML 1.1 may have converted the word."""
    words = {True: "on, yes and true", False: "off, no and false"}
    return f"{describe(value)} (YAML reads {words[value]} as this)" if isinstance(value, bool) else describe(value)


def spell_number(value: float) -> str:
    """Spell a number, unless it is huge, such as one in hexadecimal with thousands of digits."""
    return "a huge number" if isinstance(value, int) and value.bit_length() > 64 else str(value)


def spell_time(time: datetime) -> str:
    """Spell a time in UTC, as in RFC 3339."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def time_text(seconds: float) -> str:
    """Return a Unix time as text."""
    return spell_time(datetime.fromtimestamp(int(seconds), UTC))


def nearest(word: str, words: Iterable[str], cutoff: float = 0.75) -> str | None:
    """Return the most similar of ``words``: a letter or two differ, or ``word`` is most of the name.

    Less similar names are often wrong, and a wrong guess is worse than none.
    """
    return next(iter(difflib.get_close_matches(word, tuple(words), n=1, cutoff=cutoff)), None)


def is_misspelling(word: str, right: str, alike: float = 0.8) -> bool:
    """Return whether ``word`` is ``right`` with a typing error: a letter or two differ, or two are swapped."""
    return word != right and (sorted(word) == sorted(right) or nearest(word, (right,), alike) is not None)


def one_of(words: Iterable[str]) -> str:
    return f"expected one of {', '.join(words)}"
