"""The trio side of a stream: the pump that reads an upstream, and the watch over its silence.

The pump hands its chunks to the response body through one bounded channel. Its capacity and the most that the body
takes at once bound the memory of a stream to 1 MiB and the largest event, whatever its length (a writer may hold its
answer besides: that of Responses repeats it at the end); a slow client fills the channel and so slows its own upstream
and nobody else's.
"""

import math
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final, Protocol, TypeAlias

import attrs
import trio

from streams.errors import GatewayError
from streams.events import ErrorInfo
from streams.handoff import Handoff
from streams.timeouts import Timeouts

PIECE: Final = 4096  # bytes; larger reads are queued in pieces, so that the number of items bounds their size
PIECES_QUEUED: Final = 64  # an upstream that writes each event on its own still gives many at once
BATCH_BYTES: Final = 64 * 1024  # what the body takes in one go
WRITES_QUEUED: Final = 2  # writes that wait for a client, where a stream may outlive it

Chunk: TypeAlias = bytes | ErrorInfo
"""An item on its way from the pump: bytes of the upstream's body, or last of all how it failed."""


SHUTTING_DOWN: Final = ErrorInfo(
    "overloaded", "the gateway is shutting down", headers=(("retry-after", "1"),), reason=None
)


class Watch:
    """One cancel scope over a request to a provider, whose deadline moves: first byte, then idle, all within total.

    A scope per read would cost three times as much as moving a deadline, and that (1.5 µs) is more than looking at the
    clock: it is moved only once in a hundredth of the idle limit, which is therefore held to one percent.
    """

    def __init__(self, timeouts: Timeouts, patience: float = math.inf) -> None:
        """``patience``: the seconds that the first content may take (see ``begun``)."""
        now = trio.current_time()
        self._timeouts = timeouts
        self._patience = patience
        self._begins_by = now + patience
        self._end = now + _seconds(timeouts.total)
        self.scope = trio.CancelScope(deadline=min(self._end, self._begins_by, now + _seconds(timeouts.first_byte)))
        self.reading = False
        self._idle = _seconds(timeouts.idle)
        self._moves = -math.inf  # when hearing something moves the deadline again

    def heard(self) -> None:
        """Count the upstream's silence from now: it has sent something."""
        now = trio.current_time()
        if now >= self._moves and not self.scope.cancel_called:  # what is past cannot be put off
            self.reading = True
            self._moves = now + self._idle / 100
            self.scope.deadline = min(self._end, self._begins_by, self._moves + self._idle)

    def begun(self) -> None:
        """Note that the first content has arrived."""
        if self._begins_by < math.inf:
            self._begins_by, self._moves = math.inf, -math.inf
            self.heard()

    def again(self) -> trio.CancelScope:
        """Return a scope over what is left: a scope is entered once only, and by one task."""
        self.scope = trio.CancelScope(deadline=self.scope.deadline)
        return self.scope

    def pause(self) -> None:
        """Pause the watch: the client is the slow one, and the upstream's silence does not count until ``heard``."""
        self._moves = -math.inf
        if not self.scope.cancel_called:
            self.scope.deadline = min(self._end, self._begins_by)

    def asked(self) -> None:
        """More of the request has been sent: the first byte of the answer is waited for from now."""
        if not self.scope.cancel_called:
            first = trio.current_time() + _seconds(self._timeouts.first_byte)
            self.scope.deadline = min(self._end, self._begins_by, first)

    @property
    def _is_paused(self) -> bool:
        """The client has been the slow one since the upstream was heard: it is no failure of the upstream's."""
        return self.reading and self._moves == -math.inf

    def failed(self) -> ErrorInfo:
        """Why the scope was cancelled. Only after ``scope.cancelled_caught``."""
        if trio.current_time() < self.scope.deadline:
            return SHUTTING_DOWN
        if trio.current_time() >= self._end:
            failed = ErrorInfo("timeout", f"the provider did not finish within {self._timeouts.total:g} s")
            return attrs.evolve(failed, reason=None) if self._is_paused else failed
        if trio.current_time() >= self._begins_by:
            return ErrorInfo("timeout", f"the provider did not begin its answer within {self._patience:g} s")
        if self.reading:
            return ErrorInfo("timeout", f"the provider went silent for {self._timeouts.idle:g} s in mid-answer")
        return ErrorInfo("timeout", f"the provider did not answer within {self._timeouts.first_byte:g} s")


def _seconds(limit: float | None) -> float:
    return float("inf") if limit is None else limit


class ByteSource(Protocol):
    """An upstream's response body."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises ``GatewayError`` when it breaks off."""
        ...

    async def aclose(self) -> None:
        """Close it, whatever state it is in; shielded from cancellation."""
        ...


async def pump(source: ByteSource, into: Handoff[Chunk], watch: Watch) -> ErrorInfo | None:
    """Hand every chunk of ``source`` on ``into`` the handoff, under ``watch``, and close ``source``; return how the
    upstream failed, if it did. The caller closes the handoff.

    Without a failure the body ended well as HTTP; whether the *answer* is whole only its API can say. Raises no
    ``GatewayError``: the request's nursery would take it for the end of the request.
    """
    failed: ErrorInfo | None = None
    with watch.scope:
        try:
            await _hand_on(source.chunks(), into, watch)
        except GatewayError as error:
            failed = error.failed
        except trio.BrokenResourceError:  # nobody reads any more: the answer is over
            pass
        finally:
            await source.aclose()
    return watch.failed() if watch.scope.cancelled_caught else failed


async def _hand_on(chunks: AsyncIterator[bytes], into: Handoff[Chunk], watch: Watch) -> None:
    async for chunk in chunks:
        if len(chunk) > BATCH_BYTES or not into.offer(chunk):  # a decompressed one may have any size
            await _queue(chunk, into, watch)
        watch.heard()


async def _queue(chunk: bytes, into: Handoff[Chunk], watch: Watch) -> None:
    for piece in _pieces(chunk):
        try:
            into.send_nowait(piece)
        except trio.WouldBlock:
            watch.pause()
            await into.send(piece)


def _pieces(chunk: bytes) -> Iterable[bytes]:
    if len(chunk) <= PIECE:
        return (chunk,)
    return (chunk[start : start + PIECE] for start in range(0, len(chunk), PIECE))


async def receive_batch(
    handoff: Handoff[Chunk], take: Callable[[Chunk], bool] | None = None
) -> tuple[bytes, ErrorInfo | None]:
    """Receive what is queued, as one piece of up to ``BATCH_BYTES``, and the failure behind it: batching that regulates
    itself and adds no latency. Waits for the first item only, and returns nothing where ``take`` (see
    ``Handoff.receive``) ends the waiting. Raises ``trio.EndOfChannel`` once the pump has ended and all is received.
    """
    item = await handoff.receive(take)
    parts: list[bytes] = []
    size = 0
    while isinstance(item, bytes):
        parts.append(item)
        size += len(item)
        if size >= BATCH_BYTES:
            break
        item = handoff.receive_nowait()
    return b"".join(parts), item if isinstance(item, ErrorInfo) else None
