"""The stream of one exchange between the pump and the client: translation, the commit point, keep-alives, the end."""

import contextlib
import logging
from collections.abc import Callable
from typing import Self

import trio

from gateway.conversations.recorder import STORE_SECONDS, UNRECORDED, TurnRecorder
from gateway.ledger.record import Record
from gateway.request.public_errors import MISTAKE
from gateway.streaming.lane import Lane
from streams.events import ErrorInfo
from streams.framing import FramingError
from streams.pipe import receive_batch

log = logging.getLogger("trigate")

END_GRACE = 0.25
"""Seconds that an upstream may take to end its body once the answer has ended, so that its connection can be kept."""

HELD = 512 * 1024
"""Bytes of openings that wait for the first content. They are a few hundred at most, or what a large request's tools
take in ``response.created``; beyond this the stream is opened, because the memory of a stream is bounded."""

WRITE = 64 * 1024
"""Bytes of one write to the client. A larger event goes out in several, so that it is not held once more by each stage
that a slow client blocks."""


class Relay:
    """Takes chunks from the pump and gives whole events to the client's response body, which iterates over it: one
    write at a time, translated in the task that writes it.

    While the body waits for more and the client's socket has room, which is nearly always, a chunk does not go through
    the pump's channel and the body's task: the pump itself gives it to ``take``, which writes it at once. The hop
    between the two would cost as much as all the rest.

    Nothing reaches the client before the answer's first content: until ``opened`` the openings are held back and a
    failure is in ``refused``, to be answered with its own status. After one keep-alive interval without content,
    whether the upstream has answered or not, the stream is opened for comments only; a failure is an error event from
    then on. ``lane`` may be changed as long as the pump has sent no chunk. ``record`` always says how far it came.
    """

    def __init__(
        self,
        lane: Lane,
        into: trio.MemorySendChannel[bytes | ErrorInfo],
        chunks: trio.MemoryReceiveChannel[bytes | ErrorInfo],
        record: Record,
        keep_alive: float,
        *,
        check: Callable[[bytes], None] | None = None,
        turn: TurnRecorder = UNRECORDED,
    ) -> None:
        """``into`` and ``chunks`` are the two ends of the pump's channel. If ``turn`` records, somebody has to
        ``guard`` it, too."""
        self.lane = lane
        self._into = into
        self._chunks = chunks
        self._record = record
        self._check = check
        self._turn = turn
        self._keep_alive = keep_alive
        self._told = trio.current_time()  # when the client was last given something
        self._held: list[bytes] = []
        self._held_size = 0
        self._ready: list[bytes] = []  # writes that the body is to make
        self._giving = False  # events have been given that the client has not taken yet
        self._waiting = False  # the body, for the pump, with nothing on the way to it; only then ``take`` takes
        self._write_now: Callable[[bytes], bool] | None = None
        self._unkept: bytes | None = None  # events that go when the turn has been kept, which ``_step`` does first
        self._grace: float | None = None
        self._ended = False
        self._shown = False  # ``opened`` has been set with the first event: every further one would set it again
        self.opened = trio.Event()
        self.refused: ErrorInfo | None = None

    async def guard(self) -> None:
        """Until cancelled; then the turn is stored as far as it came, if it has not ended. Raises nothing of its
        own."""
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(2 * STORE_SECONDS, shield=True):  # it is bounded itself
                await self._break_off()

    async def _break_off(self) -> None:
        if (data := self._unkept) is not None:
            self._unkept = None
            await self._turn.persist(data, self.lane.seen)
        elif not self.lane.seen.over:
            await self._turn.persist_partial()

    async def open(self) -> None:
        """Until the stream is ``opened``, or ``refused``."""
        while not self.opened.is_set():
            await self._step()

    def attach(self, write_now: Callable[[bytes], bool]) -> None:
        """The body has begun. ``write_now(data)`` writes to the client what the iteration would have given, if that is
        possible without waiting, and says whether it was."""
        self._write_now = write_now

    def take(self, data: bytes) -> bool:
        """Deal with a chunk on the spot. False: it has to go through the channel."""
        if not self._waiting or self._write_now is None:
            self._waiting = False
            return False
        self._pass(self._translated(data, None))
        if len(self._ready) == 1 and not self.lane.seen.over and self._write_now(self._ready[0]):
            self._ready.clear()
            self._taken()
        elif self._has_more():
            self._waiting = False
            _wake(self._into)
        return True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._giving and not self._ready:
            self._taken()
        while not self._ready:
            if self._ended:
                raise StopAsyncIteration
            await self._step()
        return self._ready.pop(0)

    async def forward(self, writes: trio.MemorySendChannel[bytes]) -> None:
        """All writes into a channel, for a stream that may go on without its reader. Never raises but for cancellation:
        its nursery is the request's."""
        with contextlib.suppress(trio.BrokenResourceError), writes:  # the response body is closed: the client is gone
            async for data in self:
                await writes.send(data)

    async def _step(self) -> None:
        """Keep what is to be kept, or wait for the pump and translate what it has sent."""
        if self._unkept is not None:
            data, self._unkept = self._unkept, None
            out = await self._turn.persist(data, self.lane.seen)
            self._settle()
            self._give(out)
            return
        if self.lane.seen.over:
            await self._linger()
            return
        self._waiting = self._is_idle()  # else what is queued would be overtaken by what ``take`` writes
        try:
            with trio.CancelScope(deadline=self._told + self._keep_alive) as silence:
                data, failed = await receive_batch(self._chunks)
        except trio.EndOfChannel:
            self._pass(self._finished())
        else:
            if silence.cancelled_caught:
                self._break_silence()
            elif data or failed is not None:
                self._pass(self._translated(data, failed))
        finally:
            self._waiting = False

    def _pass(self, data: bytes) -> None:
        """Whole events on their way: to the client, or to be kept first."""
        self._settle()
        if self._unkept is not None:  # behind what waits
            self._unkept += data
        elif not self._turn.records or self._turn.may_pass(data, self.lane.seen):
            self._give(data)
        else:
            self._unkept = data

    def _has_more(self) -> bool:
        """Whether there is something for the body to do that the pump has no part in."""
        return bool(self._ready) or self._unkept is not None or self.lane.seen.over

    def _is_idle(self) -> bool:
        """Whether nothing is on the way from the pump."""
        queue = self._chunks.statistics()
        return not (queue.current_buffer_used or queue.tasks_waiting_send)

    def _translated(self, data: bytes, failed: ErrorInfo | None) -> bytes:
        """The client's bytes for a step of the lane, an error event where it fails."""
        try:
            out = self.lane.feed(data) if data else b""
        except Exception as error:  # the border where our own mistake becomes the client's error event
            out = self._broken(error)
        return out if failed is None else out + self._finished(failed)

    def _finished(self, failed: ErrorInfo | None = None) -> bytes:
        """The client's last bytes."""
        try:
            return self.lane.end(failed)
        except Exception as error:  # the same border
            return self._broken(error)

    def _broken(self, error: Exception) -> bytes:
        if isinstance(error, FramingError):
            return self.lane.end(ErrorInfo("upstream", str(error)))
        log.error("request %s: translation failed", self._record.id, exc_info=error)
        return self.lane.end(MISTAKE)

    def _give(self, data: bytes) -> None:
        """Make ``data`` ready for the client, or hold it back."""
        seen = self.lane.seen
        if not seen.committed:
            if seen.failed is not None and not self.opened.is_set():
                self.refused, self._ended = seen.failed, True
                self.opened.set()
                return
            self._held.append(data)
            self._held_size += len(data)
            if seen.failed is None and self._held_size <= HELD:
                return
            data = b""
        if self._held:
            data = b"".join([*self._held, data])
            self._held.clear()
            self._held_size = 0
        if not self._shown:
            self._shown = True
            self.opened.set()
        if data:
            self._write(data)

    def _write(self, data: bytes) -> None:
        if self._check is not None:
            self._check(data)
        self._record.writes()
        self._giving = True
        if len(data) <= WRITE:
            self._ready.append(data)
        else:
            self._ready.extend(data[start : start + WRITE] for start in range(0, len(data), WRITE))
        self._told = trio.current_time()

    def _taken(self) -> None:
        """The client has been given what was ready."""
        self._giving = False
        self._record.wrote()

    def _break_silence(self) -> None:
        """A keep-alive is due, unless ``take`` has written in the meantime, or the pump has something by now."""
        now = trio.current_time()
        if now < self._told + self._keep_alive:
            return
        self._told = now
        if self._has_more() or not self._is_idle():
            return
        ping = self.lane.ping()
        self.opened.set()
        if ping:
            self._ready.append(ping)

    def _settle(self) -> None:
        seen, record = self.lane.seen, self._record
        record.opening, record.usage, record.said = seen.start, seen.usage, seen.said
        record.failed = seen.failed
        if seen.end is not None:
            record.reason, record.whole = seen.end.reason, True

    async def _linger(self) -> None:
        """Let the upstream end its body, forwarding what still comes, so that its connection is kept. Last
        go the bytes behind the last event, such as the LF of a CRLF."""
        if self._grace is None:
            self._grace = trio.current_time() + END_GRACE
        with trio.CancelScope(deadline=self._grace), contextlib.suppress(trio.EndOfChannel):
            self._give(self._translated(*await receive_batch(self._chunks)))
            return
        self._ended = True
        self._give(self.lane.rest())


def _wake(into: trio.MemorySendChannel[bytes | ErrorInfo]) -> None:
    """Make the relay look what is to be done, by a chunk without bytes. Where chunks wait it looks anyhow, and the
    client has something to read; where the channel is closed, the pump has ended."""
    with contextlib.suppress(trio.ClosedResourceError, trio.BrokenResourceError):
        if not into.statistics().current_buffer_used:
            into.send_nowait(b"")
