"""Pages of 2 MiB for the memory that a process has after its start.

The code and objects for one request are spread over all of this memory. With pages of 4 KiB the processor knows the
addresses of only a part of them."""

import contextlib
import ctypes
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

START_SECONDS: Final = 1.0
"""Seconds after which the memory of the start has most of its final size."""

_COLLAPSE = 25  # MADV_COLLAPSE of Linux's mman-common.h
_HUGE_PAGE = 2 * 2**20


async def use_huge_pages_soon() -> None:
    """Call ``use_huge_pages`` in a thread, after the start."""
    await trio.sleep(START_SECONDS)
    await trio.to_thread.run_sync(use_huge_pages)


def use_huge_pages() -> None:
    """Move the memory that the process has so far to pages of 2 MiB, where Linux can do it (6.1 and later).

    Moving 30 MiB takes some 20 ms."""
    with contextlib.suppress(OSError, AttributeError):
        advise = ctypes.CDLL(None).madvise
        advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        for first, end in private_memory(Path("/proc/self/maps").read_text()):
            for page in range(-(-first // _HUGE_PAGE) * _HUGE_PAGE, end - _HUGE_PAGE + 1, _HUGE_PAGE):
                advise(page, _HUGE_PAGE, _COLLAPSE)  # fails where there is nothing to move


def private_memory(maps: str) -> Iterator[tuple[int, int]]:
    """Yield the first address and the end of each writable range of memory without a file, from ``/proc/self/maps``."""
    for line in maps.splitlines():
        addresses, access, _, _, inode, *name = line.split()
        if access == "rw-p" and inode == "0" and name in ([], ["[heap]"]):
            first, _, end = addresses.partition("-")
            yield int(first, 16), int(end, 16)
