"""One HTTP/1.1 connection to a provider.

httpcore2's own has a lock, a scope or a generator around every step, and takes each chunk of a body through h11's
state machine: more than half the cost of a streamed event.
"""

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import attrs
import httpcore2
import trio

from gateway.upstream.framing import READ, Chunked, Framing, Sized, UntilClosed
from gateway.upstream.heads import Head, HeadReader

CLOSE_SECONDS: Final = 5.0  # to close a connection that is of no more use


@attrs.frozen
class Request:
    """What goes to ``origin``, which is that of ``url``, ready to be written."""

    origin: httpcore2.Origin
    method: bytes
    url: httpcore2.URL
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    def wire(self) -> bytes:
        head = [b"%b: %b\r\n" % pair for pair in self.headers]
        return b"".join([b"%b %b HTTP/1.1\r\n" % (self.method, self.url.target), *head, b"\r\n", self.body])


@attrs.frozen(eq=False)
class Answer:
    """The head of an answer. Its ``body`` must be closed."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: "Readable"


class Readable(Protocol):
    """A body as it comes."""

    async def read(self) -> bytes:
        """The next piece, ``b""`` at the end. Raises httpcore2's errors."""
        ...

    async def aclose(self) -> None:
        """Give the connection back. It is closed unless it stands right behind a whole body. Cannot be cancelled."""
        ...


class Body:
    """The body of an answer, ``Readable`` by one task at a time."""

    def __init__(self, connection: "Connection", framing: Framing, first: bytes) -> None:
        self.connection = connection
        self._read = connection.stream.read
        self._framing = framing
        self._first = first
        self._closed = False

    async def read(self) -> bytes:
        framing = self._framing
        data, self._first = self._first, b""
        while not framing.over:
            if data or (data := await self._read(framing.step)):
                try:
                    piece = framing.feed(data)
                except ValueError as error:
                    raise httpcore2.RemoteProtocolError(error) from error
                if piece:
                    return piece
                data = b""
            else:
                framing.close()
                if not framing.over:
                    raise httpcore2.RemoteProtocolError("the connection ended before the body did")
        return b""

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            framing = self._framing
            await self.connection.release(framing.over and not framing.extra and not self._first)


class Connection:
    """An open connection, which takes one request after the other. ``release(reusable)`` of its owner is called at the
    end of each; a request that fails or is cancelled closes the connection and releases it, too."""

    def __init__(
        self,
        origin: httpcore2.Origin,
        stream: httpcore2.AsyncNetworkStream,
        release: Callable[["Connection", bool], Awaitable[None]],
    ) -> None:
        self.origin = origin
        self.stream = stream
        self._release = release
        self._reusable = False

    async def ask(self, request: Request) -> Answer:
        """The answer to ``request``. Raises httpcore2's errors."""
        try:
            with contextlib.suppress(httpcore2.WriteError):  # the provider may have said why before it closed
                await self.stream.write(request.wire())
            head = await self._head()
        except BaseException:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await self.release(whole=False)
            raise
        self._reusable = head.lasts
        return Answer(head.status, head.headers, Body(self, _framing(head), head.rest))

    async def _head(self) -> Head:
        reader = HeadReader()
        while data := await self.stream.read(READ):
            try:
                head = reader.feed(data)
            except ValueError as error:
                raise httpcore2.RemoteProtocolError(error) from error
            if head is not None:
                return head
        raise httpcore2.RemoteProtocolError("the connection ended before the head of the answer did")

    async def release(self, whole: bool) -> None:
        """The answer has been read: ``whole``, so that the next can follow, or as far as anyone cared to."""
        await self._release(self, whole and self._reusable)

    @property
    def readable(self) -> bool:
        """Whether there is something to read. An idle connection of which that is true has been closed."""
        return bool(self.stream.get_extra_info("is_readable"))


def _framing(head: Head) -> Framing:
    """RFC 9112, section 6.3."""
    if head.status in (204, 304):
        return Sized(0)
    if head.chunked:
        return Chunked()
    return UntilClosed() if head.length is None else Sized(head.length)
