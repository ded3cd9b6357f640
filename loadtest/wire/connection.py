"""HTTP/1.1 as a load tester needs it: few steps between the socket and the clock, and every failure with its name.

Not the gateway's HTTP client: each read has to be timed where the socket gives it. h11 judges the heads and the framing
of the bodies: no server that is measured here has made it. Only a read that is exactly one chunk is cut here, because
most reads of a stream are, and h11 takes each through more steps than all the rest together. What is left out is what
an API does not do: proxies, redirects, pipelining.
"""

import re
from functools import lru_cache
from typing import Final

import h11
import trio

from loadtest.wire.address import ServerAddress
from loadtest.wire.answers import AnswerTaker, Fields, OutgoingRequest, ResponseHead, Unpacker, WireError, unpacker
from loadtest.wire.transport import TimedTransport

HEAD: Final = 64 * 1024  # bytes of a head
SHOWN: Final = 40  # bytes of what is no HTTP
STATUS_LINE: Final = b"HTTP/"  # begins every answer
INTERIM: Final = 100  # answers (1xx) before the one that was asked for
AT_ONCE: Final = 0.1  # seconds from a request to the system's word that nobody was there
CRLF: Final = b"\r\n"
SIZE: Final = 10  # bytes of a chunk's size with its line end, where a read may be exactly that chunk

# h11 is given the heads of answers alone. What it is told of the requests is that they were sent: they go out as they
# are.
_SENT: Final = h11.Request(method="POST", target="/", headers=[("host", "server"), ("content-length", "0")])
_BODILESS: Final = frozenset((204, 304))


class TimedConnection:
    """One connection, for one exchange at a time. ``reads`` and ``received`` (bytes) are of the last exchange."""

    __slots__ = (
        "_address", "_body", "_head", "_taker", "_transport", "_unpack", "_usable",
        "reads", "received", "unread", "used",
    )  # fmt: skip

    def __init__(self, transport: TimedTransport, address: ServerAddress) -> None:
        self._transport = transport
        self._address = address
        self._taker: AnswerTaker | None = None
        self._head = HeadOfAnswer()
        self._body: BodyOfAnswer | None = None
        self._unpack: Unpacker | None = None
        self._usable = True  # for another request, once this one is answered
        self.reads = 0
        self.received = 0
        self.used = False  # for an exchange that was answered
        self.unread = False  # the last request surely never was: the server had closed the connection before
        transport.listen(self._take, self._broke)

    async def ask(self, request: OutgoingRequest, taker: AnswerTaker) -> None:
        """Send a request, whose answer ``taker`` gets; it may have begun to come when this returns. Raises nothing;
        a connection on which it was cancelled is closed."""
        self.reads = self.received = 0
        if not self._usable:
            taker.take_fault(WireError("closed", "before the request"), 0.0)
            return
        self._taker, self._body, self._unpack, self._head = taker, None, None, HeadOfAnswer()
        head = _request_head(self._address, request.method, request.path, request.headers)
        try:
            await self._transport.send((b"%b%d\r\n\r\n" % (head, len(request.body)), request.body))
        except trio.Cancelled:  # the rest of it is missing
            self.close()
            raise

    @property
    def reusable(self) -> bool:
        """Another request can be sent: the last one was answered to its end, and the peer keeps the connection."""
        return self._taker is None and self._usable

    @property
    def paced(self) -> bool:
        """It is read slowly."""
        return self._transport.paced

    def resume(self) -> None:
        """Read on, where it is read slowly."""
        self._transport.resume()

    def close(self) -> None:
        """Close at once, without a farewell. Its taker is told nothing more."""
        self._taker, self._usable = None, False
        self._transport.close()

    # What comes

    def _take(self, data: bytes, at: float) -> None:
        taker, body = self._taker, self._body
        if taker is None:  # the peer closed it, or said what nobody asked for
            self.close()
            return
        self.reads += 1
        self.received += len(data)
        try:
            if body is None:
                self._take_head(taker, data, at)
            else:
                self._usable = self._usable and bool(data)
                self._take_body(taker, body, body.feed(data), at)
        except WireError as error:
            self._fail(error, at)

    def _take_head(self, taker: AnswerTaker, data: bytes, at: float) -> None:
        reader = self._head
        if (found := reader.feed(data, at)) is None:
            return
        head, body = found
        self._usable = reader.lasts
        self._body, self._unpack = body, unpacker(head)
        self.used = True
        taker.take_head(head, reader.first)
        self._take_body(taker, body, body.rest(), at)

    def _take_body(self, taker: AnswerTaker, body: "BodyOfAnswer", content: bytes, at: float) -> None:
        if content:
            taker.take_content(content if self._unpack is None else self._unpack.feed(content), at)
        if body.over and self._taker is taker:  # which may have closed the connection on what it was given last
            self._taker = None
            self._usable = self._usable and not body.extra
            taker.take_end(at)

    def _broke(self, error: OSError, at: float) -> None:
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
        """Whether the server had closed before the request could reach it, or as it did: then its system did not get a
        byte, or says at once that nobody read what it got. Who closes after having read is a server that failed."""
        return self._transport.undelivered or (error.fault == "reset" and at - self._transport.begun <= AT_ONCE)


