"""Hedges: a second function starts if the first is slow, and the first result wins."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import trio

T = TypeVar("T")

Contender: TypeAlias = Callable[[], Awaitable[T | None]]
"""A function that returns a result, or ``None`` after a failure. Cancellation leaves nothing open."""


async def run_hedged(
    first: Contender[T], delay: float, second: Callable[[], Awaitable[Contender[T] | None]]
) -> T | None:
    """Return the result of ``first`` or of the second function, whichever comes first; ``None`` if both fail.

    ``second()`` is called when ``first`` has run for ``delay`` seconds, and returns the second function or ``None``.
    The slower function is cancelled, and has ended when this returns. A result is lost if this is cancelled at the same
    time, so a function that opens something has to keep track of it."""
    results: list[T] = []
    ended = trio.Event()

    async def run(contender: Contender[T]) -> None:
        result = await contender()
        ended.set()
        if result is not None:
            results.append(result)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, first)
        with trio.move_on_after(delay):
            await ended.wait()
        if not ended.is_set() and (second_contender := await second()) is not None:
            nursery.start_soon(run, second_contender)
    return results[0] if results else None
