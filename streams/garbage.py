"""Settings of Python's garbage collector that avoid pauses of streams.

A full collection over the objects of a thousand streams takes a tenth of a second, in which no event moves. Connections
and requests create no cycles except in errors, which young collections remove, so full ones are rarely needed.
"""

import contextlib
import ctypes
import gc
import resource
import sys
from collections.abc import Iterator
from typing import Final, Protocol

import trio

YOUNG_THRESHOLD: Final = 10_000  # new objects before a young collection, which takes a millisecond or two
NEVER: Final = 2**30

CHECK_SECONDS: Final = 10.0
"""Seconds between two checks whether a full collection may run."""


_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
_MIB = 2**20


def freeze_startup_objects(*, collects: bool = True) -> None:
    """Exempt all existing objects from collection, as objects from start-up live as long as the process.

    Without ``collects``, this includes garbage until ``collect_startup_garbage``. Finding it takes a tenth of the time
    until a server responds."""
    if collects:
        gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_THRESHOLD, NEVER, NEVER)
    gc.enable()
    _keep_free_memory()


@contextlib.contextmanager
def frozen_startup_objects() -> Iterator[None]:
    """Apply ``freeze_startup_objects`` until the end of the block, then restore the thresholds.

    Exempted objects stay exempt, because other code may have exempted more.
    """
    before = gc.get_threshold()
    freeze_startup_objects()
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _keep_free_memory() -> None:
    """Make glibc keep free memory instead of returning it to the system.

    By default it returns memory as soon as a few hundred kilobytes are free, and each large response pays for its pages
    again: a tenth of the cost of one of 256 kB. Other C libraries have no such setting.
    """
    with contextlib.suppress(OSError, AttributeError):
        setting = ctypes.CDLL(None).mallopt
        setting(_MAP, _MIB)
        setting(_TRIM, 4 * _MIB)


class InFlight(Protocol):
    """An object that knows the number of its requests in flight."""

    @property
    def in_flight(self) -> int: ...


async def collect_startup_garbage(requests: InFlight) -> None:
    """Free the garbage among the exempted objects, once, as soon as no request is in flight."""
    while True:
        await trio.sleep(CHECK_SECONDS)
        if not requests.in_flight:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
            return


async def collect_when_idle(requests: InFlight, spare: int = 0) -> None:
    """Run full collections until cancelled: when no request is in flight, or when memory has doubled.

    Memory up to ``spare`` bytes does not count as growth.
    """
    peak = max(spare, _peak_memory())
    while True:
        await trio.sleep(CHECK_SECONDS)
        _, middle_collections, _ = gc.get_count()
        if middle_collections and (not requests.in_flight or _peak_memory() > 2 * peak):
            gc.collect()
            peak = max(spare, _peak_memory())


def _peak_memory() -> int:
    """Return the peak memory of the process, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
