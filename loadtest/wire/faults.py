"""The faults below the API: what can keep a request from being sent, or its answer from being read."""

import errno
import os
from typing import Final, Literal, TypeAlias

Fault: TypeAlias = Literal[
    "dns",
    "refused",
    "unreachable",
    "no port",
    "tls",
    "reset",
    "closed",
    "not http",
    "encoding",
    "too large",
    "too many files",
]
"""What can go wrong below the API. ``closed``: the peer closed before the end of the answer. ``no port``: all local
ports towards the server are in use, or were until a minute ago."""

_FAULTS: Final[dict[int | None, Fault]] = {
    errno.ECONNREFUSED: "refused",
    errno.EMFILE: "too many files",
    errno.ENFILE: "too many files",
    errno.EADDRNOTAVAIL: "no port",
}
_NO_PORT: Final = "every local port towards this address is in use, or was a minute ago: let connections be reused"


class WireError(Exception):
    """The exchange cannot go on. ``detail`` is for the report."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault: Fault = fault
        self.detail = detail


def connect_error(error: OSError | None) -> WireError:
    """The fault by which a connection did not come about; ``None`` where there was no address to try."""
    if error is None:
        return WireError("unreachable", "no address")
    fault = _FAULTS.get(error.errno, "unreachable")
    return WireError(fault, _NO_PORT if fault == "no port" else _said_of(error))


def _said_of(error: OSError) -> str:
    """The system's words for it, without the address that the library puts in front."""
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror or str(error)
