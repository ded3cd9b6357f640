"""HTTP/1.1 for a load tester: little work between the socket and the clock, and a name for every failure.

The gateway's HTTP client does not fit, because each read must be timed at the socket. h11 parses heads and bodies,
except for a read that is exactly one chunk: most reads of a stream are, and h11 takes several times longer for them.
Proxies, redirects and pipelining are not supported. Large requests are written in pieces, and other tasks run in
between: otherwise their reads would be timed late.
"""

import contextlib
import re
import socket
import ssl
import sys
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

import h11
import trio

from loadtest.wire.answers import AnswerTaker, Fields, OutgoingRequest, ResponseHead, WireError
from loadtest.wire.read_loop import WatchedSocket, read_loop

HEAD: Final = 64 * 1024  # bytes of a head
PIECE: Final = 64 * 1024  # bytes to write before other tasks run
SHOWN: Final = 40  # bytes of a wrong answer to show
STATUS_LINE: Final = b"HTTP/"  # the begin of every answer
INTERIM: Final = 100  # interim answers (1xx) before the answer
UNREAD_WITHIN: Final = 0.1  # seconds within which a reset means that the server had not read the request
CRLF: Final = b"\r\n"
SIZE: Final = 10  # bytes of a chunk size with its line end, in a read that may be exactly one chunk

# h11 only parses answers. This request makes it expect one; the real requests bypass it.
_SENT: Final = h11.Request(method="POST", target="/", headers=[("host", "server"), ("content-length", "0")])
_BODILESS: Final = frozenset((204, 304))


class ResponseParser:
    """A parser for one answer, which passes its head and content to ``taker``.

    ``first`` is the arrival of its first byte, after any interim answers (1xx). ``is_persistent`` is True if the server
    keeps the connection open for another request, as far as known.
    """

    def __init__(self, taker: AnswerTaker) -> None:
        self._taker = taker
        self._reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD)
        self._reader.send(_SENT)
        self._reader.send(h11.EndOfMessage())
        self._begun = b""
        self._interim = 0
        self._has_head = False
        self._between = False  # between two chunks, with nothing of the next one
        self.first = 0.0
        self.is_complete = self.is_persistent = False

    def feed(self, data: bytes, at: float) -> None:
        """Parse one read. Empty ``data`` is the end of the connection. Raises ``WireError``."""
        line = data.find(CRLF, 0, SIZE) if self._between else 0
        if line > 0 and 0 < _chunk_size(data[:line]) == len(data) - line - 4 and data.endswith(CRLF):
            content = data[line + 2 : -2]
        else:
            content = self._parse(data, at)
        if content:
            self._taker.take_content(content, at)

    def _parse(self, data: bytes, at: float) -> bytes:
        """Return the content in ``data``, by h11."""
        if not self._has_head:
            self.first = self.first or at
            self._check_begin(data)
        pieces: list[bytes] = []
        reader = self._reader
        try:
            reader.receive_data(data)
            while True:
                match reader.next_event():
                    case h11.Data() as event:
                        pieces.append(bytes(event.data))
                        self._between = event.chunk_end
                    case h11.Response() as event:
                        self._take_head(event)
                    case h11.InformationalResponse():
                        self._interim += 1
                        if self._interim > INTERIM:
                            raise WireError("not http", f"more than {INTERIM} interim responses (1xx)")
                        self.first = at if reader.trailing_data[0] else 0.0
                    case event:
                        break
        except h11.RemoteProtocolError as error:
            raise self._fault(error) from error
        if not (data or self._has_head):
            raise self._fault()
        rest, _ = reader.trailing_data
        if isinstance(event, h11.EndOfMessage):
            self.is_complete = True
            self.is_persistent = self.is_persistent and not rest
        self._between = self._between and not rest
        return b"".join(pieces)

    def _check_begin(self, data: bytes) -> None:
        """Raise ``WireError`` if the answer is surely not HTTP, although h11 would wait for more."""
        if len(self._begun) < SHOWN:
            self._begun += data[:SHOWN]
        if not STATUS_LINE.startswith(self._begun[: len(STATUS_LINE)]) and (
            not data or b"\n" in self._begun or len(self._begun) >= SHOWN
        ):
            raise self._not_http_error()

    def _take_head(self, event: h11.Response) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        closes = "close" in [word.strip() for word in headers.get("connection", "").lower().split(",")]
        ends = {"transfer-encoding", "content-length"} & headers.keys() or event.status_code in _BODILESS
        self.is_persistent = event.http_version >= b"1.1" and not closes and bool(ends)
        self._has_head = True
        if (coding := headers.get("content-encoding", "identity").lower()) != "identity":
            raise WireError("encoding", f"the response has the unrequested content-encoding {coding[:20]!r}")
        self._taker.take_head(ResponseHead(event.status_code, headers), self.first)

    def _fault(self, error: h11.RemoteProtocolError | None = None) -> WireError:
        if error is None or self._reader.trailing_data[1]:
            begun = "in the head of its answer" if self._begun else "before its answer"
            return WireError("closed", "in the middle of its answer" if self._has_head else begun)
        if self._has_head:
            return WireError("not http", str(error))
        if error.error_status_hint == 431:
            return WireError("not http", "a line of the response headers is too long")
        return self._not_http_error()

    def _not_http_error(self) -> WireError:
        return WireError("not http", f"it sent {self._begun.partition(CRLF)[0][:SHOWN]!r}")


