"""The spans that a service changed in a text, word by word.

``difflib`` takes 200 times as long for a text with many changes, and quadratic time for repeated words."""

import re
from collections.abc import Sequence
from typing import Final, TypeAlias

Change: TypeAlias = tuple[int, int, str]
"""The start and end of a span of the old text, and the text that replaces it."""

_TOKEN: Final = re.compile(r"\w+|\s+|[^\w\s]")

WINDOW: Final = 64
"""Tokens after a difference in which the texts must be equal again. Otherwise the whole rest is one change."""

SAME: Final = 3
"""Equal tokens that end a difference."""

MOST: Final = 1000
"""Changes of one text; the rest is one change."""


def changes_between(old: str, new: str) -> list[Change]:
    """Return the changes from ``old``, which is not empty, to ``new``, in order and without overlaps.

    Each covers at least one character of ``old``. Applied to ``old``, they give exactly ``new``."""
    if old == new:
        return []
    before, after = _TOKEN.findall(old), _TOKEN.findall(new)
    changes: list[Change] = []
    i = j = at = 0
    while i < len(before) or j < len(after):
        if i < len(before) and j < len(after) and before[i] == after[j]:
            at += len(before[i])
            i, j = i + 1, j + 1
            continue
        found = _resume(before, i, after, j) if len(changes) < MOST else None
        skipped, added = found or _differing_rest(before, i, after, j)
        if not skipped and i < len(before):  # an insertion: it replaces the next token, too
            skipped, added = 1, added + 1
        end = at + sum(map(len, before[i : i + skipped]))
        text = "".join(after[j : j + added])
        _add(changes, (at, end, text), old)
        i, j, at = i + skipped, j + added, end
    return changes


def _add(changes: list[Change], change: Change, old: str) -> None:
    """Add a change; text after the end of ``old`` joins its last character or the change before it."""
    start, end, text = change
    if changes and changes[-1][1] == start:
        before = changes.pop()
        changes.append((before[0], end, before[2] + text))
    elif start == end:
        changes.append((start - 1, end, old[start - 1] + text))
    else:
        changes.append(change)


def _resume(before: Sequence[str], i: int, after: Sequence[str], j: int) -> tuple[int, int] | None:
    """Return the fewest tokens to skip in both texts until they are equal again."""
    for distance in range(1, 2 * WINDOW):
        for skipped in range(max(0, distance - WINDOW), min(distance, WINDOW) + 1):
            x, y = i + skipped, j + distance - skipped
            if x > len(before) or y > len(after):
                continue
            same = before[x : x + SAME]
            if same == after[y : y + SAME] and (len(same) == SAME or x + SAME > len(before)):
                return skipped, distance - skipped
    return None


def _differing_rest(before: Sequence[str], i: int, after: Sequence[str], j: int) -> tuple[int, int]:
    """Return the tokens of both texts up to their equal ends."""
    same = 0
    while same < min(len(before) - i, len(after) - j) and before[-1 - same] == after[-1 - same]:
        same += 1
    return len(before) - i - same, len(after) - j - same
