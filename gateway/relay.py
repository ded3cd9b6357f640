"""The stream of one exchange between the pump and the client: translation, the commit point, keep-alives, the end."""

import contextlib
import logging
from collections.abc import Callable
from functools import partial

import trio

from gateway.lanes import Lane
from gateway.ledger import Record
from streams import sse
from streams.events import Failed
from streams.pipe import Heartbeat, receive_batch

log = logging.getLogger("trigate")

END_GRACE = 0.25
"""Seconds that an upstream may take to end its body once the answer has ended, so that its connection can be kept."""


class Relay:
    """Takes chunks from the pump, gives whole events to the client's response body.

    Nothing reaches the client before the answer's first content: until ``opened`` the openings are held back and a
    failure is in ``refused``, to be answered with its own status. After one keep-alive interval without content the
    stream is opened for comments only; a failure is an error event from then on.
    """

    def __init__(
        self,
        lane: Lane,
        chunks: trio.MemoryReceiveChannel[bytes | Failed],
        writes: trio.MemorySendChannel[bytes],
        record: Record,
        keep_alive: float,
    ) -> None:
        self._lane = lane
        self._chunks = chunks
        self._writes = writes
        self._record = record
        self._held: list[bytes] = []
        self._over = False
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
            return
        finally:
            self._over = True
            self.opened.set()

    async def _run(self) -> None:
        while not self._lane.seen.over:
            try:
                data, failed = await receive_batch(self._chunks)
            except trio.EndOfChannel:
                await self._send(self._told(self._lane.close))
                break
            await self._send(self._translated(data, failed))
        self._settle()
        await self._finish()

    def _translated(self, data: bytes, failed: Failed | None) -> bytes:
        out = self._told(partial(self._lane.feed, data)) if data else b""
        return out + self._lane.fail(failed) if failed is not None else out

    def _told(self, step: Callable[[], bytes]) -> bytes:
        """The client's bytes for one step of the lane, an error event where it fails."""
        try:
            return step()
        except sse.EventTooLarge:
            return self._lane.fail(Failed("upstream", "the provider sent an event larger than the gateway's limit"))
        except Exception:  # the border where our own mistake becomes the client's error event
            log.exception("request %s: translation failed", self._record.id)
            return self._lane.fail(Failed("internal", "the gateway failed to translate the provider's answer"))

    async def _send(self, data: bytes) -> None:
        seen = self._lane.seen
        if not seen.committed:
            if seen.failed is not None and not self.opened.is_set():
                self.refused = seen.failed
                return
            if data:
                self._held.append(data)
            if seen.failed is None:
                return
            data = b""
        if self._held:
            data = b"".join([*self._held, data])
            self._held.clear()
        self.opened.set()
        if data:
            await self._writes.send(data)
            self._heartbeat.sent()

    def _settle(self) -> None:
        seen, record = self._lane.seen, self._record
        record.usage = seen.usage
        record.failed = seen.failed
        if seen.end is not None:
            record.reason, record.whole = seen.end.reason, True

    async def _finish(self) -> None:
        """Let the upstream end its body, forwarding what still comes, so that its connection goes back to the pool."""
        self._over = True
        if self._lane.seen.failed is not None:
            return
        with trio.move_on_after(END_GRACE), contextlib.suppress(trio.EndOfChannel):
            while True:
                await self._send(self._translated(*await receive_batch(self._chunks)))

    def _beat(self) -> None:
        if self._over:
            return
        seen = self._lane.seen
        ping = self._lane.ping() if seen.committed else sse.COMMENT_PING
        self.opened.set()
        try:
            self._writes.send_nowait(ping)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the client is slow, so it has something to read; or gone
