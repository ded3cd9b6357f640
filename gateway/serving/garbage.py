"""Settings for Python's garbage collector, which would stop streams: a full collection over all that a thousand streams
hold takes a tenth of a second, in which no event moves. Connections and requests leave no cycles behind, but for
errors, which are young when they go: full collections are seldom needed."""

import contextlib
import ctypes
import gc
import resource
from typing import Final

import trio

from gateway.serving.registry import ConnectionRegistry

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


def _keep_pages() -> None:
    """Let glibc keep free memory. It gives memory back as soon as a few hundred kilobytes are free, and each larger
    answer asks for its pages again: a tenth of what one of 256 kB costs. Other libraries have no such setting."""
    with contextlib.suppress(OSError, AttributeError):
        setting = ctypes.CDLL(None).mallopt
        setting(_MAP, _MIB)
        setting(_TRIM, 4 * _MIB)


async def tidy(registry: ConnectionRegistry) -> None:
    """Collect everything when no request is being served, or when memory has doubled all the same; until cancelled."""
    most = _most_memory()
    while True:
        await trio.sleep(EVERY)
        _, looks, _ = gc.get_count()
        if looks and (not registry.in_flight or _most_memory() > 2 * most):
            gc.collect()
            most = _most_memory()


def _most_memory() -> int:
    """The most that the process has ever held, in units of the system's."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
