"""Message framing of HTTP/1.1 answers (RFC 9112, section 6.3): finds where a body ends. Pure: bytes in and out."""

import re
from functools import lru_cache
from typing import Final, Protocol

MAX_CHUNK: Final = 64 * 2**20  # bytes that a chunk may say it has, where nobody says otherwise
MAX_LINE: Final = 16 * 1024  # bytes of a chunk's first line, and of all trailers
SHORT: Final = 32  # bytes of one that is remembered: with extensions a provider could make it megabytes
READ: Final = 64 * 1024  # bytes of one read
LONG_READ: Final = 256 * 1024  # where it is known that so much comes

_EXTENSION: Final = rb"(?:;[\t -~\x80-\xff]*)?"  # no control characters: servers differ in what ends a line
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*" + _EXTENSION)
_SIZE_BEGUN = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*" + _EXTENSION + rb"\r?")


class ChunkTooLarge(ValueError):
    """A chunk says that it has more than ``most`` bytes."""

    def __init__(self, most: int) -> None:
        super().__init__(f"a chunk has more than {most} bytes")
        self.most = most


class BodyFraming(Protocol):
    """Takes what comes from the connection. ``over``: the body is whole; ``extra``: and more has come than that."""

    over: bool
    extra: bool
    step: int  # bytes to read at once

    def feed(self, data: bytes) -> bytes:
        """The part of ``data`` that is body, which may be nothing. Raises ``ValueError`` for what breaks the coding."""
        ...

    def close(self) -> None:
        """The connection has ended, which may be the end of the body."""
        ...


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
        self.step = max(READ, min(left, LONG_READ))  # room for more is memory for nothing

    def close(self) -> None:
        pass


class UntilClosed:
    """A body that ends with its connection. Nothing tells whether it is whole."""

    def __init__(self) -> None:
        self.over = self.extra = False
        self.step = READ

    def feed(self, data: bytes) -> bytes:
        return data

    def close(self) -> None:
        self.over = True


class Chunked:
    """A body in chunks (RFC 9112, section 7.1), of which many may come in one read, and one in many. Linear.

    A chunk that says it has more than ``most`` bytes is refused as soon as it says so. The body itself may be longer:
    chunks are a framing and no messages, and a stream has as many of them as it likes. But a sender has a chunk's bytes
    before it can say how many they are, so that no honest one is larger than all that a whole answer may be.
    """

    __slots__ = ("_held", "_left", "_most", "_trailers", "extra", "over", "step")

    def __init__(self, most: int = MAX_CHUNK) -> None:
        self._most = most
        self._left = 0  # bytes of the open chunk that are still to come, with the line end behind it
        self._held = b""  # of a line that is not whole, or the trailers
        self._trailers = False
        self.over = False
        self.extra = False
        self.step = READ

    def feed(self, data: bytes) -> bytes:
        if not (self._left or self._held or self._trailers):
            line = data.find(b"\r\n", 0, SHORT)
            if line > 0 and 0 < _length(data[:line]) == len(data) - line - 4 and data.endswith(b"\r\n"):
                return data[line + 2 : -2]  # one chunk, no more and no less, as most reads of a stream are
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
                if data[end : end + 2] == b"\r\n":  # all of it has come, as mostly
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
        """Take the part of ``data`` that belongs to the open chunk, from ``at`` on; the place behind it."""
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
        """The first line of a chunk has not come whole, but what has may tell that it is none."""
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
        """``data`` begins with the line end of the last chunk, of size 0. Trailers are dropped."""
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


_length = lru_cache(maxsize=1024)(_long_length)  # a stream's events are mostly of a few sizes
