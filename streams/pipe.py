"""The I/O of a stream: the pump that reads a provider's response, and the watch that limits its silence.

The pump passes chunks to the response body through one bounded channel. This limits a stream to 1 MiB and its largest
event, whatever its length (the writer of Responses also keeps the answer, to repeat it at the end). A slow client fills
the channel and slows only its own upstream.
"""

import math
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol, TypeAlias

import attrs
import trio

from streams.errors import GatewayError
from streams.events import ErrorInfo
from streams.handoff import Handoff
from streams.timeouts import Timeouts

PIECE: Final = 4096  # bytes; larger reads queue in pieces, so that the number of items limits the memory
PIECES_QUEUED: Final = 64  # enough to batch the events of an upstream that writes each one separately
BATCH_BYTES: Final = 64 * 1024  # the most that the body receives in one call
BATCH_LINES: Final = 256  # the same for lines: a line may be an event, and translating one takes up to 0.2 ms
WRITES_QUEUED: Final = 2  # writes that wait for a client whose stream may outlive it

Chunk: TypeAlias = bytes | ErrorInfo
"""An item from the pump: bytes of the upstream's body, or finally its failure."""


SHUTTING_DOWN: Final = ErrorInfo(
    "overloaded", "the gateway is shutting down", headers=(("retry-after", "1"),), reason=None
)


class Watch:
    """A cancel scope over a request to a provider, with a moving deadline: first byte, then idle, all within total.

    A provider that sends only keep-alives is not silent. ``limit_keep_alives`` limits that time, too.

    Moving a deadline costs a third of a new scope for each read, but still more (1.5 µs) than reading the clock. The
    deadline therefore moves only once in a hundredth of the idle limit, which makes that limit exact to one percent.
    """

    def __init__(self, timeouts: Timeouts, content_timeout: float = math.inf) -> None:
        """Start the watch; ``content_timeout`` is the number of seconds until the first content must arrive (see
        ``lift_content_limit``)."""
        self._clock = trio.lowlevel.current_clock().current_time  # three times as fast as trio.current_time
        self._began = now = self._clock()
        first_byte, idle, total = timeouts.first_byte, timeouts.idle, timeouts.total
        self._timeouts = timeouts
        self._content_timeout = content_timeout
        self._content_deadline = now + content_timeout
        self._total_deadline = math.inf if total is None else now + total
        first = math.inf if first_byte is None else now + first_byte
        self.scope = trio.CancelScope(deadline=min(self._total_deadline, self._content_deadline, first))
        self.reading = self._has_headers = False
        self._idle = _seconds_or_infinity(idle)
        self._progress = _seconds_or_infinity(timeouts.progress)
        self._progress_of: Callable[[], object] | None = None
        self._has_finished: Callable[[], bool] = lambda: False
        self._last_progress: object = None
        self._progressed_at = self._paused_at = self._grace = math.inf
        self._is_late = self._is_stalled = False  # the limit on keep-alives has passed; it has failed the upstream
        self._step = self._idle / 100  # the seconds in which the deadline stays
        self._next_move = -math.inf  # before this time the deadline stays

    def restart_idle_limit(self) -> None:
        """Restart the idle limit because the upstream has sent something."""
        now = self._clock()
        if now >= self._next_move and not self.scope.cancel_called:  # an expired deadline cannot move
            self.reading = True
            self._next_move = now + self._step
            self._update_progress(now)
            self.scope.deadline = now if self._is_stalled else min(self._fixed_deadline, self._next_move + self._idle)

    def limit_keep_alives(
        self,
        progress_of: Callable[[], object],
        has_finished: Callable[[], bool] = lambda: False,
        grace: float = math.inf,
    ) -> None:
        """Limit the time in which the upstream sends something, but ``progress_of`` keeps returning an equal value.

        An answer that ``has_finished`` has ``grace`` seconds instead: some servers then send keep-alives alone, without
        an end (maximhq/bifrost#6784). Silence alone does not exceed this limit. ``progress_of`` may count a piece when
        the next one arrives."""
        if min(self._progress, grace) < math.inf:
            self._progress_of, self._last_progress = progress_of, progress_of()
            self._has_finished, self._grace = has_finished, grace
            self._progressed_at = self._clock()
            self._step = min(self._idle, self._progress) / 100

    def _update_progress(self, now: float) -> None:
        """Restart the limit on keep-alives after progress, and extend it by the time of a pause.

        Beyond the limit, the piece that has just arrived may be progress, so only the next one decides."""
        if self._paused_at < now:
            self._progressed_at += now - self._paused_at
        self._paused_at = math.inf
        if self._progress_of is not None and (progress := self._progress_of()) != self._last_progress:
            self._last_progress, self._progressed_at = progress, now
            self._is_late = False
        elif now >= self._progressed_at + (self._grace if self._has_finished() else self._progress):
            self._is_late, self._is_stalled = True, self._is_late

    def await_body(self) -> None:
        """Continue the first-byte limit after the headers, but wait at least for the idle limit.

        Some servers send the headers immediately, and then read a long prompt."""
        self._has_headers = True
        if not self.scope.cancel_called:
            latest = max(self.scope.deadline, self._clock() + self._idle)
            self.scope.deadline = min(self._fixed_deadline, latest)

    def lift_content_limit(self) -> None:
        """Lift the limit of the first content, which has arrived."""
        if self._content_deadline < math.inf:
            self._content_deadline, self._next_move = math.inf, -math.inf
            self.restart_idle_limit()

    def renew_scope(self) -> trio.CancelScope:
        """Return a new scope with the same deadline, because a scope can be entered only once, by one task."""
        self.scope = trio.CancelScope(deadline=self.scope.deadline)
        return self.scope

    def pause(self) -> None:
        """Stop counting the upstream's silence, because the client is the slow side.

        ``restart_idle_limit`` resumes the count.
        """
        self._next_move = -math.inf
        if not self.scope.cancel_called:
            self._paused_at = min(self._paused_at, self._clock())
            self.scope.deadline = self._fixed_deadline

    def note_end(self) -> None:
        """Lift the limits of the first content and of silence, because the whole response has arrived."""
        self.lift_content_limit()
        self.pause()

    def await_upload(self) -> None:
        """Stop counting until ``restart_first_byte_limit``, because the client still sends its request."""
        self.pause()
        if not self.scope.cancel_called:
            self.scope.deadline = self._total_deadline

    def restart_first_byte_limit(self) -> None:
        """Restart the first-byte limit because more of the request was sent. The limit of the first content has not
        counted a pause."""
        if not self.scope.cancel_called:
            now = self._clock()
            self._content_deadline += max(0.0, now - self._paused_at)
            self._paused_at = math.inf
            first = now + _seconds_or_infinity(self._timeouts.first_byte)
            self.scope.deadline = min(self._fixed_deadline, first)

    @property
    def seconds(self) -> float:
        """The seconds since the watch started, by the clock of its limits."""
        return self._clock() - self._began

    @property
    def idle(self) -> float:
        """The limit on the upstream's silence in seconds."""
        return self._idle

    @property
    def _fixed_deadline(self) -> float:
        """The earlier deadline of those that nothing from the upstream moves."""
        return min(self._total_deadline, self._content_deadline)

    @property
    def _is_paused(self) -> bool:
        """True if the client has been the slow side since the upstream last sent something."""
        return self.reading and self._next_move == -math.inf

    def failure(self) -> ErrorInfo:
        """Return the reason for the cancellation. Call it only after ``scope.cancelled_caught``."""
        if trio.current_time() < self.scope.deadline:
            return SHUTTING_DOWN
        if trio.current_time() >= self._total_deadline:
            error = ErrorInfo("timeout", f"the provider did not finish within {self._timeouts.total:g} s")
            return attrs.evolve(error, reason=None) if self._is_paused else error
        if trio.current_time() >= self._content_deadline:
            return ErrorInfo("timeout", f"the provider did not begin its answer within {self._content_timeout:g} s")
        if self._is_stalled:
            return ErrorInfo("timeout", f"the provider sent only keep-alives for {self._progress:g} s")
        if self.reading:
            return ErrorInfo(
                "timeout", f"the provider sent nothing for {self._timeouts.idle:g} s in the middle of its answer"
            )
        first_byte = self._timeouts.first_byte
        if self._has_headers:
            limit = max(_seconds_or_infinity(first_byte), self._idle)
            return ErrorInfo("timeout", f"the provider sent headers, but no answer within {limit:g} s")
        return ErrorInfo("timeout", f"the provider did not respond within {first_byte:g} s")


