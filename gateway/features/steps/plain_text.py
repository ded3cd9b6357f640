"""Plain text: the text of a stream in which no built-in step can find anything.

One scan of the text that is not released decides for all steps together. The stages of the steps see the text later,
together, so that an event that arrives alone takes few calls of functions."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from gateway.features.steps.kinds.normal import NormalText, is_plain
from gateway.features.steps.kinds.scanning import LONGEST_SEGMENT

LATER: Final = 1000
"""Characters of released text after which the stages see it."""

BRACKET: Final = r"\["
"""The first character of each placeholder, as a pattern."""


class PlainScan:
    """A search for text that a step must see. ``candidate`` is a pattern for such text, ``characters`` may continue as
    such text."""

    def __init__(self, candidate: str, characters: str, *, is_ascii_only: bool) -> None:
        self._search = re.compile(candidate).search if candidate else None
        self._characters = characters
        self._is_ascii_only = is_ascii_only

    def tail(self, text: str) -> int:
        """Return the position from which ``text`` must wait for more of it, ``-1`` if a step must see it."""
        if self._search is None:
            return len(text)
        if not is_plain(text):
            if self._is_ascii_only or not (normal := NormalText(text)).is_aligned:
                return -1
            text = normal.text
        if self._search(text) is not None:
            return -1
        tail = len(text.rstrip(self._characters))
        return -1 if len(text) - tail > LONGEST_SEGMENT else tail


def plain_scan(kinds: Sequence[Any], *, restores: bool = False) -> PlainScan | None:
    """Return the scan for several built-in ``kinds``, ``None`` if one of them must see every text."""
    candidates = [one for kind in kinds if (one := getattr(kind, "candidate", None))]
    if len(candidates) < len(kinds):
        return None
    characters = "".join(kind.characters for kind in kinds)
    is_ascii_only = any(kind.is_ascii_only for kind in kinds)
    return _scan("|".join([*candidates, *([BRACKET] if restores else ())]), characters, is_ascii_only)


@lru_cache(maxsize=256)
def _scan(candidate: str, characters: str, is_ascii_only: bool) -> PlainScan:
    return PlainScan(candidate, characters, is_ascii_only=is_ascii_only)


class PlainText:
    """The text of one block of a stream. ``held`` was not released; ``passed`` was, and no stage has seen it."""

    __slots__ = ("_scan", "block", "held", "passed", "passed_length")

    def __init__(self, scan: PlainScan, block: int, held: str) -> None:
        self._scan = scan
        self.block = block
        self.held = held
        self.passed: list[str] = []
        self.passed_length = 0

    def release(self) -> str | None:
        """Return the text that the client gets now, ``None`` if the steps must see the held text."""
        text = self.held
        tail = self._scan.tail(text)
        if tail <= 0:
            return "" if tail == 0 else None
        released, self.held = text[:tail], text[tail:]
        self.passed.append(released)
        self.passed_length += tail
        return released
