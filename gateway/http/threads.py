"""Calls of plain functions in threads, whose exceptions leave nothing in memory."""

from collections.abc import Callable
from typing import TypeVar

import trio
from trio.lowlevel import RunVar

T = TypeVar("T")


class OwnThreads:
    """The threads of one kind of work, ``most`` at a time in each run of trio. Other work never waits for them."""

    def __init__(self, name: str, most: int) -> None:
        self._limiter = RunVar[trio.CapacityLimiter](f"threads of {name}")
        self._most = most

    def limiter(self) -> trio.CapacityLimiter:
        """Return the limiter of this run."""
        try:
            return self._limiter.get()
        except LookupError:
            self._limiter.set(limiter := trio.CapacityLimiter(self._most))
            return limiter


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
