"""The stream of one exchange between the pump and the client: translation, the commit point, keep-alives, the end."""

import contextlib
import logging
from collections.abc import Callable
from functools import partial

import trio

from gateway.errors import MISTAKE
from gateway.lanes import Lane
from gateway.ledger import Record
from gateway.turns.keeping import STORE_SECONDS, Keeping
from streams import sse
from streams.events import Failed
from streams.pipe import Heartbeat, receive_batch

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
    """Takes chunks from the pump, gives whole events to the client's response body.

    Nothing reaches the client before the answer's first content: until ``opened`` the openings are held back and a
    failure is in ``refused``, to be answered with its own status. After one keep-alive interval without content,
    whether the upstream has answered or not, the stream is opened for comments only; a failure is an error event from
    then on. ``lane`` may be changed as long as the pump has sent no chunk.
    """

    def __init__(
        self,
        lane: Lane,
        chunks: trio.MemoryReceiveChannel[bytes | Failed],
        writes: trio.MemorySendChannel[bytes],
        record: Record,
        keep_alive: float,
        *,
        check: Callable[[bytes], None] | None = None,
        keeping: Keeping | None = None,
    ) -> None:
        self.lane = lane
        self._chunks = chunks
        self._writes = writes
        self._record = record
        self._check = check
        self._keeping = keeping
        self._held: list[bytes] = []
        self._held_size = 0
        self._quiet = False  # no keep-alive: in the midst of an event, or the stream is over
        self._heartbeat = Heartbeat(keep_alive, self._beat)
        self.opened = trio.Event()
        self.refused: Failed | None = None

    def start(self, nursery: trio.Nursery) -> None:
        nursery.start_soon(self._translate)
        nursery.start_soon(self._heartbeat.run)

    async def _translate(self) -> None:
        """Never raises but for cancellation: an error here is told to the client, whose nursery this is."""
        try:
            with self._writes:
                await self._run()
        except trio.BrokenResourceError:  # the response body has been closed: the client is gone
            await self._break_off()
        except trio.Cancelled:
            with trio.move_on_after(2 * STORE_SECONDS, shield=True):  # it is bounded itself
                await self._break_off()
            raise
        finally:
            self._settle()
            self._quiet = True
            self.opened.set()

    async def _run(self) -> None:
        while not self.lane.seen.over:
            try:
                data, failed = await receive_batch(self._chunks)
            except trio.EndOfChannel:
                await self._pass(self._guarded(self.lane.end))
                break
            await self._pass(self._translated(data, failed))
        if self.refused is None:
            await self._linger()

    async def _pass(self, data: bytes) -> None:
        if self._keeping is not None:
            data = await self._keeping.passing(data, self.lane.seen)
        await self._send(data)

    async def _break_off(self) -> None:
        if self._keeping is not None and not self.lane.seen.over:
            await self._keeping.broken_off()

    def _translated(self, data: bytes, failed: Failed | None) -> bytes:
        out = self._guarded(partial(self.lane.feed, data)) if data else b""
        return out if failed is None else out + self._guarded(partial(self.lane.end, failed))

    def _guarded(self, step: Callable[[], bytes]) -> bytes:
        """The client's bytes for one step of the lane, an error event where it fails."""
        try:
            return step()
        except sse.EventTooLarge:
            return self.lane.end(Failed("upstream", "the provider sent an event larger than limits.event allows"))
        except Exception:  # the border where our own mistake becomes the client's error event
            log.exception("request %s: translation failed", self._record.id)
            return self.lane.end(MISTAKE)

    async def _send(self, data: bytes) -> None:
        seen = self.lane.seen
        if not seen.committed:
            if seen.failed is not None and not self.opened.is_set():
                self.refused = seen.failed
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
        self.opened.set()
        if data:
            await self._write(data)

    async def _write(self, data: bytes) -> None:
        self._quiet = True
        if self._check is not None:
            self._check(data)
        self._record.writes()
        for start in range(0, len(data), WRITE):
            await self._writes.send(data[start : start + WRITE])
        self._record.wrote()
        self._quiet = self.lane.seen.over
        self._heartbeat.sent()

    def _settle(self) -> None:
        seen, record = self.lane.seen, self._record
        record.usage, record.said = seen.usage, seen.said
        record.failed = seen.failed
        if seen.end is not None:
            record.reason, record.whole = seen.end.reason, True

    async def _linger(self) -> None:
        """Let the upstream end its body, forwarding what still comes, so that its connection goes back to the pool."""
        self._quiet = True
        deadline = trio.current_time() + END_GRACE
        with contextlib.suppress(trio.EndOfChannel):
            while True:
                with trio.CancelScope(deadline=deadline) as grace:  # over the wait alone: a write is not cut in two
                    batch = await receive_batch(self._chunks)
                if grace.cancelled_caught:
                    return
                await self._send(self._translated(*batch))

    def _beat(self) -> None:
        if self._quiet:  # the client has something to read, or nothing more to wait for
            return
        ping = self.lane.ping() if self.lane.seen.committed else sse.COMMENT_PING
        self.opened.set()
        if ping:
            with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError):
                self._writes.send_nowait(ping)