class HeadOfAnswer:
    """Takes what comes until the head of the answer is whole. ``first`` is when the first byte of it came: an interim
    answer (1xx) before it is not what was asked for. ``lasts``: the peer leaves the connection open."""

    def __init__(self) -> None:
        self._reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD)
        self._reader.send(_SENT)
        self._reader.send(h11.EndOfMessage())
        self._begun = b""
        self._interim = 0
        self.first = 0.0
        self.lasts = False

    def feed(self, data: bytes, at: float) -> "tuple[ResponseHead, BodyOfAnswer] | None":
        """The head that ``data`` completes, and the body behind it. Raises ``WireError``."""
        reader = self._reader
        if len(self._begun) < SHOWN:
            self._begun += data[:SHOWN]
        self.first = self.first or at
        if not STATUS_LINE.startswith(self._begun[: len(STATUS_LINE)]) and (
            not data or b"\n" in self._begun or len(self._begun) >= SHOWN
        ):
            raise self._no_http()
        try:
            reader.receive_data(data)
            while not isinstance(event := reader.next_event(), h11.Response):
                if not isinstance(event, h11.InformationalResponse):
                    break
                self._interim += 1
                if self._interim > INTERIM:
                    raise WireError("not http", f"more than {INTERIM} interim answers (1xx), and none behind them")
                self.first = at if reader.trailing_data[0] else 0.0
        except h11.RemoteProtocolError as error:
            raise self._fault(error) from error
        if not isinstance(event, h11.Response):
            if not data:
                raise WireError("closed", "in the head of its answer" if self._begun else "before its answer")
            return None
        return self._found(event)

    def _found(self, event: h11.Response) -> "tuple[ResponseHead, BodyOfAnswer]":
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        version = event.http_version.decode("ascii")
        closes = "close" in [word.strip() for word in headers.get("connection", "").lower().split(",")]
        chunked = "transfer-encoding" in headers  # h11 lets "chunked" alone pass
        ends = chunked or "content-length" in headers or event.status_code in _BODILESS
        self.lasts = version >= "1.1" and not closes and ends
        return ResponseHead(event.status_code, headers, version), BodyOfAnswer(self._reader, chunked)

    def _fault(self, error: h11.RemoteProtocolError) -> WireError:
        if self._reader.trailing_data[1]:
            return WireError("closed", "in the head of its answer" if self._begun else "before its answer")
        if error.error_status_hint == 431:
            return WireError("not http", "a line of its answer has no end")
        return self._no_http()

    def _no_http(self) -> WireError:
        return WireError("not http", f"it answered {self._begun.partition(CRLF)[0][:SHOWN]!r}")


class BodyOfAnswer:
    """The body of an answer, as h11 reads it. ``over``: it is whole; ``extra``: the peer has sent more than that."""

    __slots__ = ("_between", "_chunked", "_reader", "extra", "over")

    def __init__(self, reader: h11.Connection, chunked: bool) -> None:
        self._reader = reader
        self._chunked = chunked
        self._between = False  # two chunks, with nothing of the next one
        self.over = self.extra = False

    def feed(self, data: bytes) -> bytes:
        """Return the part of ``data`` that is body; no ``data`` is the end of the connection. Raises ``WireError``."""
        if self._between:
            line = data.find(CRLF, 0, SIZE)
            if line > 0 and 0 < _size_of(data[:line]) == len(data) - line - 4 and data.endswith(CRLF):
                return data[line + 2 : -2]
        try:
            self._reader.receive_data(data)
            return self.rest()
        except h11.RemoteProtocolError as error:
            if data:
                raise WireError("not http", str(error)) from error
            raise WireError("closed", "in the middle of its answer") from error

    def rest(self) -> bytes:
        """Return what has come of the body so far. Raises ``WireError``."""
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
            self.over, self.extra = True, bool(rest)
        self._between = self._between and self._chunked and not rest
        return b"".join(pieces)


@lru_cache(maxsize=1024)
def _size_of(line: bytes) -> int:
    """Return the size of a chunk; -1 for what h11 has to judge."""
    return int(line, 16) if re.fullmatch(rb"[0-9A-Fa-f]+", line) else -1


@lru_cache(maxsize=256)
def _request_head(address: ServerAddress, method: str, path: str, headers: Fields) -> bytes:
    """The head of a request up to the length of its body."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {address.named}", "accept-encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "content-length: "]).encode("latin-1")
