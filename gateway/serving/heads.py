"""The head and the framing of an HTTP/1.1 response (RFC 9112, sections 6 and 9.6), without I/O. h11 would check and
copy each header three times, a tenth of the cost of a small request."""

import time
from collections.abc import Iterable, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Final, TypeAlias

import attrs

from gateway.http.headers import ends_connection

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]

_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_CLOSE: Final = b"connection: close\r\n"
_OURS: Final = (b"connection", b"transfer-encoding")
_PHRASES: Final = {status.value: status.phrase.encode() for status in HTTPStatus}


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class RequestLine:
    """The parts of a request that determine the form of its response."""

    method: bytes
    version: bytes  # b"1.1"
    closes: bool  # the client wants the connection closed
    names: tuple[str, str] = attrs.field(
        init=False,
        default=attrs.Factory(lambda self: (self.method.decode().upper(), self.version.decode()), takes_self=True),
    )
    """The method and the version as in ASGI."""

    @classmethod
    def of(cls, method: bytes, version: bytes, headers: Iterable[tuple[bytes, bytes]]) -> "RequestLine":
        return cls(method, version, version < b"1.1" or ends_connection(headers))


UNKNOWN: Final = RequestLine(b"", b"1.0", closes=True)
"""A request that could not be read."""


class ResponseWriter:
    """One response as bytes: ``head``, then ``frame`` of each piece of the body, then ``end``. ``closes``: the
    connection ends with it, also after a response that is shorter than its content length."""

    __slots__ = ("_has_no_body", "_left", "chunks", "closes", "ended", "head")

    def __init__(self, line: RequestLine, status: int, headers: Headers) -> None:
        """Prepare the head. Raises ``ValueError`` for an invalid header."""
        fields = dict(headers)
        length = int(fields[b"content-length"]) if b"content-length" in fields else None
        never = status in (204, 304)  # these statuses have no body
        sized = never or length is not None
        self.chunks = not sized and line.version >= b"1.1"
        wants_close = line.closes or (b"connection" in fields and ends_connection(headers))
        self.closes = wants_close or not (sized or self.chunks)
        self._has_no_body = never or line.method == b"HEAD"
        self._left = 0 if self._has_no_body else length
        self.ended = False
        lines = [
            b"HTTP/1.1 %d %b\r\n" % (status, _PHRASES.get(status, b"")),
            *[b"%b: %b\r\n" % pair for pair in headers if pair[0] not in _OURS],
            date_line(int(time.time())),
        ]
        if self.chunks:
            lines.append(_CHUNKED)
        if self.closes:
            lines.append(_CLOSE)
        lines.append(b"\r\n")
        self.head = b"".join(lines)
        if not self.head.count(b"\r") == self.head.count(b"\n") == len(lines):
            raise ValueError("a response header has a line break")

    @property
    def would_seem_whole(self) -> bool:
        """True if the response is unfinished, and the end of the connection would look like its end, as in HTTP/1.0."""
        return not (self.ended or self.chunks or self._left is not None)

    def frame(self, data: bytes) -> bytes:
        """Return the encoded form of a piece of the body."""
        if self._has_no_body or not data:
            return b""
        if self.chunks:
            return b"%x\r\n%b\r\n" % (len(data), data)
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return data

    def end(self) -> bytes:
        """Return the bytes after the last piece."""
        self.ended = True
        if self._left:  # the client would treat the next response as the rest of this one
            self.closes = True
        return b"0\r\n\r\n" if self.chunks and not self._has_no_body else b""


_DAYS: Final = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS: Final = (
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"
)  # fmt: skip


@lru_cache(maxsize=1)
def date_line(second: int) -> bytes:
    """Return the header ``date`` (RFC 9110, section 5.6.7), in no locale."""
    year, month, day, hour, minute, seconds, weekday, _, _ = time.gmtime(second)
    name, month_name = _DAYS[weekday], _MONTHS[month - 1]
    return b"date: %b, %02d %b %04d %02d:%02d:%02d GMT\r\n" % (name, day, month_name, year, hour, minute, seconds)
