"""What every way to ask a server has in common: the request that goes out, and who takes its answer."""

import zlib
from collections.abc import Mapping
from typing import Final, Protocol

import attrs

from loadtest.wire.faults import WireError

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
