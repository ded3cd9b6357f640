"""The words of messages about a wrong value: what stands there, what may stand there, and the
right name that was probably meant."""

import difflib
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from configfile.expanded import Expanded


class Wrong(ValueError):
    """A value that may not stand where it does."""

    def __init__(self, found: str, expected: str, suggestion: str | None = None, known: tuple[str, ...] = ()) -> None:
        """``known`` are the keys that may stand there, for a key that is none of them and has no better advice."""
        super().__init__(found)
        self.found = found
        self.expected = expected
        self.suggestion = suggestion
        self.known = known

    @property
    def words(self) -> tuple[str, str, str | None, tuple[str, ...]]:
        """The words that ``Document.mistake`` takes, behind the place."""
        return self.found, self.expected, self.suggestion, self.known


_CREDENTIALS: Final = re.compile(r"://.*@", re.DOTALL)
"""What stands before the host of an address: a password, where it is one of a store."""


def describe(value: Any) -> str:
    """The value in a few words. Text that came from the environment is not repeated."""
    if isinstance(value, Expanded):
        return "what the variable holds"
    if isinstance(value, str):
        value = _CREDENTIALS.sub("://…@", value)
        return repr(value if len(value) <= 60 else value[:60] + "…")
    if isinstance(value, bool | int | float):
        return spelled(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    return {list: "a list", type(None): "nothing"}.get(type(value), f"a {type(value).__name__}")


def described_word(value: Any) -> str:
    """``describe`` for the place of a word: what stands there may have been one that YAML 1.1 takes for something
    else."""
    words = {True: "on, yes and true", False: "off, no and false"}
    return f"{describe(value)} (YAML reads {words[value]} as this)" if isinstance(value, bool) else describe(value)


def spelled(value: float) -> str:
    """A number as text; one that nobody writes by hand (0x and thousands of digits) is not spelled out."""
    return "a huge number" if isinstance(value, int) and value.bit_length() > 64 else str(value)


def spelled_time(time: datetime) -> str:
    """A time in UTC, as RFC 3339 writes it."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def nearest(word: str, words: Iterable[str], cutoff: float = 0.75) -> str | None:
    """The right name that ``word`` was probably meant to be: it differs in a letter or two, or it is most of the name.
    What is less alike is as often something else, and a wrong guess costs more than none."""
    return next(iter(difflib.get_close_matches(word, tuple(words), n=1, cutoff=cutoff)), None)


def one_of(words: Iterable[str]) -> str:
    return "one of " + ", ".join(words)
