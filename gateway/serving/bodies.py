"""Bodies of requests and of responses."""

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, cast

import quart
import trio
from quart import Response
from quart.wrappers.response import ResponseBody
from werkzeug.datastructures import Headers
from werkzeug.exceptions import RequestEntityTooLarge, RequestTimeout

from gateway.serving.asgi_extensions import WriteNow
from streams.errors import GatewayError

MAX_WRITE: Final = 256 * 1024
MAX_HEADER: Final = 4096

# Requests


async def read_body() -> bytes:
    """Read the whole body of the request that Quart is handling. Raises as ``IncomingRequest.read`` does."""
    try:
        return cast("bytes", await quart.request.get_data(cache=False))
    except RequestEntityTooLarge:
        raise too_large(quart.request.max_content_length) from None
    except RequestTimeout:
        raise too_slow() from None


def too_large(most: int | None) -> GatewayError:
    """The error of a request whose body has more than ``most`` bytes."""
    return GatewayError("too_large", f"the request body is larger than the limit of {most} bytes")


def too_slow() -> GatewayError:
    """The error of a request whose body did not arrive in time."""
    return GatewayError("invalid_request", "the request body did not arrive in time", status=408)


# Responses


class Truncated(Exception):
    """The answer must not look complete. Raised by a response body; the connection is then closed without its end."""


class ChannelBody(ResponseBody):
    """A response body out of a memory channel: each write takes all that is queued, so batching regulates itself.

    A write ends with the item that reaches ``MAX_WRITE`` bytes. Closing the channel's sending side ends the answer
    well. For any other end call ``cut()`` before closing it: what is queued is still written, then the connection is
    closed without the terminating chunk (HTTP/2: the stream is reset), so that the answer cannot be taken for whole.

    If the client leaves before the body starts, neither ``__aenter__`` nor ``__aexit__`` is entered: nothing that must
    happen may depend on them.
    """

    def __init__(self, channel: trio.MemoryReceiveChannel[bytes]) -> None:
        self._channel = channel
        self._cut = False

    def cut(self) -> None:
        """Note that the answer is not whole."""
        self._cut = True

    async def __aenter__(self) -> "ChannelBody":
        return self

    async def __aexit__(self, *_: object) -> None:
        # Not `async with channel`: its aclose() is a checkpoint, and raises in a cancelled scope.
        self._channel.close()

    def __aiter__(self) -> "ChannelBody":
        return self

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


class IteratedBody(ResponseBody):
    """A response body out of an iterator, which runs in the task that writes: each of its pieces is a write. The end of
    the iterator ends the answer well; what it raises cuts it.

    Where the server can write without waiting, ``attach`` is called with what does it, before the first piece."""

    def __init__(self, pieces: AsyncIterator[bytes], attach: Callable[[WriteNow], None]) -> None:
        self._pieces = pieces
        self.attach = attach

    async def __aenter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def __aexit__(self, *_: object) -> None:
        pass

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces


def respond(body: bytes | ResponseBody, status: int, headers: Iterable[tuple[str, str]]) -> Response:
    """Make a response with these headers, which name the content type.

    Each is cut at ``MAX_HEADER``: what a client put into its request, such as a model's name, may be megabytes, and
    clients give up on an answer with such a head."""
    return Response(body, status, Headers((name, value[:MAX_HEADER]) for name, value in headers))
