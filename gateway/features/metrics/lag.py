"""The lag of the event loop: how much too late a sleeping task resumes. It delays every stream of the process."""

from collections.abc import Callable
from typing import Final

import trio

EVERY: Final = 0.5
"""Seconds between two measurements. A shorter block is seen in proportion to its duration."""


async def watch_lag(seen: Callable[[float], object]) -> None:
    """Call ``seen(seconds)`` with each delay until cancelled."""
    while True:
        due = trio.current_time() + EVERY
        await trio.sleep_until(due)
        seen(max(0.0, trio.current_time() - due))