def _seconds_or_infinity(limit: float | None) -> float:
    return float("inf") if limit is None else limit


class ByteSource(Protocol):
    """The body of an upstream response."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives. Raises ``GatewayError`` if it breaks off."""

    async def aclose(self) -> None:
        """Close the body in any state, shielded from cancellation."""


async def pump(source: ByteSource, into: Handoff[Chunk], watch: Watch) -> ErrorInfo | None:
    """Pass every chunk of ``source`` to the handoff under ``watch``, then close ``source``; return the failure, if any.

    The caller closes the handoff. ``None`` means that the HTTP body is complete; only a reader of its API knows whether
    the *answer* is. Failures are returned instead of raised, because an exception would end the request's nursery.
    """
    failure: ErrorInfo | None = None
    with watch.scope:
        try:
            async for chunk in source.chunks():
                if len(chunk) > BATCH_BYTES or not into.offer(chunk):  # a decompressed chunk may have any size
                    await _queue_chunk(chunk, into, watch)
                watch.restart_idle_limit()
        except GatewayError as error:
            failure = error.info
        finally:
            await source.aclose()
    return watch.failure() if watch.scope.cancelled_caught else failure


async def _queue_chunk(chunk: bytes, into: Handoff[Chunk], watch: Watch) -> None:
    for start in range(0, len(chunk), PIECE):
        piece = chunk[start : start + PIECE]
        try:
            into.send_nowait(piece)
        except trio.WouldBlock:
            watch.pause()
            await into.send(piece)


async def receive_batch(
    handoff: Handoff[Chunk], take: Callable[[Chunk], bool] | None = None
) -> tuple[bytes, ErrorInfo | None]:
    """Receive queued chunks, joined to ``BATCH_BYTES`` or ``BATCH_LINES`` or a little more, and the failure that
    follows them.

    Waits only for the first chunk, so batching adds no latency. Returns nothing if ``take`` ends the wait (see
    ``Handoff.receive``). Raises ``trio.EndOfChannel`` after the last item of a pump that has ended.
    """
    item = await handoff.receive(take)
    parts: list[bytes] = []
    size = lines = 0
    while isinstance(item, bytes):
        parts.append(item)
        size += len(item)
        lines += item.count(b"\n")
        if size >= BATCH_BYTES or lines >= BATCH_LINES:
            break
        item = handoff.receive_nowait()
    return b"".join(parts), item if isinstance(item, ErrorInfo) else None
