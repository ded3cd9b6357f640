"""A response to a client, independent of web frameworks, and its body."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Protocol, Self, TypeAlias

import attrs
import trio

from gateway.http.headers import Headers
from streams.events import ErrorInfo
from streams.framing import Framing
from streams.sse import SSE


def stream_headers(framing: Framing) -> Headers:
    """Return the headers of a streamed response."""
    return (("content-type", framing.content_type), ("cache-control", "no-cache"), ("x-accel-buffering", "no"))


STREAM_HEADERS: Final = stream_headers(SSE)
JSON_HEADERS: Final[Headers] = (("content-type", "application/json"),)

MAX_HEADER: Final = 4096
"""Characters of a header's value. A value from a request, such as a model's name, may have megabytes, and clients
reject responses with such headers."""

MAX_WRITE: Final = 256 * 1024

WriteNow: TypeAlias = Callable[[bytes], bool]
"""Writes to the client if that is possible without waiting, and returns whether it was."""


class Truncated(Exception):
    """Raised by a body whose response must not look complete. The server closes the connection without the final
    chunk."""


class ResponseBody(Protocol):
    """The pieces of a response that is still being produced. Each piece is one write.

    The end of the iteration ends the response; an exception cuts it. If the client disconnects before the body starts,
    the iteration never starts. A subclass implements ``__anext__`` and may override the other methods."""

    async def __anext__(self) -> bytes: ...

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> AsyncIterator[bytes]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    @property
    def error(self) -> ErrorInfo | None:
        """The error that the client has received in place of the end of the response, ``None`` without one."""
        return None

    def set_writer(self, write_now: WriteNow) -> None:
        """Write through ``write_now`` from now on where possible; optional.

        A server that can write without waiting calls this before it requests the first piece."""
        return


@attrs.frozen(eq=False, repr=False, slots=False)  # created for each request; cheaper to construct without slots
class Response:
    """A response. Its ``headers`` include the content type; the server cuts them at ``MAX_HEADER`` and adds the length
    of a body of bytes. ``error`` is the one that it reports."""

    status: int
    headers: Headers
    body: bytes | ResponseBody = b""
    error: ErrorInfo | None = None

    @property
    def failure(self) -> ErrorInfo | None:
        """The error in the response. That of a stream is known when its body was read."""
        return self.error if isinstance(self.body, bytes) else self.body.error


class ChannelBody(ResponseBody):
    """A body from a memory channel. Each write takes all queued items, up to the item that reaches ``MAX_WRITE`` bytes.

    Closing the channel's sending side ends the response. For any other end, call ``cut()`` first: the queued items are
    still written, then the connection is closed without the final chunk (HTTP/2: the stream is reset), so that the
    response does not look complete."""

    def __init__(self, channel: trio.MemoryReceiveChannel[bytes]) -> None:
        self._channel = channel
        self._cut = False

    def cut(self) -> None:
        """Mark the response as incomplete."""
        self._cut = True

    async def __aexit__(self, *_: object) -> None:
        # Not `async with channel`: its aclose() is a checkpoint, and raises in a cancelled scope.
        self._channel.close()

    async def __anext__(self) -> bytes:
        try:
            data = await self._channel.receive()
        except trio.EndOfChannel:
            if self._cut:
                raise Truncated from None
            raise StopAsyncIteration from None
        parts = [data]
        size = len(data)
        while size < MAX_WRITE:
            try:
                data = self._channel.receive_nowait()
            except (trio.WouldBlock, trio.EndOfChannel):
                break
            parts.append(data)
            size += len(data)
        return b"".join(parts)


@asynccontextmanager
async def as_pieces(body: bytes | ResponseBody) -> AsyncIterator[AsyncIterator[bytes]]:
    """Yield an iterator over the pieces of ``body``, whatever its type."""
    if isinstance(body, bytes):
        yield _yield_once(body)
        return
    async with body as pieces:
        yield pieces


async def _yield_once(data: bytes) -> AsyncIterator[bytes]:
    yield data
