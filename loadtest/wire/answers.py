"""Types of the wire: the request, the receiver of its answer, and the faults."""

import zlib
from collections.abc import Mapping
from typing import Final, Literal, Protocol, TypeAlias

import attrs

Fault: TypeAlias = Literal[
    "dns", "refused", "unreachable", "no port", "tls", "reset", "closed", "not http", "encoding", "too large",
    "too many files",
]  # fmt: skip
"""Faults below the API.

``closed``: the server closed the connection before the end of the answer. ``no port``: all local ports to the server
are in use, or were a minute ago.
"""

UNPACKED: Final = 16 * 2**20  # most bytes from one read of a compressed answer

Fields = tuple[tuple[str, str], ...]


class WireError(Exception):
    """A fault that ends the exchange. ``detail`` is for the report."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault: Fault = fault
        self.detail = detail


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


class Gunzip:
    """A decoder for gzip, which some servers send unrequested."""

    def __init__(self) -> None:
        self._unpack = zlib.decompressobj(wbits=31)

    def feed(self, data: bytes) -> bytes:
        """Return the content of a read. Raises ``WireError``."""
        try:
            found = self._unpack.decompress(data, UNPACKED)
        except zlib.error as error:
            raise WireError("encoding", str(error)) from error
        if self._unpack.unused_data:  # it would be kept in memory
            raise WireError("encoding", "there is data after the end of the compressed body")
        if self._unpack.unconsumed_tail:
            raise WireError("too large", f"one read decompresses to more than {UNPACKED // 2**20} MiB")
        return found
