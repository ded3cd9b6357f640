"""One HTTP/1.1 connection to a provider.

A general client has a lock, a scope or a generator around every step and a state machine for every chunk: more than
half the cost of a streamed event."""

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, Protocol

import attrs
import trio

from gateway.http.sockets import READ
from gateway.upstream.errors import UpstreamError, failure, invalid_http
from gateway.upstream.framing import LONG_READ, BodyFraming, Chunked, ChunkTooLarge, Sized, UntilClosed
from gateway.upstream.heads import Head, HeadReader
from gateway.upstream.network import NetworkStream
from gateway.upstream.proxies import UpstreamRoute
from gateway.upstream.request import UploadedBody

CLOSE_SECONDS: Final = 5.0  # to close a connection that is no longer needed

PIECE: Final = 256 * 1024
"""Bytes per write of a request's body, or of a websocket message."""

EARLY_BYTES: Final = 2**20
EARLY_SECONDS: Final = 5.0
"""The limits of the body of an early rejection that is read before the request is abandoned."""

TOO_LARGE_CHUNK = "the provider's response has a chunk larger than limits.answer ({} bytes)"


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class WireRequest:
    """A request ready to be written.

    ``max_chunk`` (bytes) bounds each chunk of its response. ``upgrades``: the response may switch the connection to
    another protocol. An ``upload`` follows the bytes of ``wire``. ``before_end()`` is called right before the last
    bytes of ``wire`` are written, ``after_end()`` right after them, unless an upload follows."""

    method: bytes
    target: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes
    max_chunk: int
    upgrades: bool = False
    upload: UploadedBody | None = None
    before_end: Callable[[], object] | None = None
    after_end: Callable[[], object] | None = None

    def wire(self) -> Sequence[bytes | memoryview]:
        """Return the buffers to write in order: a single one, or pieces of a large body, which are not copied and which
        TLS encrypts one at a time."""
        fields = [b"%b: %b\r\n" % pair for pair in self.headers]
        head = [b"%b %b HTTP/1.1\r\n" % (self.method, self.target), *fields, b"\r\n"]
        if len(self.body) <= PIECE:
            return (b"".join([*head, self.body]),)
        return (b"".join(head), *pieces_of(self.body))


def pieces_of(data: bytes) -> Iterator[memoryview]:
    """Yield ``data`` in pieces of at most ``PIECE`` bytes, without a copy."""
    whole = memoryview(data)
    for start in range(0, len(whole), PIECE):
        yield whole[start : start + PIECE]


