"""HTTP/1.1 as a load tester needs it: few steps between the socket and the clock, and every failure with its name.

Not the gateway's HTTP client, for three reasons: each read has to be timed where the socket gives it, a parser that is
not the server's own should judge the server's framing, and reading an event costs a fraction here. What it leaves out
is what an API does not do: proxies, redirects, HTTP/2, pipelining.
"""

import contextlib
import re
import socket
import ssl
import zlib
from collections.abc import Sequence
from typing import Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

import attrs
import trio

Fault: TypeAlias = Literal[
    "dns", "refused", "unreachable", "tls", "reset", "closed", "not http", "encoding", "too large", "too many files"
]
"""What can go wrong below the API. ``closed``: the peer closed before the end of the answer."""

READ = 65536
HEAD = 65536
SMALL = 4096  # receive buffer of a client that reads slowly: else the kernel would read ahead for it

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |$)")


class Broken(Exception):
    """The exchange cannot go on. ``detail`` is for the report."""

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault: Fault = fault
        self.detail = detail


class Framing(Protocol):
    """Takes the bytes of a body as they come and gives what of them is content."""

    ended: bool

    def feed(self, data: bytes) -> bytes:
        """Raises ``Broken``."""
        ...


class Sized:
    """RFC 9112 section 6.2: so many bytes."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.ended = size == 0

    def feed(self, data: bytes) -> bytes:
        self._left -= len(data)
        self.ended = self._left <= 0
        return data if self._left >= 0 else data[: self._left]


class UntilClosed:
    """RFC 9112 section 6.3: as many bytes as come."""

    ended = False

    def feed(self, data: bytes) -> bytes:
        return data


class Chunked:
    """RFC 9112 section 7.1. Extensions and trailers are passed over."""

    def __init__(self) -> None:
        self._held = b""
        self._left = 0  # of the chunk, with the line end behind it
        self._last = False
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        data, self._held = self._held + data, b""
        found: list[bytes] = []
        at = 0
        while at < len(data) and not self.ended:
            if self._left:
                at = self._content(data, at, found)
                continue
            line_end = data.find(b"\r\n", at)
            if line_end < 0:
                self._held = data[at:]
                if len(self._held) > HEAD:
                    raise Broken("not http", "a chunk's size has no end")
                break
            self._line(data[at:line_end])
            at = line_end + 2
        return found[0] if len(found) == 1 else b"".join(found)

    def _content(self, data: bytes, at: int, found: list[bytes]) -> int:
        piece = data[at : at + self._left]
        here = min(len(piece), max(0, self._left - 2))
        if here:
            found.append(piece[:here])
        ending = b"\r\n"[2 - (self._left - here) :] if self._left - here <= 2 else b""
        if not ending.startswith(piece[here:]):
            raise Broken("not http", "a chunk is longer than its size says")
        self._left -= len(piece)
        return at + len(piece)

    def _line(self, line: bytes) -> None:
        if self._last:
            self.ended = not line  # else a trailer
            return
        size = line.partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", size):
            raise Broken("not http", f"{size[:40]!r} where the size of a chunk should be")
        self._last = int(size, 16) == 0
        self._left = 0 if self._last else int(size, 16) + 2


@attrs.frozen
class Head:
    """The first lines of an answer. Names of headers are in lower case; of several with one name the last counts."""

    status: int
    headers: dict[str, str]

    @classmethod
    def of(cls, data: bytes) -> "Head":
        first, *lines = data.split(b"\r\n")
        status = _STATUS.match(first)
        if status is None:
            raise Broken("not http", f"it answered {first[:40]!r}")
        pairs = (line.decode("latin-1").partition(":") for line in lines if line)
        return cls(int(status[1]), {name.strip().lower(): value.strip() for name, _, value in pairs})

    def framing(self) -> Framing:
        if "chunked" in self.headers.get("transfer-encoding", "").lower():
            return Chunked()
        if self.status in (204, 304):
            return Sized(0)
        size = self.headers.get("content-length")
        if size is None:
            return UntilClosed()
        if not re.fullmatch(r"\d{1,15}", size):
            raise Broken("not http", f"content-length is {size[:40]!r}")
        return Sized(int(size))


@attrs.frozen
class Place:
    """A server's address, looked up once: a load test is not one of name servers."""

    host: str
    port: int
    secure: bool
    addresses: tuple[tuple[int, tuple[object, ...]], ...]

    @classmethod
    async def find(cls, url: str) -> "Place":
        """Raises ``Broken``."""
        parts = urlsplit(url)
        host, secure = parts.hostname or "", parts.scheme == "https"
        port = parts.port or (443 if secure else 80)
        try:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Broken("dns", f"{host}: {error.strerror or error}") from error
        return cls(host, port, secure, tuple((family, address) for family, _, _, _, address in found))


