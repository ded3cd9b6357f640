"""A provider's response: its head, and its body in pieces."""

import contextlib
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final, Protocol, Self

import trio

from gateway.http.headers import as_text
from gateway.http.offload import offload
from gateway.http.pieces import join_pieces
from gateway.upstream.decoding import content_codings, decode
from gateway.upstream.errors import UpstreamError
from gateway.upstream.framing import BodyFraming
from gateway.upstream.http11 import WireBody, WireResponse
from streams.errors import GatewayError
from streams.pipe import BATCH_LINES
from streams.whole_json import JsonEnd

_CR: Final = ord(b"\r")

DENSE_BYTES: Final = 16 * 1024
"""Bytes of a piece that readers get in one call if it has many lines, as each may be an event or a batch's result."""

ERROR_BYTES: Final = 2**20
"""The most bytes of an error response that are read."""

ERROR_SECONDS: Final = 5.0
"""Seconds to read an error response: its status is sufficient, and another target may respond."""

TOO_LARGE = "the provider's response is larger than the limit of {} bytes"


class BodyChange(Protocol):
    """Changes a body piece by piece. Both methods may raise ``GatewayError``."""

    def take(self, piece: bytes) -> bytes:
        """Return the replacement of ``piece``, possibly empty."""

    def close(self) -> bytes:
        """Return the rest the first time, then nothing."""


async def _read_changed(read: Callable[[], Awaitable[bytes]], change: BodyChange) -> bytes:
    while piece := await read():
        if out := change.take(piece):
            return out
    return change.close()