class TimedConnection:
    """One connection, for one exchange at a time. ``reads`` and ``received`` (bytes) count the last exchange."""

    def __init__(self, sock: socket.socket, authority: str) -> None:
        self._socket = sock
        self._authority = authority
        self._taker: AnswerTaker | None = None
        self._parser: ResponseParser | None = None
        self._usable = True  # for another request after the present answer
        self._begun = 0.0  # begin of the last request, on trio's clock
        self._written = 0  # bytes of it
        self.reads = self.received = 0
        self.unread = False  # the server had surely closed before it read the last request
        self._watched: WatchedSocket | None = WatchedSocket(sock, self._receive, self._connection_broke)
        read_loop().add(self._watched)

    async def ask(self, request: OutgoingRequest, taker: AnswerTaker) -> None:
        """Send a request. ``taker`` receives the answer, possibly before this returns.

        Raises nothing: if the connection is broken, its reader learns it after the remaining data. A cancellation
        closes the connection.
        """
        self.reads = self.received = 0
        if not self._usable:
            taker.take_fault(WireError("closed", "before the request"), trio.current_time())
            return
        self._taker, self._parser, self._begun = taker, ResponseParser(taker), trio.current_time()
        self._written = 0
        head = _request_head(self._authority, request.path, request.headers)
        try:
            await self._send(b"%b%d\r\n\r\n" % (head, len(request.body)), request.body)
        except trio.Cancelled:  # the rest of the request is missing
            self.close()
            raise
        except (OSError, trio.ClosedResourceError):
            return

    async def _send(self, head: bytes, body: bytes) -> None:
        pieces = _split_pieces(head, body)
        for number, piece in enumerate(pieces):
            if number:
                await trio.lowlevel.checkpoint()
            rest = memoryview(piece)
            while rest:
                try:
                    taken = self._socket.send(rest)
                    self._written, rest = self._written + taken, rest[taken:]
                except (BlockingIOError, ssl.SSLWantWriteError):
                    await trio.lowlevel.wait_writable(self._socket)

    @property
    def is_reusable(self) -> bool:
        """True if another request can be sent: the last answer is complete, and the server keeps the connection."""
        return self._taker is None and self._usable

    def close(self) -> None:
        """Close immediately. The taker receives nothing more."""
        self._taker, self._parser, self._usable = None, None, False
        if self._watched is not None:
            read_loop().remove(self._watched)
            self._watched = None  # breaks a reference cycle, so that no garbage collection is needed
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    # Incoming data

    def _receive(self, data: bytes, at: float) -> None:
        taker, parser = self._taker, self._parser
        if taker is None or parser is None:  # the server closed the connection, or sent unrequested data
            self.close()
            return
        self.reads += 1
        self.received += len(data)
        try:
            parser.feed(data, at)
        except WireError as error:
            self._fail(error, at)
            return
        # The taker may have closed the connection.
        if parser.is_complete and self._taker is taker:
            self._taker, self._usable = None, parser.is_persistent and bool(data)
            taker.take_end(at)

    def _connection_broke(self, error: OSError, at: float) -> None:
        if self._taker is None:
            self.close()
        else:
            self._fail(WireError("reset", error.strerror or str(error)), at)

    def _fail(self, error: WireError, at: float) -> None:
        taker, self._taker, self._usable = self._taker, None, False
        self.unread = not self.received and self._is_unread(error, at)
        if taker is not None:
            taker.take_fault(error, at)

    def _is_unread(self, error: WireError, at: float) -> bool:
        """Return whether the server surely did not read the request, because it had closed the connection before.

        In that case its system reset the connection immediately, or acknowledged no byte, which only Linux reports. A
        later close is a failure of the server.
        """
        if error.fault == "reset" and at - self._begun <= UNREAD_WITHIN:
            return True
        with contextlib.suppress(ImportError, OSError, ValueError, AttributeError):
            import fcntl
            import termios

            waiting = fcntl.ioctl(self._socket.fileno(), termios.TIOCOUTQ, bytes(4))
            return sys.platform == "linux" and int.from_bytes(waiting, sys.byteorder) >= self._written
        return False


def _split_pieces(head: bytes, body: bytes) -> Iterator[bytes | memoryview]:
    """Yield a small request in one piece, and a large one in several without a copy."""
    if len(body) <= PIECE:
        yield head + body
        return
    yield head
    view = memoryview(body)
    yield from (view[start : start + PIECE] for start in range(0, len(view), PIECE))


@lru_cache(maxsize=1024)
def _chunk_size(line: bytes) -> int:
    """Return the size of a chunk, or -1 if h11 must parse it."""
    return int(line, 16) if re.fullmatch(rb"[0-9A-Fa-f]+", line) else -1


@lru_cache(maxsize=256)
def _request_head(authority: str, path: str, headers: Fields) -> bytes:
    """Return the head of a request, up to the value of ``content-length``."""
    lines = [f"POST {path} HTTP/1.1", f"host: {authority}", "accept-encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "content-length: "]).encode("latin-1")
