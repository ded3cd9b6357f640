"""Steps that find made-up words, loaded as a package's code is: ``use: tests.support.word_steps:words``."""

import re
from collections.abc import Iterator
from typing import Final

import trio
import trio.testing

from trigate.steps import Check, Finding

WORD: Final = re.compile(r"falcon-\d+")
ANSWERED: Final = re.compile(r"osprey-\d+")

seen: Final[list[Check]] = []
"""The checks that ``words`` got."""


def _find(pattern: re.Pattern[str], check: Check) -> Iterator[Finding]:
    for passage in check.passages:
        for found in pattern.finditer(passage.text):
            yield Finding("word", passage, *found.span())


async def words(check: Check) -> list[Finding]:
    """Return findings for each ``falcon-1``, and record the check in ``seen``."""
    seen.append(check)
    return list(_find(WORD, check))


async def late_words(check: Check) -> list[Finding]:
    """Return the findings of ``words`` once all other tasks wait."""
    await trio.testing.wait_all_tasks_blocked(0.05)
    return await words(check)


holding: Final[list[trio.Event]] = []
"""The events for which ``held_words`` waits."""


async def held_words(check: Check) -> list[Finding]:
    """Return the findings of ``words`` once all events of ``holding`` are set."""
    for event in holding:
        await event.wait()
    return await words(check)


async def answered_words(check: Check) -> list[Finding]:
    """Return findings for each ``osprey-1``."""
    return list(_find(ANSWERED, check))


def raise_error(check: Check) -> list[Finding]:
    raise ValueError("falcon-9 is in this error")
