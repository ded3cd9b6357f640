"""A provider's answer: its head, and its body as it comes."""

import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Protocol, Self

import trio

from gateway.http.headers import as_text
from gateway.upstream.decoding import codings, decoded
from gateway.upstream.errors import UpstreamError
from gateway.upstream.http11 import AnswerBody, WireAnswer

TOO_LARGE = "the provider's response is larger than the limit of {} bytes"


class HeldSlot(Protocol):
    """What an answer takes of a limit."""

    def free(self) -> object:
        """Give it back, once."""
        ...


class ChangedBytes(Protocol):
    """Changes a body as it comes. Both may raise ``GatewayError``."""

    def take(self, piece: bytes) -> bytes:
        """What stands for ``piece``, perhaps nothing yet."""
        ...

    def close(self) -> bytes:
        """The rest, once; then nothing."""
        ...


async def _changed(read: Callable[[], Awaitable[bytes]], change: ChangedBytes) -> bytes:
    while piece := await read():
        if out := change.take(piece):
            return out
    return change.close()


class UpstreamResponse(trio.abc.AsyncResource):
    """The head of a provider's answer, and its body as it comes. One task at a time may use it.

    Whoever holds one closes it (``async with response``, or ``aclose()`` in a ``finally``): until then it holds its
    slot among those under way. The end of the body, a failure and a cancellation while reading close it too.
    """

    def __init__(self, answer: WireAnswer, attempts: int, slot: HeldSlot) -> None:
        self._closed = self._whole = False
        self._slot = slot
        self._body = answer.body
        self._read = answer.body.read
        self._decoding: AsyncGenerator[bytes, None] | None = None
        self.status = answer.status
        self.attempts = attempts  # 2 if the first went to a pooled connection that was dead
        headers = as_text(answer.headers)
        if applied := codings(headers):
            self._decoding = decoded(answer.body, applied)
            self._read = partial(anext, self._decoding, b"")
            headers = tuple(pair for pair in headers if pair[0] not in ("content-encoding", "content-length"))
        self.headers: tuple[tuple[str, str], ...] = headers
        self.has_arrived = answer.has_arrived
        """The whole body came with the head: reading it does not wait."""

    def header(self, name: str) -> str | None:
        """The first value of the header ``name`` (lower case)."""
        return next((value for key, value in self.headers if key == name), None)

    def change(self, change: ChangedBytes) -> None:
        """Let the body come through ``change``, before any of it is read."""
        self._read = partial(_changed, self._read, change)

    def chunks(self) -> AsyncIterator[bytes]:
        """The body in the pieces in which it comes, decompressed, each of 1 MiB at most and none empty.

        Raises ``UpstreamError`` when it breaks off. That it ends well does not say that the answer is whole: one
        delimited by the connection's end cannot tell. After ``aclose`` it raises ``trio.ClosedResourceError``.
        """
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._closed and not self._whole:
            raise trio.ClosedResourceError("the response was closed before its end")
        try:  # the end, a failure, a cancellation: all of them give the slot back
            if piece := await self._read():
                return piece
        except BaseException:
            await self.aclose()
            raise
        self._whole = True
        await self.aclose()
        raise StopAsyncIteration

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises ``UpstreamError`` when it breaks off, or is longer than ``limit`` bytes."""
        parts, size = [], 0
        async for piece in self.chunks():
            size += len(piece)
            if size > limit:
                await self.aclose()
                raise UpstreamError("upstream", TOO_LARGE.format(limit), cause="too_large")
            parts.append(piece)
        return b"".join(parts)

    async def receive(self) -> bytes:
        """The next bytes of a connection that was upgraded, ``b""`` at its end. Cancelled, it is as it was. Raises
        ``UpstreamError``."""
        return await self._body.read()

    async def write(self, data: bytes) -> None:
        """Send ``data`` on a connection that was upgraded. Where that is broken the next piece says so."""
        assert isinstance(self._body, AnswerBody), "it has a connection"
        await self._body.connection.stream.write(data)

    async def aclose(self) -> None:
        """Give the connection back if the body was read to its end, else close it at once. Cannot be cancelled."""
        if self._closed:
            return
        self._closed = True
        # A response that is not closed holds its connection and its slot for ever: they are referred to, so no garbage
        # collection frees them.
        try:
            if self._decoding is not None:
                with trio.CancelScope(shield=True):
                    await self._decoding.aclose()
            await self._body.aclose()
        finally:
            self._slot.free()

    def __del__(self) -> None:
        if not self._closed:
            warnings.warn(f"unclosed {self!r}: its slot is lost", ResourceWarning, stacklevel=2)