class Connection:
    """One connection, for one exchange at a time. On trio's clock, ``first`` is when the first byte of the answer
    came, and ``at`` when the last bytes did."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._rest = b""
        self._framing: Framing = Sized(0)
        self._unpack: Unpacker | None = None
        self._keeps = True
        self.first = self.at = 0.0
        self.reads = 0
        self.received = 0
        self.used = False  # for an exchange that was answered

    @classmethod
    async def open(cls, place: Place, tls: ssl.SSLContext | None, small: bool = False) -> "Connection":
        """Connect to the first address that lets us. ``small``: with a small receive buffer. Raises ``Broken``."""
        stream = await _connected(place, small)
        if tls is None:
            return cls(stream)
        secured = trio.SSLStream(stream, tls, server_hostname=place.host, https_compatible=True)
        try:
            await _shake_hands(secured, stream)
        except trio.BrokenResourceError as error:
            raise Broken("tls", str(error.__cause__ or error)) from error
        return cls(secured)

    async def send(self, data: bytes) -> None:
        """Send a request. Raises ``Broken`` if the peer is gone."""
        self.reads = self.received = 0
        self.first = 0.0
        self._framing = UntilClosed()  # no end is known before the head
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as error:
            raise Broken("reset", _reason(error)) from error

    async def head(self) -> Head:
        """Read the head of the answer, passing over interim ones. Raises ``Broken``."""
        while True:
            while (end := self._rest.find(b"\r\n\r\n")) < 0:
                if len(self._rest) > HEAD:
                    raise Broken("not http", "the head of its answer has no end")
                data = await self._read()
                if not data:
                    raise Broken("closed", "before its answer" if not self._rest else "in the head of its answer")
                self.first = self.first or self.at
                self._rest += data
            head, self._rest = Head.of(self._rest[:end]), self._rest[end + 4 :]
            if head.status >= 200:
                break
        self._framing = head.framing()
        self._keeps = head.headers.get("connection", "").lower() != "close"
        coding = head.headers.get("content-encoding", "identity").lower()
        self._unpack = None if coding == "identity" else Unpacker(coding)
        self.used = True
        return head

    async def body(self) -> bytes | None:
        """What one read brought of the body, maybe nothing; ``None`` at its end. Raises ``Broken``."""
        if self._framing.ended:
            return None
        data, self._rest = self._rest or await self._read(), b""
        if not data:
            if isinstance(self._framing, UntilClosed):
                self._framing.ended, self._keeps = True, False
                return None
            raise Broken("closed", "in the middle of its answer")
        content = self._framing.feed(data)
        return content if self._unpack is None else self._unpack.feed(content)

    @property
    def reusable(self) -> bool:
        """Whether another request can be sent: the answer was read to its end, and the peer keeps the connection."""
        return self._framing.ended and self._keeps and not self._rest

    async def _read(self) -> bytes:
        try:
            data = await self._stream.receive_some(READ)
        except trio.BrokenResourceError as error:
            raise Broken("reset", _reason(error)) from error
        self.at = trio.current_time()
        self.reads += 1
        self.received += len(data)
        return bytes(data)

    async def aclose(self) -> None:
        """Close at once, without a farewell. Cannot be cancelled."""
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)


class Unpacker:
    """Compression that nobody asked for."""

    def __init__(self, coding: str) -> None:
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise Broken("encoding", f"the answer is compressed with {coding[:20]!r}, which was not asked for")
        self._unpack = zlib.decompressobj(wbits=47 if coding != "deflate" else 15)

    def feed(self, data: bytes) -> bytes:
        try:
            return self._unpack.decompress(data)
        except zlib.error as error:
            raise Broken("encoding", str(error)) from error


async def _shake_hands(secured: trio.SSLStream[trio.SocketStream], stream: trio.SocketStream) -> None:
    try:
        await secured.do_handshake()
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise


async def _connected(place: Place, small: bool) -> trio.SocketStream:
    last: OSError | None = None
    for family, address in place.addresses:
        try:
            return await _connected_to(family, address, small)
        except OSError as error:
            last = error
    raise Broken(_fault_of(last), last.strerror or str(last) if last else "no address")


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


def request(place: Place, path: str, headers: Sequence[tuple[str, str]]) -> bytes:
    """The head of a POST but for the content's length, which ``framed`` adds."""
    host = f"[{place.host}]" if ":" in place.host else place.host
    named = host if place.port == (443 if place.secure else 80) else f"{host}:{place.port}"
    lines = [f"POST {path} HTTP/1.1", f"host: {named}", "accept-encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("latin-1")


def framed(head: bytes, body: bytes) -> bytes:
    """A whole request."""
    return b"%b\r\ncontent-length: %d\r\n\r\n%b" % (head, len(body), body)


class Idle:
    """Connections that wait for the next request; the youngest is taken first."""

    def __init__(self) -> None:
        self._waiting: list[Connection] = []

    def take(self) -> Connection | None:
        return self._waiting.pop() if self._waiting else None

    async def give(self, connection: Connection) -> None:
        """Keep it if it can be used again, else close it."""
        if connection.reusable:
            self._waiting.append(connection)
        else:
            await connection.aclose()

    async def aclose(self) -> None:
        while self._waiting:
            await self._waiting.pop().aclose()


def raise_file_limit() -> None:
    """As many connections as the system allows this process; on Windows there is no such limit."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
