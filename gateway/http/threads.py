"""Calls of plain functions in threads, whose exceptions leave nothing in memory."""

from collections.abc import Callable
from typing import TypeVar

import trio

T = TypeVar("T")


async def call_in_thread(
    work: Callable[[], T], *, limiter: trio.CapacityLimiter | None = None, abandon_on_cancel: bool = False
) -> T:
    """Return ``work()``, called in a thread, or raise its exception.

    trio's own function keeps an exception in its frame, to which the exception's traceback leads. The variables of all
    these frames, such as a rejected body of megabytes, would stay in memory until the garbage collector runs."""
    results: list[T] = []
    errors: list[BaseException] = []

    def capture() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: ASYNC103  # raised below
            errors.append(error)

    await trio.to_thread.run_sync(capture, limiter=limiter, abandon_on_cancel=abandon_on_cancel)
    if errors:
        raise errors.pop()
    return results.pop()
