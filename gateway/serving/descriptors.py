"""The file descriptors of a process, and how many connections of clients they are enough for."""

import resource
import sys
from typing import Final

FILES: Final = 256
"""Descriptors kept for other things: standard streams, the listening sockets, stores and files, health checks."""

ENOUGH: Final = 4096
PER_REQUEST: Final = 4
"""The limit on connections where there are descriptors for more, which there are on most systems: some for each request
that is served at once, and enough where these are few. An idle connection is 10 KB of memory, 30 KB in HTTP/2."""


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
    descriptors = _available()
    wanted = max(ENOUGH, PER_REQUEST * in_flight)
    return max(1, min(wanted, max(descriptors - in_flight - FILES, descriptors // 2)))


def shortage(connections: int, in_flight: int) -> str | None:
    """A sentence where ``connections`` of clients, if they have a limit (0: none), leave too few descriptors for the
    rest."""
    available, wanted = _available(), connections + in_flight + FILES
    if not connections or wanted <= available:
        return None
    return (
        f"limits.connections is {connections}, and with limits.in_flight ({in_flight}) and files that takes {wanted} "
        f"file descriptors, of which there are {available}: raise LimitNOFILE or ulimit -n, or lower limits.connections"
    )


def _available() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
