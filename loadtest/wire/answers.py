"""Types of the wire: the request, the receiver of its answer, and the faults."""

import errno
import os
import zlib
from collections.abc import Mapping
from typing import Final, Literal, Protocol, TypeAlias

import attrs

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
"""Faults below the API.

``closed``: the server closed the connection before the end of the answer. ``no port``: all local ports to the server
are in use, or were a minute ago.
"""

_FAULTS: Final[dict[int | None, Fault]] = {
    errno.ECONNREFUSED: "refused",
    errno.EMFILE: "too many files",
    errno.ENFILE: "too many files",
    errno.EADDRNOTAVAIL: "no port",
}
_NO_PORT: Final = "all local ports for this address are in use, or were within the last minute: reuse connections"


class WireError(Exception):
    """A fault that ends the exchange. ``detail`` is for the report."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault: Fault = fault
        self.detail = detail


def connect_error(error: OSError | None) -> WireError:
    """Return the fault of a failed connection attempt. ``None`` means that there was no address to try."""
    if error is None:
        return WireError("unreachable", "no address")
    fault = _FAULTS.get(error.errno, "unreachable")
    return WireError(fault, _NO_PORT if fault == "no port" else _system_message(error))


def _system_message(error: OSError) -> str:
    """Return the system's message without the address that the library puts in front."""
    return os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror or str(error)


UNPACKED: Final = 16 * 2**20  # most bytes from one read of a compressed answer

Fields = tuple[tuple[str, str], ...]


@attrs.frozen
class OutgoingRequest:
    """A request to send. ``path`` includes the query. The connection adds the headers for length, host and encoding."""

    path: str
    headers: Fields
    body: bytes = b""


@attrs.frozen
class ResponseHead:
    """The status and headers of an answer, names in lower case. If a name is repeated, the last header counts."""

    status: int
    headers: Mapping[str, str]


class AnswerTaker(Protocol):
    """The receiver of an answer.

    The reading task calls it, so it must be fast and must not raise. Times are trio's.
    """

    def take_head(self, head: ResponseHead, first: float) -> None:
        """Receive the head, whose first byte arrived at ``first``."""
        ...

    def take_content(self, data: bytes, at: float) -> None:
        """Receive the uncompressed content of one read."""
        ...

    def take_end(self, at: float) -> None:
        """Receive the end of an answer that is complete by HTTP."""
        ...

    def take_fault(self, error: WireError, at: float) -> None:
        """Receive the fault that ended an incomplete answer."""
        ...


class Decompressor:
    """A decoder for compressed answers, which some servers send unrequested."""

    def __init__(self, coding: str) -> None:
        if coding not in _WINDOWS:
            raise WireError("encoding", f"the response has the unsupported content-encoding {coding[:20]!r}")
        self._unpack = zlib.decompressobj(wbits=_WINDOWS[coding])

    def feed(self, data: bytes) -> bytes:
        try:
            found = self._unpack.decompress(data, UNPACKED)
        except zlib.error as error:
            raise WireError("encoding", str(error)) from error
        if self._unpack.unused_data:  # it would be kept in memory
            raise WireError("encoding", "there is data after the end of the compressed body")
        if self._unpack.unconsumed_tail:
            raise WireError("too large", f"one read decompresses to more than {UNPACKED // 2**20} MiB")
        return found


_WINDOWS: Final = {"gzip": 47, "x-gzip": 47, "deflate": 15}


def decompressor_for(head: ResponseHead) -> Decompressor | None:
    """Return a decoder for the answer, or ``None``. Raises ``WireError`` for an unknown coding."""
    coding = head.headers.get("content-encoding", "identity").lower()
    return None if coding == "identity" else Decompressor(coding)
