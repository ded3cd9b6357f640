"""The message framing of HTTP/1.1 responses (RFC 9112, section 6.3): finds the end of a body, without I/O."""

import re
from functools import lru_cache
from typing import Final, Protocol

from gateway.http.sockets import READ

MAX_CHUNK: Final = 64 * 2**20  # default limit of a chunk's size in bytes
MAX_LINE: Final = 16 * 1024  # bytes of a chunk's first line, and of all trailers
SHORT: Final = 32  # bytes of a size line that is cached; its extensions could have megabytes
LONG_READ: Final = 256 * 1024  # bytes of one read of a known large body

_EXTENSION: Final = rb"(?:;[\t -~\x80-\xff]*)?"  # no control characters: servers disagree on what ends a line
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*" + _EXTENSION)
_SIZE_BEGUN = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*" + _EXTENSION + rb"\r?")


class ChunkTooLarge(ValueError):
    """A chunk's size is more than ``most`` bytes."""

    def __init__(self, most: int) -> None:
        super().__init__(f"a chunk has more than {most} bytes")
        self.most = most


class BodyFraming(Protocol):
    """Separates the body from the connection's bytes. ``over``: the body is complete. ``extra``: more bytes followed
    it."""

    over: bool
    extra: bool
    step: int  # bytes of the next read

    def feed(self, data: bytes) -> bytes:
        """Return the part of ``data`` that belongs to the body, possibly empty. Raises ``ValueError`` for invalid
        framing."""

    def close(self) -> None:
        """Handle the end of the connection, which may be the end of the body."""


class Sized:
    """A body of a known size. ``left`` is the number of bytes that have not arrived."""

    def __init__(self, size: int) -> None:
        self.extra = False
        self._expect(size)

    def feed(self, data: bytes) -> bytes:
        self.extra = len(data) > self.left
        piece = data[: self.left] if self.extra else data
        self._expect(self.left - len(piece))
        return piece

    def _expect(self, left: int) -> None:
        self.left = left
        self.over = not left
        self.step = READ if left <= READ else min(left, LONG_READ)  # more room would waste memory

    def close(self) -> None:
        pass


class UntilClosed:
    """A body that ends with its connection. It cannot be known to be complete."""

    def __init__(self) -> None:
        self.over = self.extra = False
        self.step = READ

    def feed(self, data: bytes) -> bytes:
        return data

    def close(self) -> None:
        self.over = True


class Chunked:
    """A body in chunks (RFC 9112, section 7.1), parsed in linear time.

    A read may contain many chunks, and a chunk may take many reads. A chunk with a size of more than ``most`` bytes is
    rejected immediately. The body may be longer, because a stream has any number of chunks. But a sender has all bytes
    of a chunk before it writes the size, so no valid chunk is larger than the limit of a complete response."""

    __slots__ = ("_held", "_left", "_most", "_trailers", "extra", "over", "step")

    def __init__(self, most: int = MAX_CHUNK) -> None:
        self._most = most
        self._left = 0  # bytes of the open chunk that have not arrived, including its line end
        self._held = b""  # an incomplete line, or the trailers
        self._trailers = False
        self.over = False
        self.extra = False
        self.step = READ

    def feed(self, data: bytes) -> bytes:
        if not (self._left or self._held or self._trailers):
            line = data.find(b"\r\n", 0, SHORT)
            if line > 0 and 0 < _length(data[:line]) == len(data) - line - 4 and data.endswith(b"\r\n"):
                return data[line + 2 : -2]  # exactly one chunk, the usual read of a stream
        if self._held:
            data, self._held = self._held + data, b""
        if self._trailers:
            self._end(data)
            return b""
        pieces: list[bytes] = []
        at, size = 0, len(data)
        while at < size and not self._trailers:
            if self._left:
                at = self._take(data, at, pieces)
            elif (line := data.find(b"\r\n", at)) < 0:
                at = self._hold_line(data, at)
            elif (length := (_length if line - at <= SHORT else _long_length)(data[at:line])) > 0:
                start, end = line + 2, line + 2 + length
                if data[end : end + 2] == b"\r\n":  # usually the chunk is complete
                    pieces.append(data[start:end])
                    at = end + 2
                else:
                    self._check(length)
                    self._left, at = length + 2, start
            else:
                self._end(data[line:])
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        pass

    def _take(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """Add the part of ``data`` from ``at`` on that belongs to the open chunk, and return the position after it."""
        end = at + self._left
        if piece := data[at : max(at, end - 2)]:
            pieces.append(piece)
        if not b"\r\n"[-self._left :].startswith(data[max(at, end - 2) : end]):
            raise ValueError("a chunk is longer than its stated length")
        self._left = max(0, end - len(data))
        return min(end, len(data))

    def _check(self, length: int) -> None:
        if length > self._most:
            raise ChunkTooLarge(self._most)

    def _hold_line(self, data: bytes, at: int) -> int:
        """Keep the start of a chunk's first line, unless it is already invalid."""
        size = _SIZE_BEGUN.fullmatch(data, at)
        if size is None:
            raise ValueError("the length of a chunk is not a number")
        self._check(int(size[1], 16))
        return self._hold(data, at)

    def _hold(self, data: bytes, at: int) -> int:
        self._held = data[at:]
        if len(self._held) > MAX_LINE:
            raise ValueError("a line of the chunked encoding is too long")
        return len(data)

    def _end(self, data: bytes) -> None:
        """Read ``data``, which begins with the line end of the last chunk, of size 0. Trailers are dropped."""
        self._trailers = True
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self._hold(data, 0)
            return
        self.over, self.extra = True, len(data) > end + 4


def _long_length(line: bytes) -> int:
    if len(line) > MAX_LINE:
        raise ValueError("a line of the chunked encoding is too long")
    found = _SIZE.fullmatch(line)
    if found is None:
        raise ValueError("the length of a chunk is not a number")
    return int(found[1], 16)


_length = lru_cache(maxsize=1024)(_long_length)  # a stream's events have few different sizes