class BodySource(Protocol):
    """The source of a response's body, for one task at a time."""

    async def read(self) -> bytes:
        """Return the next piece, ``b""`` at the end. Raises ``GatewayError``."""

    async def aclose(self) -> None:
        """Close the source. Cannot be cancelled."""


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class WireResponse:
    """The head of a response. The caller closes its ``body``. ``has_arrived``: the body came with the head.

    ``framing`` is that of a body from a connection."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: BodySource
    has_arrived: bool = False
    framing: BodyFraming | None = None


class WireBody:
    """The body of a response in pieces, for one task at a time."""

    def __init__(self, connection: "Connection", framing: BodyFraming, first: bytes) -> None:
        self.connection = connection
        self._read = connection.stream.read
        self._framing = framing
        self._first = first
        self._closed = False

    async def read(self) -> bytes:
        """Return the next piece, ``b""`` at the end. Raises ``UpstreamError``."""
        framing, data = self._framing, b""
        if not framing.over:  # bytes after the head of a response without a body stay there, and end the connection
            data, self._first = self._first, b""
        while not framing.over:
            if data or (data := await self._read(framing.step)):
                try:
                    piece = framing.feed(data)
                except ChunkTooLarge as error:
                    raise UpstreamError("upstream", TOO_LARGE_CHUNK.format(error.most), cause="too_large") from error
                except ValueError as error:
                    raise invalid_http(error) from error
                if piece:
                    return piece
                data = b""
            else:
                self.check_end()
        return b""

    def check_end(self) -> None:
        """End the body here. Raises ``UpstreamError`` if that cuts it."""
        self._framing.close()
        if not self._framing.over:
            raise failure("cut") from EOFError("the connection ended before the end of the body")

    async def aclose(self) -> None:
        """Return the connection, closed unless the body was complete and nothing followed it. Cannot be cancelled."""
        if not self._closed:
            self._closed = True
            framing = self._framing
            await self.connection.release(framing.over and not framing.extra and not self._first)


class BodyReadAhead:
    """A body whose first ``pieces`` were already read. With ``is_silent``, nothing more is expected."""

    def __init__(self, pieces: deque[bytes], rest: WireBody, *, is_silent: bool) -> None:
        self._pieces = pieces
        self._rest = rest
        self._is_silent = is_silent

    async def read(self) -> bytes:
        """Return the next piece, ``b""`` at the end. Raises ``UpstreamError``."""
        if self._pieces:
            return self._pieces.popleft()
        if self._is_silent:
            self._rest.check_end()
            return b""
        return await self._rest.read()

    async def aclose(self) -> None:
        """Return the connection. Cannot be cancelled."""
        await self._rest.aclose()


async def read_ahead(body: WireBody) -> BodyReadAhead:
    """Return ``body`` with its first ``EARLY_BYTES`` read: after a cancelled write, nothing more can be read over TLS.

    Waits up to ``EARLY_SECONDS``: a provider may send nothing more before the rest of the request, which it does not
    get. The next ``read`` reports a failure."""
    pieces, size = deque[bytes](), 0
    with trio.move_on_after(EARLY_SECONDS) as wait, contextlib.suppress(UpstreamError):
        while size < EARLY_BYTES and (piece := await body.read()):
            pieces.append(piece)
            size += len(piece)
    return BodyReadAhead(pieces, body, is_silent=wait.cancelled_caught)


class Connection:
    """An open connection for one request at a time. ``release(reusable)`` of its owner is called at the end of each
    request; a failed or cancelled request closes the connection and also releases it."""

    def __init__(
        self, route: UpstreamRoute, stream: NetworkStream, release: Callable[["Connection", bool], Awaitable[None]]
    ) -> None:
        self.route = route
        self.stream = stream
        self._release = release
        self._reusable = False

    async def send(self, request: WireRequest) -> WireResponse:
        """Send ``request`` and return its response. Raises ``UpstreamError``."""
        try:
            first, *rest = request.wire()
            if rest or request.upload is not None:
                return await self._send_large(request, first, rest)
            if request.before_end is not None:
                request.before_end()
            await self.stream.write(first)
            if request.after_end is not None:
                request.after_end()
            head = await read_head(self.stream, request.upgrades)
        except BaseException:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await self.release(whole=False)
            raise
        self._reusable = head.lasts and head.status != 101
        framing, first, has_arrived = _framing(head, request.max_chunk), head.rest, False
        if isinstance(framing, Sized):
            missing = framing.left - len(first)
            if missing > 0 and len(first) > READ // 2:  # probably the next bytes have arrived, too: wait for no turn
                first += self.stream.read_now(min(missing, LONG_READ))
            has_arrived = framing.left <= len(first)
        return WireResponse(head.status, head.headers, WireBody(self, framing, first), has_arrived, framing)

    async def _send_large(
        self, request: WireRequest, first: bytes | memoryview, rest: Sequence[bytes | memoryview]
    ) -> WireResponse:
        """Send ``request`` while its response is already read, and return it.

        A provider that rejects the request early receives no more of it: many do not read the rest either. A provider
        that starts a successful response early receives the rest. Raises ``UpstreamError`` and the errors of an
        upload."""
        await self.stream.write(first)  # until then, the end of a pooled connection is that of a stale one
        responses: list[tuple[Head, BodySource, BodyFraming]] = []
        failures: list[Exception] = []
        sent = False

        async def send() -> None:
            nonlocal sent
            try:
                await (self._write_pieces(request, rest) if request.upload is None else self._upload(request.upload))
                sent = True
            except Exception as error:
                failures.append(error)
                nursery.cancel_scope.cancel()

        async def receive() -> None:
            try:
                head = await read_head(self.stream)
                framing = _framing(head, request.max_chunk)
                body = WireBody(self, framing, head.rest)
                is_early = head.status >= 300 and not sent
                responses.append((head, await read_ahead(body) if is_early else body, framing))
            except Exception as error:
                failures.append(error)
            if not responses or responses[0][0].status >= 300:
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await receive()
        if not responses or (failures and responses[0][0].status < 300):
            raise failures[0]
        head, body, framing = responses[0]
        self._reusable = head.lasts and sent
        return WireResponse(head.status, head.headers, body, framing=framing)

    async def _write_pieces(self, request: WireRequest, pieces: Sequence[bytes | memoryview]) -> None:
        for piece in pieces[:-1]:
            await self.stream.write(piece, continues=True)
        if request.before_end is not None:
            request.before_end()
        await self.stream.write(pieces[-1], continues=True)
        if request.after_end is not None:
            request.after_end()

    async def _upload(self, upload: UploadedBody) -> None:
        """Write ``upload``. Raises ``UpstreamError`` and its errors."""
        left = upload.length
        async for piece in upload.pieces:
            if left is not None and (left := left - len(piece)) < 0:
                break  # the provider would read more bytes as another request
            chunk = piece if upload.length is not None else b"%x\r\n%b\r\n" % (len(piece), piece)
            await self.stream.write(chunk, continues=True)
        if left:
            raise failure("cut") from EOFError("the length of the upload differs from its content-length")
        if upload.length is None:
            await self.stream.write(b"0\r\n\r\n", continues=True)

    async def release(self, whole: bool) -> None:
        """Release the connection after a response, reusable only if the response was read as a ``whole``."""
        await self._release(self, whole and self._reusable)


async def read_head(stream: NetworkStream, upgrades: bool = False) -> Head:
    """Read the head of the next response. Raises ``UpstreamError``."""
    reader = HeadReader(upgrades)
    while data := await stream.read(READ):
        try:
            head = reader.feed(data)
        except ValueError as error:
            raise invalid_http(error) from error
        if head is not None:
            return head
    raise failure("cut") from EOFError("the connection ended before the end of the response headers")


def _framing(head: Head, max_chunk: int) -> BodyFraming:
    """Return the framing of the body (RFC 9112, section 6.3)."""
    if head.status in (204, 304):
        return Sized(0)
    if head.status == 101:  # from now on the bytes belong to the other protocol
        return UntilClosed()
    if head.chunked:
        return Chunked(max_chunk)
    return UntilClosed() if head.length is None else Sized(head.length)
