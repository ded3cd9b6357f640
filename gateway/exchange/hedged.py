"""Runs two ways to one result: the second starts if the first is slow, and the first result wins."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import trio

T = TypeVar("T")

Way: TypeAlias = Callable[[], Awaitable[T | None]]
"""Returns a result, or ``None`` after a failure. Cancellation leaves nothing open."""


async def hedged(first: Way[T], after: float, second: Callable[[], Awaitable[Way[T] | None]]) -> T | None:
    """Return the result of ``first`` or of a second way, whichever comes first; ``None`` if both fail.

    ``second()`` is called once ``first`` has taken ``after`` seconds, and may return no way. The slower way is
    cancelled and has ended when this returns. A result is lost if this is cancelled at the same time, so a way that
    opens something has to keep track of it."""
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
