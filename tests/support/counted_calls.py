"""The cost of work in calls of functions, which is the same on every machine."""

import contextlib
import gc
import sys
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def no_collections() -> Iterator[None]:
    """Run no garbage collection in the block: it scans all objects of the tests' process, and
    calls hooks and finalizers."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def calls(work: Callable[[], object]) -> int:
    """Return the number of calls that ``work`` makes, of Python's functions and C's."""
    count = -2  # that of ``work`` itself, and the end of counting

    def profile(frame: Any, what: str, argument: Any) -> None:
        nonlocal count
        count += what in ("call", "c_call")

    with no_collections():
        sys.setprofile(profile)
        try:
            work()
        finally:
            sys.setprofile(None)
    return count
