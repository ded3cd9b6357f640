"""An answer to a client, of no web framework, and the bodies that it may have."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Protocol, Self, TypeAlias

import attrs
import trio

from gateway.http.headers import Headers
from streams.framing import Framing
from streams.sse import SSE


def stream_headers(framing: Framing) -> Headers:
    """Return the headers of a streamed response."""
    return (("content-type", framing.content_type), ("cache-control", "no-cache"), ("x-accel-buffering", "no"))


STREAM_HEADERS: Final = stream_headers(SSE)
JSON_HEADERS: Final[Headers] = (("content-type", "application/json"),)

MAX_HEADER: Final = 4096
"""Characters of a header's value. What a client put into its request, such as a model's name, may be megabytes, and
clients give up on an answer with such a head."""

MAX_WRITE: Final = 256 * 1024

WriteNow: TypeAlias = Callable[[bytes], bool]
"""Writes to the client if that is possible without waiting, and says whether it was."""


class Truncated(Exception):
    """The answer must not look complete. Raised by a body; the server then closes without the end."""


class ResponseBody(Protocol):
    """The pieces of an answer that is not at hand, each of which is a write. The end of the iteration ends the answer
    well; what it raises cuts it. If the client leaves before the body starts it is never entered.

    A body that inherits from this has ``__anext__``, and what it wants to do otherwise."""

    async def __anext__(self) -> bytes: ...

    def __aiter__(self) -> Self:
        return self

    async def __aenter__(self) -> AsyncIterator[bytes]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def set_writer(self, write_now: WriteNow) -> None:
        """Write through ``write_now`` from now on where that is possible, or leave it. The server calls this where it
        can write without waiting, before it asks for the first piece."""
        return


def _cut(headers: Iterable[tuple[str, str]]) -> Headers:
    return tuple([(name, value if len(value) <= MAX_HEADER else value[:MAX_HEADER]) for name, value in headers])


@attrs.frozen(eq=False, repr=False, slots=False)  # one for each request, and made with fewer calls
class Response:
    """An answer. Its ``headers`` name the content type; the server adds the length of a body that is at hand."""

    status: int
    headers: Headers = attrs.field(converter=_cut)
    body: bytes | ResponseBody = b""


class ChannelBody(ResponseBody):
    """A body out of a memory channel: each write takes all that is queued, so batching regulates itself.

    A write ends with the item that reaches ``MAX_WRITE`` bytes. Closing the channel's sending side ends the answer
    well. For any other end call ``cut()`` before closing it: what is queued is still written, then the connection is
    closed without the terminating chunk (HTTP/2: the stream is reset), so that the answer cannot be taken for whole.
    """

    def __init__(self, channel: trio.MemoryReceiveChannel[bytes]) -> None:
        self._channel = channel
        self._cut = False

    def cut(self) -> None:
        """The answer is not whole."""
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
    """The pieces of ``body``, for a reader that knows nothing of how it came to be."""
    if isinstance(body, bytes):
        yield _once(body)
        return
    async with body as pieces:
        yield pieces


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
