"""Two ways to one result beside each other: the second begins where the first takes long, and the first result wins."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import trio

T = TypeVar("T")

Way: TypeAlias = Callable[[], Awaitable[T | None]]
"""Comes to a result, or to none where it fails. Cancelled, it leaves nothing open."""


async def hedged(first: Way[T], after: float, second: Callable[[], Awaitable[Way[T] | None]]) -> T | None:
    """Return the result of ``first``, or of the way that ``second()`` finds once ``first`` has taken ``after`` seconds,
    whichever comes first; ``None`` where there is none.

    The way that is too late is cancelled, and has ended when this returns. ``second`` is not called where ``first`` has
    ended before, and may find no way. A result is lost where this is cancelled at that very moment: a way that opens
    something keeps track of that itself."""
    found: list[T] = []
    ended = trio.Event()

    async def go(way: Way[T]) -> None:
        result = await way()
        ended.set()
        if result is not None:
            found.append(result)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(go, first)
        with trio.move_on_after(after):
            await ended.wait()
        if not ended.is_set() and (beside := await second()) is not None:
            nursery.start_soon(go, beside)
    return found[0] if found else None
