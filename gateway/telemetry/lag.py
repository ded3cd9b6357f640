"""The lag of the event loop: how much longer than asked for a task sleeps. Every stream of its process waits alike."""

from collections.abc import Callable
from typing import Final

import trio

EVERY: Final = 0.5
"""Seconds between two looks. One that blocks for less is seen as often as it fills the time."""


async def watch_lag(seen: Callable[[float], object], every: float = EVERY) -> None:
    """Call ``seen(seconds)`` with each lateness, until cancelled."""
    while True:
        due = trio.current_time() + every
        await trio.sleep_until(due)
        seen(max(0.0, trio.current_time() - due))
