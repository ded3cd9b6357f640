"""HTTP/1.1 as a load tester needs it: few steps between the socket and the clock, and every failure with its name.

Not the gateway's HTTP client, for two reasons: each read has to be timed where the socket gives it, and a parser that
is not the gateway's own should judge its framing, which h11 does here. What it leaves out is what an API does not do:
proxies, redirects, HTTP/2, pipelining.
"""

import contextlib
import socket
import ssl
import zlib
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import attrs
import h11
import trio

Fault: TypeAlias = Literal[
    "dns", "refused", "unreachable", "tls", "reset", "closed", "not http", "encoding", "too large", "too many files"
]
"""What can go wrong below the API. ``closed``: the peer closed before the end of the answer."""

READ = 65536
HEAD = 65536  # bytes of a head, and of a line of the chunked coding
SMALL = 4096  # receive buffer of a client that reads slowly: else the kernel would read ahead for it


class WireError(Exception):
    """The exchange cannot go on. ``detail`` is for the report."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault: Fault = fault
        self.detail = detail


@attrs.frozen
class ResponseHead:
    """The first lines of an answer. Names of headers are in lower case; of several with one name the last counts."""

    status: int
    headers: Mapping[str, str]


@attrs.frozen
class ServerAddress:
    """A server's address, looked up once: a load test is not one of name servers."""

    host: str
    port: int
    secure: bool
    addresses: tuple[tuple[int, tuple[object, ...]], ...]

    @classmethod
    async def find(cls, url: str) -> "ServerAddress":
        """Raises ``WireError``."""
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise WireError("dns", f"{host}: {error.strerror or error}") from error
        return cls(host, port, secure, tuple((family, address) for family, _, _, _, address in found))


# h11 is given the answers alone. What it is told of the requests is that they were sent: they go out ready-made.
_SENT = h11.Request(method="POST", target="/", headers=[("host", "server"), ("content-length", "0")])


