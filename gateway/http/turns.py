"""Turns of connections whose bytes cost far more work than usual: tiny frames and chunks.

Each such connection yields to other tasks after a millisecond of work. But with hundreds of them, each turn of the loop
would still take a second, for which every stream waits. So only one of them continues in each turn of the loop."""

from typing import Final

import trio
from trio.lowlevel import RunVar

TINY: Final = 512
"""Bytes below which a frame or chunk is tiny: reading it costs more than its bytes."""

TURN: Final = 64
"""Tiny frames or chunks after which a connection waits for its next turn: about a millisecond of work."""

_ORDER = RunVar[trio.Lock]("turns of tiny frames")


async def take_turn() -> None:
    """Wait for the next turn, in the order of calls. Of all callers, one continues in each turn of the loop."""
    try:
        order = _ORDER.get()
    except LookupError:
        _ORDER.set(order := trio.Lock())
    async with order:
        await trio.lowlevel.checkpoint()
