"""The head of an HTTP/1.1 answer, and how its body is framed (RFC 9112, sections 6 and 9.6). Pure.

h11 would check and copy each header three times on the way, which is a tenth of what a small request costs.
"""

import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Final, TypeAlias
from wsgiref.handlers import format_date_time

import attrs

from gateway.http.headers import says_close

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_CLOSE: Final = b"connection: close\r\n"
_OURS: Final = (b"connection", b"transfer-encoding")
_PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}


@attrs.frozen(eq=False, repr=False, slots=False)  # one for each request, and made with fewer calls
class RequestLine:
    """The parts of a request that decide the form of its answer."""

    method: bytes
    version: bytes  # b"1.1"
    closes: bool  # the client wants the connection closed

    @classmethod
    def of(cls, method: bytes, version: bytes, headers: Iterable[tuple[bytes, bytes]]) -> "RequestLine":
        return cls(method, version, version < b"1.1" or says_close(headers))


UNKNOWN: Final = RequestLine(b"", b"1.0", closes=True)
"""A request that could not be read."""


class AnswerWriter:
    """One answer as bytes: ``head``, then what ``frame`` makes of each piece of the body, then ``end``. ``closes``: the
    connection ends with it; so it does behind an answer that falls short of its declared length."""

    __slots__ = ("_bare", "_left", "chunks", "closes", "ended", "head")

    def __init__(self, line: RequestLine, status: int, headers: Headers) -> None:
        """Raises ``ValueError`` for a header that would break the head."""
        length = next((int(value) for name, value in headers if name == b"content-length"), None)
        never = status in (204, 304)  # whatever the headers say
        sized = never or length is not None
        self.chunks = not sized and line.version >= b"1.1"
        self.closes = line.closes or not (sized or self.chunks) or says_close(headers)
        self._bare = never or line.method == b"HEAD"
        self._left = 0 if self._bare else length
        self.ended = False
        lines = [
            b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES.get(status, b"")),
            *[b"%b: %b\r\n" % pair for pair in headers if pair[0] not in _OURS],
            _date(int(time.time())),
        ]
        if self.chunks:
            lines.append(_CHUNKED)
        if self.closes:
            lines.append(_CLOSE)
        lines.append(b"\r\n")
        self.head = b"".join(lines)
        if not self.head.count(b"\r") == self.head.count(b"\n") == len(lines):
            raise ValueError("a response header has a line break")

    def frame(self, data: bytes) -> bytes:
        """A piece of the body as it goes out."""
        if self._bare or not data:
            return b""
        if self.chunks:
            return b"%x\r\n%b\r\n" % (len(data), data)
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return data

    def end(self) -> bytes:
        """The bytes behind the last piece."""
        self.ended = True
        if self._left:  # the client would take the next answer for the rest of this one
            self.closes = True
        return b"0\r\n\r\n" if self.chunks and not self._bare else b""


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return b"date: %b\r\n" % format_date_time(second).encode()
