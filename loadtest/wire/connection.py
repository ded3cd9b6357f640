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
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Protocol

import h11
import trio

from loadtest.wire.connecting import ServerAddress, WireError, open_socket
from loadtest.wire.read_loop import ReadSocket, read_loop

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


class AnswerTaker(Protocol):
    """The receiver of an answer.

    The reading task calls it, so it must be fast and must not raise. Times are trio's.
    """

    def take_head(self, status: int, headers: Mapping[str, str], first: float) -> None:
        """Receive the head, whose first byte arrived at ``first``. Names are in lower case."""

    def take_content(self, data: bytes, at: float) -> None:
        """Receive the uncompressed content of one read."""

    def take_end(self, at: float, fault: WireError | None = None) -> None:
        """Receive the end of an answer that is complete by HTTP, or the fault that ended it."""


class ResponseParser:
    """A parser for one answer, which passes its head and content to ``taker``.

    ``begun`` has its first bytes. ``first`` is the arrival of the first byte, after any interim answers (1xx).
    ``is_persistent`` is True if the server keeps the connection open for another request, as far as known.
    """

    def __init__(self, taker: AnswerTaker) -> None:
        self._taker = taker
        self._reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD)
        self._reader.send(_SENT)
        self._reader.send(h11.EndOfMessage())
        self.begun = b""
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
            if data:
                raise WireError("not http", str(error)) from error
            event = h11.ConnectionClosed()
        if isinstance(event, h11.ConnectionClosed):
            where = "in the middle of" if self._has_head else "in the head of" if self.begun else "before"
            raise WireError("closed", f"{where} its answer")
        rest, _ = reader.trailing_data
        if isinstance(event, h11.EndOfMessage):
            self.is_complete = True
            self.is_persistent = self.is_persistent and not rest
        self._between = self._between and not rest
        return b"".join(pieces)

    def _check_begin(self, data: bytes) -> None:
        """Raise ``WireError`` if the answer is surely not HTTP, although h11 would wait for more."""
        self.begun += data[: SHOWN - len(self.begun)]
        is_enough = not data or b"\n" in self.begun or len(self.begun) == SHOWN
        if is_enough and not STATUS_LINE.startswith(self.begun[: len(STATUS_LINE)]):
            raise WireError("not http", f"it sent {self.begun.partition(CRLF)[0]!r}")

    def _take_head(self, event: h11.Response) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        closes = "close" in [word.strip() for word in headers.get("connection", "").lower().split(",")]
        ends = {"transfer-encoding", "content-length"} & headers.keys() or event.status_code in _BODILESS
        self.is_persistent = event.http_version >= b"1.1" and not closes and bool(ends)
        self._has_head = True
        if (coding := headers.get("content-encoding", "identity").lower()) != "identity":
            raise WireError("encoding", f"the response has the unrequested content-encoding {coding[:20]!r}")
        self._taker.take_head(event.status_code, headers, self.first)


class TimedConnection(ReadSocket):
    """One connection, for one exchange at a time."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._taker: AnswerTaker | None = None
        self._parser: ResponseParser | None = None
        self._usable = True  # for another request after the present answer
        self._begun = 0.0  # begin of the last request, on trio's clock
        self._written = 0  # bytes of it
        self.unread = False  # the server had surely closed before it read the last request
        read_loop().add(self)

    async def ask(self, request: bytes, taker: AnswerTaker) -> None:
        """Send a request. ``taker`` receives the answer, possibly before this returns.

        Raises nothing: if the connection is broken, its reader learns it after the remaining data. A cancellation
        closes the connection.
        """
        self._written = 0
        if not self._usable:
            taker.take_end(trio.current_time(), WireError("closed", "before the request"))
            return
        self._taker, self._parser, self._begun = taker, ResponseParser(taker), trio.current_time()
        try:
            await self._send(memoryview(request))
        except trio.Cancelled:  # the rest of the request is missing
            self.close()
            raise
        except (OSError, trio.ClosedResourceError):
            return

    async def _send(self, request: memoryview) -> None:
        """Write the request in pieces. Other tasks run in between."""
        while True:
            try:
                self._written += self.socket.send(request[self._written : self._written + PIECE])
            except (BlockingIOError, ssl.SSLWantWriteError):
                await trio.lowlevel.wait_writable(self.socket)
            if self._written == len(request):
                return
            await trio.lowlevel.checkpoint()

    @property
    def is_reusable(self) -> bool:
        """True if another request can be sent: the last answer is complete, and the server keeps the connection."""
        return self._taker is None and self._usable

    def close(self) -> None:
        """Close immediately. The taker receives nothing more."""
        self._taker, self._parser, self._usable = None, None, False
        if self.socket.fileno() >= 0:
            read_loop().remove(self)
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    # Incoming data

    def take_read(self, found: bytes | OSError, at: float) -> None:
        taker, parser = self._taker, self._parser
        if taker is None or parser is None:  # the server closed the connection, or sent unrequested data
            self.close()
            return
        try:
            if isinstance(found, OSError):
                raise WireError("reset", found.strerror or str(found))
            parser.feed(found, at)
        except WireError as error:
            self._taker, self._usable = None, False
            self.unread = not parser.begun and self._is_unread(error, at)
            taker.take_end(at, error)
            return
        # The taker may have closed the connection.
        if parser.is_complete and self._taker is taker:
            self._taker, self._usable = None, parser.is_persistent and bool(found)
            taker.take_end(at)

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

            waiting = fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, bytes(4))
            return sys.platform == "linux" and int.from_bytes(waiting, sys.byteorder) >= self._written
        return False


@lru_cache(maxsize=1024)
def _chunk_size(line: bytes) -> int:
    """Return the size of a chunk, or -1 if h11 must parse it."""
    return int(line, 16) if re.fullmatch(rb"[0-9A-Fa-f]+", line) else -1


class Connections:
    """All connections of a load to one server. Idle ones are kept, and the newest is used first."""

    def __init__(self, address: ServerAddress) -> None:
        self._address = address
        self._tls = ssl.create_default_context() if address.secure else None
        self._idle: list[TimedConnection] = []

    def take_idle(self) -> TimedConnection | None:
        """Return an idle connection that the server has not closed, as far as known, or ``None``."""
        while self._idle:
            if (connection := self._idle.pop()).is_reusable:
                return connection
        return None

    async def open(self) -> TimedConnection:
        """Open a connection. Raises ``WireError``."""
        return TimedConnection(await open_socket(self._address, self._tls))

    def release(self, connection: TimedConnection) -> None:
        """Keep the connection for a later request, or close it."""
        if connection.is_reusable:
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
