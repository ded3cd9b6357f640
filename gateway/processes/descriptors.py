"""The file descriptors of a process, which limit its connections."""

import resource
import sys
from typing import Final

FILES: Final = 256
"""Descriptors for everything else: standard streams, the listening sockets, stores and files, health checks."""

ENOUGH: Final = 4096
PER_REQUEST: Final = 4
"""The default limit on connections, in all and per concurrent request: the larger one counts if there are
enough descriptors, as on most systems. An idle connection takes 15 KB of memory, 35 KB with HTTP/2."""


def raise_descriptor_limit() -> None:
    """Raise the limit on descriptors of this process and its children as far as possible without privileges. The
    default of many systems is 1024, for programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS reports no limit, but has one
            return


def default_connections(in_flight: int) -> int:
    """Return the default limit on connections of clients: as many as there are descriptors for, less one for the
    provider of each of ``in_flight`` requests; half of the descriptors where these are few."""
    descriptors = _available_descriptors()
    wanted = max(ENOUGH, PER_REQUEST * in_flight)
    return max(1, min(wanted, max(descriptors - in_flight - FILES, descriptors // 2)))


def descriptor_warning(connections: int, in_flight: int) -> str | None:
    """Return a warning if the limit ``connections`` leaves too few file descriptors; 0 means no limit."""
    available, wanted = _available_descriptors(), connections + in_flight + FILES
    if not connections or wanted <= available:
        return None
    return (
        f"limits.connections ({connections}), limits.in_flight ({in_flight}) and files need {wanted} file "
        f"descriptors, but only {available} are available: raise LimitNOFILE or ulimit -n, or lower "
        "limits.connections"
    )


def _available_descriptors() -> int:
    """Return the limit on descriptors of this process."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft
