"""HTTP/1.1 for a load tester: little work between the socket and the clock, and a name for every failure.

The gateway's HTTP client does not fit, because each read must be timed at the socket. h11 parses heads and bodies,
except for a read that is exactly one chunk: most reads of a stream are, and h11 takes several times longer for them.
Proxies, redirects and pipelining are not supported.
"""

import re
from functools import lru_cache
from typing import Final

import h11
import trio

from loadtest.wire.address import ServerAddress
from loadtest.wire.answers import (
    AnswerTaker,
    Decompressor,
    Fields,
    OutgoingRequest,
    ResponseHead,
    WireError,
    decompressor_for,
)
from loadtest.wire.transport import TimedTransport

HEAD: Final = 64 * 1024  # bytes of a head
SHOWN: Final = 40  # bytes of a wrong answer to show
STATUS_LINE: Final = b"HTTP/"  # the begin of every answer
INTERIM: Final = 100  # interim answers (1xx) before the answer
RESET_WITHIN: Final = 0.1  # seconds within which a reset means that the server had not read the request
CRLF: Final = b"\r\n"
SIZE: Final = 10  # bytes of a chunk size with its line end, in a read that may be exactly one chunk

# h11 only parses answers. This request makes it expect one; the real requests bypass it.
_SENT: Final = h11.Request(method="POST", target="/", headers=[("host", "server"), ("content-length", "0")])
_BODILESS: Final = frozenset((204, 304))


class TimedConnection:
    """One connection, for one exchange at a time. ``reads`` and ``received`` (bytes) count the last exchange."""

    __slots__ = (
        "_address", "_body", "_head", "_taker", "_transport", "_unpack", "_usable",
        "reads", "received", "unread",
    )  # fmt: skip

    def __init__(self, transport: TimedTransport, address: ServerAddress) -> None:
        self._transport = transport
        self._address = address
        self._taker: AnswerTaker | None = None
        self._head = HeadParser()
        self._body: BodyParser | None = None
        self._unpack: Decompressor | None = None
        self._usable = True  # for another request after the present answer
        self.reads = 0
        self.received = 0
        self.unread = False  # the server had surely closed before it read the last request
        transport.listen(self._receive, self._connection_broke)

    async def ask(self, request: OutgoingRequest, taker: AnswerTaker) -> None:
        """Send a request. ``taker`` receives the answer, possibly before this returns.

        Raises nothing. A cancellation closes the connection.
        """
        self.reads = self.received = 0
        if not self._usable:
            taker.take_fault(WireError("closed", "before the request"), 0.0)
            return
        self._taker, self._body, self._unpack, self._head = taker, None, None, HeadParser()
        head = _request_head(self._address, request.path, request.headers)
        try:
            await self._transport.send((b"%b%d\r\n\r\n" % (head, len(request.body)), request.body))
        except trio.Cancelled:  # the rest of the request is missing
            self.close()
            raise

    @property
    def is_reusable(self) -> bool:
        """True if another request can be sent: the last answer is complete, and the server keeps the connection."""
        return self._taker is None and self._usable

    def close(self) -> None:
        """Close immediately. The taker receives nothing more."""
        self._taker, self._usable = None, False
        self._transport.close()

    # Incoming data

    def _receive(self, data: bytes, at: float) -> None:
        taker, body = self._taker, self._body
        if taker is None:  # the server closed the connection, or sent unrequested data
            self.close()
            return
        self.reads += 1
        self.received += len(data)
        try:
            if body is None:
                self._receive_head(taker, data, at)
            else:
                self._usable = self._usable and bool(data)
                self._receive_body(taker, body, body.feed(data), at)
        except WireError as error:
            self._fail(error, at)

    def _receive_head(self, taker: AnswerTaker, data: bytes, at: float) -> None:
        reader = self._head
        if (found := reader.feed(data, at)) is None:
            return
        head, body = found
        self._usable = reader.is_persistent
        self._body, self._unpack = body, decompressor_for(head)
        taker.take_head(head, reader.first)
        self._receive_body(taker, body, body.read_rest(), at)

    def _receive_body(self, taker: AnswerTaker, body: "BodyParser", content: bytes, at: float) -> None:
        if content:
            taker.take_content(content if self._unpack is None else self._unpack.feed(content), at)
        # The taker may have closed the connection during ``take_content``.
        if body.is_complete and self._taker is taker:
            self._taker = None
            self._usable = self._usable and not body.has_extra_data
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

        In that case its system acknowledged no byte, or reset the connection immediately. A later close is a failure
        of the server.
        """
        return self._transport.is_undelivered or (error.fault == "reset" and at - self._transport.begun <= RESET_WITHIN)


class HeadParser:
    """A parser for the head of an answer.

    ``first`` is the arrival of its first byte, after any interim answers (1xx). ``is_persistent`` is True if the server
    keeps the connection open.
    """

    def __init__(self) -> None:
        self._reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD)
        self._reader.send(_SENT)
        self._reader.send(h11.EndOfMessage())
        self._begun = b""
        self._interim = 0
        self.first = 0.0
        self.is_persistent = False

    def feed(self, data: bytes, at: float) -> "tuple[ResponseHead, BodyParser] | None":
        """Return the head that ``data`` completes, and its body. Raises ``WireError``."""
        reader = self._reader
        if len(self._begun) < SHOWN:
            self._begun += data[:SHOWN]
        self.first = self.first or at
        if not STATUS_LINE.startswith(self._begun[: len(STATUS_LINE)]) and (
            not data or b"\n" in self._begun or len(self._begun) >= SHOWN
        ):
            raise self._not_http_error()
        try:
            reader.receive_data(data)
            while not isinstance(event := reader.next_event(), h11.Response):
                if not isinstance(event, h11.InformationalResponse):
                    break
                self._interim += 1
                if self._interim > INTERIM:
                    raise WireError("not http", f"more than {INTERIM} interim responses (1xx) without a final one")
                self.first = at if reader.trailing_data[0] else 0.0
        except h11.RemoteProtocolError as error:
            raise self._fault(error) from error
        if not isinstance(event, h11.Response):
            if not data:
                raise WireError("closed", "in the head of its answer" if self._begun else "before its answer")
            return None
        return self._head_and_body(event)

    def _head_and_body(self, event: h11.Response) -> "tuple[ResponseHead, BodyParser]":
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        closes = "close" in [word.strip() for word in headers.get("connection", "").lower().split(",")]
        chunked = "transfer-encoding" in headers  # h11 accepts no other coding than "chunked"
        ends = chunked or "content-length" in headers or event.status_code in _BODILESS
        self.is_persistent = event.http_version >= b"1.1" and not closes and ends
        return ResponseHead(event.status_code, headers), BodyParser(self._reader, chunked)

    def _fault(self, error: h11.RemoteProtocolError) -> WireError:
        if self._reader.trailing_data[1]:
            return WireError("closed", "in the head of its answer" if self._begun else "before its answer")
        if error.error_status_hint == 431:
            return WireError("not http", "a line of the response headers is too long")
        return self._not_http_error()

    def _not_http_error(self) -> WireError:
        return WireError("not http", f"it sent {self._begun.partition(CRLF)[0][:SHOWN]!r}")


class BodyParser:
    """A parser for the body of an answer. ``has_extra_data`` means that more data followed."""

    __slots__ = ("_between", "_chunked", "_reader", "has_extra_data", "is_complete")

    def __init__(self, reader: h11.Connection, chunked: bool) -> None:
        self._reader = reader
        self._chunked = chunked
        self._between = False  # between two chunks, with nothing of the next one
        self.is_complete = self.has_extra_data = False

    def feed(self, data: bytes) -> bytes:
        """Return the content in ``data``. Empty ``data`` is the end of the connection. Raises ``WireError``."""
        if self._between:
            line = data.find(CRLF, 0, SIZE)
            if line > 0 and 0 < _chunk_size(data[:line]) == len(data) - line - 4 and data.endswith(CRLF):
                return data[line + 2 : -2]
        try:
            self._reader.receive_data(data)
            return self.read_rest()
        except h11.RemoteProtocolError as error:
            if data:
                raise WireError("not http", str(error)) from error
            raise WireError("closed", "in the middle of its answer") from error

    def read_rest(self) -> bytes:
        """Return the content parsed so far. Raises ``WireError``."""
        pieces: list[bytes] = []
        try:
            while isinstance(event := self._reader.next_event(), h11.Data):
                pieces.append(bytes(event.data))
                self._between = event.chunk_end
        except h11.RemoteProtocolError as error:
            if self._reader.trailing_data[1]:
                raise WireError("closed", "in the middle of its answer") from error
            raise WireError("not http", str(error)) from error
        rest, _ = self._reader.trailing_data
        if isinstance(event, h11.EndOfMessage):
            self.is_complete, self.has_extra_data = True, bool(rest)
        self._between = self._between and self._chunked and not rest
        return b"".join(pieces)


@lru_cache(maxsize=1024)
def _chunk_size(line: bytes) -> int:
    """Return the size of a chunk, or -1 if h11 must parse it."""
    return int(line, 16) if re.fullmatch(rb"[0-9A-Fa-f]+", line) else -1


@lru_cache(maxsize=256)
def _request_head(address: ServerAddress, path: str, headers: Fields) -> bytes:
    """Return the head of a request, up to the value of ``content-length``."""
    lines = [f"POST {path} HTTP/1.1", f"host: {address.authority}", "accept-encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "content-length: "]).encode("latin-1")