class UpstreamResponse(trio.abc.AsyncResource):
    """The head of a provider's response, and its body in pieces, for one task at a time.

    The holder closes it (``async with response``, or ``aclose()`` in a ``finally``); until then it occupies its slot.
    The end of the body, a failure and a cancellation during a read also close it."""

    def __init__(
        self, response: WireResponse, attempts: int, free: Callable[[], object], identity: object = None
    ) -> None:
        """Prepare the response. ``free`` is called once, to release its slot. ``identity`` is that of its request."""
        self._closed = self._whole = False
        self._free = free
        self._body, self._framing = response.body, response.framing
        self._read = response.body.read
        self._decoding: AsyncGenerator[bytes, None] | None = None
        self._peeked = b""
        self._rest = b""  # of a piece with many lines
        self._splits_dense = True
        self.status = response.status
        self.identity = identity
        self.attempts = attempts  # 2 if the first one met a dead pooled connection
        headers = as_text(response.headers)
        if applied := content_codings(headers):
            self._decoding = decode(response.body, applied)
            self._read = partial(anext, self._decoding, b"")
            headers = tuple(pair for pair in headers if pair[0] not in ("content-encoding", "content-length"))
        self.headers: tuple[tuple[str, str], ...] = headers
        self.has_arrived = response.has_arrived
        """The whole body came with the head: reading it does not wait."""

    def header(self, name: str) -> str | None:
        """Return the first value of the header ``name`` (lower case), or ``None``."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def change(self, change: BodyChange) -> None:
        """Pass the body through ``change``. Call this before any of it is read."""
        self._read = partial(_read_changed, self._read, change)

    def end_with_json(self, grace: float) -> None:
        """Read the body as one JSON object or array, whose connection need not end: after its last bracket, it may
        break off, or stay silent for ``grace`` seconds.

        Call this before any of the body is read; it may be peeked."""
        if self._framing is not None and not self.has_arrived:
            end = JsonEnd()
            end.feed(self._peeked)
            self._read = partial(self._read_json, self._read, self._framing, end, grace)

    @staticmethod
    async def _read_json(
        read: Callable[[], Awaitable[bytes]], framing: BodyFraming, end: JsonEnd, grace: float
    ) -> bytes:
        piece = b""
        if end.is_complete and not framing.over:
            with trio.move_on_after(grace), contextlib.suppress(GatewayError):
                piece = await read()
        else:
            piece = await read()
        await offload(len(piece), end.feed, piece)
        return piece

    async def peek(self, least: int) -> bytes:
        """Return the first bytes of the body, at least ``least`` unless it is shorter.

        The next read returns them again. Call this before any of the body is read. Raises as reading does."""
        try:
            while len(self._peeked) < least and (piece := await self._read()):
                self._peeked += piece
        except BaseException:
            await self.aclose()
            raise
        return self._peeked

    def set_content_type(self, content_type: str) -> None:
        """Replace the content type in ``headers``."""
        others = tuple(pair for pair in self.headers if pair[0] != "content-type")
        self.headers = (*others, ("content-type", content_type))

    def chunks(self, *, split_dense: bool = True) -> AsyncIterator[bytes]:
        """Return the iterator over the decompressed body, in pieces of at most ``READ`` bytes, none empty.

        Pieces with many lines are split, because a reader of lines would delay other tasks with them. ``split_dense``
        is false for a caller that reads no lines: the search for them costs a tenth of a body of 256 kB.

        Raises ``UpstreamError`` if the body breaks off. A body that the connection's end delimits may be incomplete
        without an error. After ``aclose`` it raises ``trio.ClosedResourceError``."""
        self._splits_dense = split_dense
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._closed and not self._whole:
            raise trio.ClosedResourceError("the response was closed before its end")
        try:  # the end, a failure and a cancellation all free the slot
            if self._rest:
                await trio.lowlevel.checkpoint()
            piece = self._rest or self._peeked or await self._read()
            self._rest = self._peeked = b""
            if piece:
                return self._next_part(piece) if self._splits_dense and len(piece) > DENSE_BYTES else piece
        except BaseException:
            await self.aclose()
            raise
        self._whole = True
        await self.aclose()
        raise StopAsyncIteration

    def _next_part(self, piece: bytes) -> bytes:
        """Return ``piece``, or its beginning if it has many lines; the rest follows after other tasks have run."""
        crs = piece.count(b"\r") if _CR in piece else 0  # to find none is much cheaper than to count none
        end = DENSE_BYTES if piece.count(b"\n") + crs > BATCH_LINES else len(piece)
        self._rest = piece[end:]
        return piece[:end]

    async def read(self, limit: int) -> bytes:
        """Return the whole body. Raises ``UpstreamError`` if it breaks off or is longer than ``limit`` bytes."""
        parts, size = list[bytes | bytearray](), 0
        async for piece in self.chunks(split_dense=False):
            size += len(piece)
            if size > limit:
                await self.aclose()
                raise UpstreamError("upstream", TOO_LARGE.format(limit), cause="too_large")
            parts.append(piece)
        return await join_pieces(parts, size)

    async def read_error(self) -> bytes:
        """Return the body of an error, empty if it breaks off, stays silent or is too long, because the status is
        sufficient. Closes the response."""
        try:
            with trio.move_on_after(ERROR_SECONDS):
                return await self.read(ERROR_BYTES)
        except GatewayError:
            pass
        finally:
            await self.aclose()
        return b""

    async def receive(self) -> bytes:
        """Return the next bytes of an upgraded connection, ``b""`` at its end. Cancellation loses nothing. Raises
        ``UpstreamError``."""
        return await self._body.read()

    async def write(self, data: bytes | memoryview) -> None:
        """Send ``data`` on an upgraded connection. The next read reports a broken connection."""
        assert isinstance(self._body, WireBody), "it has a connection"
        await self._body.connection.stream.write(data)

    @property
    def is_closed(self) -> bool:
        """True once the body was read to its end, has broken off, or is not wanted any more."""
        return self._closed

    async def aclose(self) -> None:
        """Return the connection if the body was read to its end, otherwise close it. Cannot be cancelled."""
        if self._closed:
            return
        self._closed = True
        # An unclosed response would keep its connection and its slot forever: both are referenced, so the garbage
        # collector does not free them.
        try:
            if self._decoding is not None:
                with trio.CancelScope(shield=True):
                    await self._decoding.aclose()
            await self._body.aclose()
        finally:
            self._free()

    def __del__(self) -> None:
        if not self._closed:
            warnings.warn(f"unclosed {self!r}: its slot is lost", ResourceWarning, stacklevel=2)
