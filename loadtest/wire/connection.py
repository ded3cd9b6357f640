"""HTTP/1.1 as a load tester needs it: few steps between the socket and the clock, and every failure with its name.

Not the gateway's HTTP client: each read has to be timed where the socket gives it. Heads are read by h11, which is
nobody's who is measured here; bodies by the framing that the gateway has for them, since h11 takes each event of a
stream through more steps than all the rest together. What is left out is what an API does not do: proxies, redirects,
pipelining.
"""

from functools import lru_cache
from typing import Final

import h11
import trio

from gateway.upstream.framing import BodyFraming, Chunked, Sized, UntilClosed
from loadtest.wire.address import ServerAddress
from loadtest.wire.answers import AnswerTaker, Fields, OutgoingRequest, ResponseHead, Unpacker, unpacker
from loadtest.wire.faults import WireError
from loadtest.wire.transport import TimedTransport

HEAD: Final = 64 * 1024  # bytes of a head
SHOWN: Final = 40  # bytes of what is no HTTP
STATUS_LINE: Final = b"HTTP/"  # begins every answer
INTERIM: Final = 100  # answers (1xx) before the one that was asked for
AT_ONCE: Final = 0.1  # seconds from a request to the system's word that nobody was there
CRLF: Final = b"\r\n"

# h11 is given the heads of answers alone. What it is told of the requests is that they were sent: they go out as they
# are.
_SENT: Final = h11.Request(method="POST", target="/", headers=[("host", "server"), ("content-length", "0")])
_BODILESS: Final = frozenset((204, 304))


class TimedConnection:
    """One connection, for one exchange at a time. ``reads`` and ``received`` (bytes) are of the last exchange."""

    __slots__ = (
        "_address", "_framing", "_head", "_taker", "_transport", "_unpack", "_usable",
        "reads", "received", "unread", "used",
    )  # fmt: skip

    def __init__(self, transport: TimedTransport, address: ServerAddress) -> None:
        self._transport = transport
        self._address = address
        self._taker: AnswerTaker | None = None
        self._head = HeadOfAnswer()
        self._framing: BodyFraming | None = None
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
        self._taker, self._framing, self._unpack, self._head = taker, None, None, HeadOfAnswer()
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
        taker, framing = self._taker, self._framing
        if taker is None:  # the peer closed it, or said what nobody asked for
            self.close()
            return
        self.reads += 1
        self.received += len(data)
        try:
            if framing is None:
                self._take_head(taker, data, at)
            elif data:
                self._take_body(taker, framing, data, at)
            else:
                self._take_close(taker, framing, at)
        except WireError as error:
            self._fail(error, at)

    def _take_head(self, taker: AnswerTaker, data: bytes, at: float) -> None:
        reader = self._head
        if (found := reader.feed(data, at)) is None:
            return
        head, framing, rest = found
        self._usable = reader.lasts
        self._framing, self._unpack = framing, unpacker(head)
        self.used = True
        taker.take_head(head, reader.first)
        if rest or framing.over:
            self._take_body(taker, framing, rest, at)

    def _take_body(self, taker: AnswerTaker, framing: BodyFraming, data: bytes, at: float) -> None:
        try:
            content = framing.feed(data)
        except ValueError as error:
            raise WireError("not http", str(error)) from error
        if content:
            taker.take_content(content if self._unpack is None else self._unpack.feed(content), at)
        if framing.over:
            self._end(taker, framing, at)

    def _take_close(self, taker: AnswerTaker, framing: BodyFraming, at: float) -> None:
        framing.close()
        self._usable = False
        if not framing.over:
            raise WireError("closed", "in the middle of its answer")
        self._end(taker, framing, at)

    def _end(self, taker: AnswerTaker, framing: BodyFraming, at: float) -> None:
        if self._taker is taker:  # which may have closed the connection on what it was given last
            self._taker = None
            self._usable = self._usable and not framing.extra
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

    def feed(self, data: bytes, at: float) -> tuple[ResponseHead, BodyFraming, bytes] | None:
        """The head that ``data`` completes, the framing of the body and what has come of it. Raises ``WireError``."""
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
        return self._found(event, reader.trailing_data[0])

    def _found(self, event: h11.Response, rest: bytes) -> tuple[ResponseHead, BodyFraming, bytes]:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        version = event.http_version.decode("ascii")
        closes = "close" in [word.strip() for word in headers.get("connection", "").lower().split(",")]
        framing = _framing(event.status_code, headers)
        self.lasts = version >= "1.1" and not closes and not isinstance(framing, UntilClosed)
        return ResponseHead(event.status_code, headers, version), framing, bytes(rest)

    def _fault(self, error: h11.RemoteProtocolError) -> WireError:
        if self._reader.trailing_data[1]:
            return WireError("closed", "in the head of its answer" if self._begun else "before its answer")
        if error.error_status_hint == 431:
            return WireError("not http", "a line of its answer has no end")
        return self._no_http()

    def _no_http(self) -> WireError:
        return WireError("not http", f"it answered {self._begun.partition(CRLF)[0][:SHOWN]!r}")


def _framing(status: int, headers: dict[str, str]) -> BodyFraming:
    """RFC 9112, section 6.3."""
    if status in _BODILESS:
        return Sized(0)
    if "transfer-encoding" in headers:  # h11 lets "chunked" alone pass
        return Chunked()
    return Sized(int(headers["content-length"])) if "content-length" in headers else UntilClosed()


@lru_cache(maxsize=256)
def _request_head(address: ServerAddress, method: str, path: str, headers: Fields) -> bytes:
    """The head of a request up to the length of its body."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {address.named}", "accept-encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "content-length: "]).encode("latin-1")