class TimedConnection:
    """One connection, for one exchange at a time. On trio's clock, ``first`` is when the first byte of the answer
    came, and ``at`` when the last bytes did."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._reader = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD)
        self._begun = b""  # the first bytes of the answer, for what is no HTTP
        self._answered = False  # the head of the answer has come
        self._unpack: Unpacker | None = None
        self.first = self.at = 0.0
        self.reads = 0
        self.received = 0
        self.used = False  # for an exchange that was answered

    @classmethod
    async def open(cls, address: ServerAddress, tls: ssl.SSLContext | None, small: bool = False) -> "TimedConnection":
        """Connect to the first address that lets us. ``small``: with a small receive buffer. Raises ``WireError``."""
        stream = await _connected(address, small)
        if tls is None:
            return cls(stream)
        secured = trio.SSLStream(stream, tls, server_hostname=address.host, https_compatible=True)
        try:
            await _shake_hands(secured, stream)
        except trio.BrokenResourceError as error:
            raise WireError("tls", str(error.__cause__ or error)) from error
        return cls(secured)

    async def send(self, data: bytes) -> None:
        """Send a request. Raises ``WireError`` if the peer is gone."""
        self.reads = self.received = 0
        self.first, self._begun, self._answered = 0.0, b"", False
        if self._reader.our_state is h11.DONE:
            self._reader.start_next_cycle()
        self._reader.send(_SENT)
        self._reader.send(h11.EndOfMessage())
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as error:
            raise WireError("reset", _reason(error)) from error

    async def head(self) -> ResponseHead:
        """Read the head of the answer, passing over interim ones. Raises ``WireError``."""
        while not isinstance(event := self._next(), h11.Response):
            if event is h11.NEED_DATA and not await self._read():
                raise WireError("closed", "in the head of its answer" if self._begun else "before its answer")
            self.first = self.first or self.at
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in event.headers}
        coding = headers.get("content-encoding", "identity").lower()
        self._unpack = None if coding == "identity" else Unpacker(coding)
        self.used = self._answered = True
        return ResponseHead(event.status_code, headers)

    async def body(self) -> bytes | None:
        """The content that one read brought, maybe nothing; ``None`` at its end. Raises ``WireError``."""
        if self._reader.their_state is not h11.SEND_BODY:
            return None
        content = self._content()
        if not content and self._reader.their_state is h11.SEND_BODY:
            await self._read()
            content = self._content()
        return content if self._unpack is None else self._unpack.feed(content)

    def _content(self) -> bytes:
        """The content that has come and was not given yet."""
        found: list[bytes] = []
        while isinstance(event := self._next(), h11.Data):
            found.append(bytes(event.data))
        return found[0] if len(found) == 1 else b"".join(found)

    def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        try:
            return self._reader.next_event()
        except h11.RemoteProtocolError as error:
            raise self._fault(error) from error

    def _fault(self, error: h11.RemoteProtocolError) -> WireError:
        if self._reader.trailing_data[1]:
            return WireError("closed", "in the middle of its answer")
        if error.error_status_hint == 431:
            return WireError("not http", "a line of its answer has no end")
        return WireError("not http", str(error) if self._answered else f"it answered {self._begun!r}")

    @property
    def reusable(self) -> bool:
        """Another request can be sent: the answer was read to its end, and the peer keeps the connection."""
        reader = self._reader
        return reader.our_state is reader.their_state is h11.DONE and not reader.trailing_data[0]

    async def _read(self) -> bytes:
        try:
            data = bytes(await self._stream.receive_some(READ))
        except trio.BrokenResourceError as error:
            raise WireError("reset", _reason(error)) from error
        self.at = trio.current_time()
        self.reads += 1
        self.received += len(data)
        self._begun = self._begun or data.partition(b"\r\n")[0][:40]
        self._reader.receive_data(data)
        return data

    async def aclose(self) -> None:
        """Close at once, without a farewell. Cannot be cancelled."""
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)


class Unpacker:
    """Compression that nobody asked for."""

    def __init__(self, coding: str) -> None:
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise WireError("encoding", f"the answer is compressed with {coding[:20]!r}, which was not asked for")
        self._unpack = zlib.decompressobj(wbits=47 if coding != "deflate" else 15)

    def feed(self, data: bytes) -> bytes:
        try:
            return self._unpack.decompress(data)
        except zlib.error as error:
            raise WireError("encoding", str(error)) from error


async def _shake_hands(secured: trio.SSLStream[trio.SocketStream], stream: trio.SocketStream) -> None:
    try:
        await secured.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _connected(server: ServerAddress, small: bool) -> trio.SocketStream:
    last: OSError | None = None
    for family, address in server.addresses:
        try:
            return await _connected_to(family, address, small)
        except OSError as error:
            last = error
    raise WireError(_fault_of(last), last.strerror or str(last) if last else "no address")


async def _connected_to(family: int, address: tuple[object, ...], small: bool) -> trio.SocketStream:
    sock = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        await sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


def _fault_of(error: OSError | None) -> Fault:
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    return "too many files" if error is not None and error.errno in (23, 24) else "unreachable"


def _reason(error: Exception) -> str:
    cause = error.__cause__
    return (cause.strerror or str(cause)) if isinstance(cause, OSError) else "the connection broke"


def request(server: ServerAddress, path: str, headers: Sequence[tuple[str, str]]) -> bytes:
    """The head of a POST but for the content's length, which ``framed`` adds."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    named = host if server.port == (443 if server.secure else 80) else f"{host}:{server.port}"
    lines = [f"POST {path} HTTP/1.1", f"host: {named}", "accept-encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("latin-1")


def framed(head: bytes, body: bytes) -> bytes:
    """A whole request."""
    return b"%b\r\ncontent-length: %d\r\n\r\n%b" % (head, len(body), body)


class IdleConnections:
    """Connections that wait for the next request; the youngest is taken first."""

    def __init__(self) -> None:
        self._waiting: list[TimedConnection] = []

    def take(self) -> TimedConnection | None:
        return self._waiting.pop() if self._waiting else None

    async def give(self, connection: TimedConnection) -> None:
        """Keep it if it can be used again, else close it."""
        if connection.reusable:
            self._waiting.append(connection)
        else:
            await connection.aclose()

    async def aclose(self) -> None:
        while self._waiting:
            await self._waiting.pop().aclose()


def raise_file_limit() -> None:
    """Let this process have as many connections as the system allows; on Windows there is no such limit."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
