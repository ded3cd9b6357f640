"""The file descriptors of a process, and how many connections of clients they are enough for."""

import resource
from typing import Final

FILES: Final = 256
"""Descriptors kept for other things: standard streams, the listening sockets, stores and files, health checks."""

MOST: Final = 4096
"""The limit on connections where there are descriptors for more, which there are on most systems: an idle connection is
10 KB of memory, 30 KB in HTTP/2, and only as many requests as ``limits.in_flight`` says are served at once."""


def raise_limit() -> None:
    """Allow this process, and those that it starts, as many descriptors as it may have without privileges. Many systems
    give 1024, for the sake of programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS says that there is no limit, and has one
            return


def default_connections(in_flight: int) -> int:
    """How many connections of clients there may be where nobody has said: as many as there are descriptors for, besides
    one towards a provider for each of ``in_flight`` requests; half of them where they are few."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = MOST * 4 if soft == resource.RLIM_INFINITY else soft
    return max(1, min(MOST, max(descriptors - in_flight - FILES, descriptors // 2)))
