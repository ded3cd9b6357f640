"""Settings for Python's garbage collector, which would stop streams: a full collection over all that a thousand streams
hold takes a tenth of a second, in which no event moves, and the load tester would take it for the server's. Connections
and requests leave no cycles behind, but for errors, which are young when they go: full collections are seldom needed.
"""

import contextlib
import ctypes
import gc
import resource
import sys
from collections.abc import Iterator
from typing import Final, Protocol

import trio

YOUNG: Final = 10_000  # new objects before these alone are collected, in a millisecond or two
NEVER: Final = 2**30

EVERY: Final = 10.0
"""Seconds between two checks whether a full collection may run."""


_TRIM, _MAP = -1, -3  # of glibc's malloc.h
_MIB = 2**20


def settle() -> None:
    """Exempt all that start-up has made from collection, because it lives as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, NEVER, NEVER)
    gc.enable()
    _keep_pages()


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """The same until the end of the block. What was exempted stays so: others may have exempted more."""
    before = gc.get_threshold()
    settle()
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _keep_pages() -> None:
    """Let glibc keep free memory. It gives memory back as soon as a few hundred kilobytes are free, and each larger
    answer asks for its pages again: a tenth of what one of 256 kB costs. Other libraries have no such setting."""
    with contextlib.suppress(OSError, AttributeError):
        setting = ctypes.CDLL(None).mallopt
        setting(_MAP, _MIB)
        setting(_TRIM, 4 * _MIB)


class Busy(Protocol):
    """Who has so many requests under way."""

    @property
    def in_flight(self) -> int: ...


async def tidy(busy: Busy, spare: int = 0) -> None:
    """Collect everything when no request is under way, or when memory (beyond ``spare`` bytes) has doubled all the
    same; until cancelled."""
    most = max(spare, _most_memory())
    while True:
        await trio.sleep(EVERY)
        _, looks, _ = gc.get_count()
        if looks and (not busy.in_flight or _most_memory() > 2 * most):
            gc.collect()
            most = max(spare, _most_memory())


def _most_memory() -> int:
    """The most that the process has ever held, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
