"""Steps that are async context managers: opened with the service, closed after the last request that uses them."""

import contextlib
import logging
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import trio

log = logging.getLogger("trigate.steps")

CLOSING: Final = 5.0
"""Seconds that a resource may take to close."""


class StepResource:
    """An async context manager that yields the function of a step.

    ``function`` is ``None`` until it is open, and after it has closed."""

    def __init__(self, name: str, manager: AbstractAsyncContextManager[Any]) -> None:
        self.name = name
        self.function: Any = None
        self.settled = trio.Event()
        """Set when it is open, or has failed."""
        self.users: set[object] = set()
        """The configurations that use it."""
        self._manager = manager
        self._is_started = False
        self._closing = trio.Event()
        self._closed = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Open it, and close it after ``close`` or a cancellation. An error at the start is raised, a later one is
        logged."""
        if self._is_started:
            await self.settled.wait()
            task_status.started()
            return
        self._is_started = True
        try:
            with trio.CancelScope() as scope:
                async with self._manager as function:
                    if not callable(function):
                        raise TypeError("it yields no function")
                    self.function = function
                    self.settled.set()
                    task_status.started()
                    with contextlib.suppress(trio.Cancelled):  # the manager ends normally, and it may wait for that
                        await self._closing.wait()
                    scope.shield, scope.deadline = True, trio.current_time() + CLOSING
        except (Exception, BaseExceptionGroup) as error:
            if self.function is None:
                raise
            log.error("the resources of the step %s ended with %s", self.name, error_place(error))
        finally:
            self.function = None
            self.settled.set()
            self._closed.set()

    async def aclose(self) -> None:
        """Close it and wait until it is closed."""
        self._closing.set()
        if self._is_started:
            await self._closed.wait()


def describe_error(error: BaseException) -> str:
    """Return the type, place and text of an error in the start of a step, which has no client's text."""
    error = first_error(error)
    text = " ".join(str(error).split())[:200]
    return error_place(error) + (f": {text}" if text else "")


def first_error(error: BaseException) -> BaseException:
    """Return the first error in a group that is no cancellation, or ``error`` itself."""
    while isinstance(error, BaseExceptionGroup):
        others = [one for one in error.exceptions if not isinstance(one, trio.Cancelled)]
        error = (others or error.exceptions)[0]
    return error


def error_place(error: BaseException) -> str:
    """Return the type of ``error`` and its place in the code. The text of an error may be a client's content."""
    error = first_error(error)
    place, trace = "", error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f" ({code.co_filename.rpartition('/')[2]}, line {trace.tb_lineno}, in {code.co_name})"
        trace = trace.tb_next
    return f"{type(error).__name__}{place}"
