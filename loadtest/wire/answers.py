"""The request that goes out, who takes its answer, and the faults that end it: alike for every protocol."""

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


UNPACKED: Final = 16 * 2**20  # bytes that one read of a compressed answer may become

Fields = tuple[tuple[str, str], ...]


@attrs.frozen
class OutgoingRequest:
    """A request that is ready to be sent; ``path`` with its query. What says how long the body is, where it goes and
    that the answer is not to be compressed is added to the ``headers``."""

    path: str
    headers: Fields
    body: bytes = b""
    method: str = "POST"


@attrs.frozen
class ResponseHead:
    """The first lines of an answer. Names of headers are in lower case; of several with one name the last counts.
    ``version`` is HTTP's."""

    status: int
    headers: Mapping[str, str]
    version: str


class AnswerTaker(Protocol):
    """Takes an answer as it comes. It is called by the task that reads, so it must not raise nor take long; times are
    trio's."""

    def take_head(self, head: ResponseHead, first: float) -> None:
        """The head has come, its ``first`` byte at that time."""
        ...

    def take_content(self, data: bytes, at: float) -> None:
        """The content that one read brought, uncompressed."""
        ...

    def take_end(self, at: float) -> None:
        """The answer is over, well by HTTP."""
        ...

    def take_fault(self, error: WireError, at: float) -> None:
        """The answer ends here, and is not whole by HTTP."""
        ...


class Unpacker:
    """Compression that nobody asked for."""

    def __init__(self, coding: str) -> None:
        if coding not in _WINDOWS:
            raise WireError("encoding", f"the answer is compressed with {coding[:20]!r}, which was not asked for")
        self._unpack = zlib.decompressobj(wbits=_WINDOWS[coding])

    def feed(self, data: bytes) -> bytes:
        try:
            found = self._unpack.decompress(data, UNPACKED)
        except zlib.error as error:
            raise WireError("encoding", str(error)) from error
        if self._unpack.unused_data:  # which would be kept
            raise WireError("encoding", "something stands behind the end of what is compressed")
        if self._unpack.unconsumed_tail:
            raise WireError("too large", f"one read of it unpacks to more than {UNPACKED // 2**20} MiB")
        return found


_WINDOWS: Final = {"gzip": 47, "x-gzip": 47, "deflate": 15}


def unpacker(head: ResponseHead) -> Unpacker | None:
    """Raises ``WireError`` for a coding that cannot be read."""
    coding = head.headers.get("content-encoding", "identity").lower()
    return None if coding == "identity" else Unpacker(coding)
