"""Messages over a pair of pipes or a connection."""

from collections import deque
from typing import Any, Generic, TypeVar

import msgspec
import trio

from loadtest.crew.messages import LONGEST, NotAMessage, PacketSplitter, packet

READ = 65536

Taken = TypeVar("Taken")


class PeerGone(Exception):
    """The other process has ended, or its connection."""


class MessageChannel(Generic[Taken]):
    """Messages to and from another process; those that come are of the kinds ``taken``.

    Many tasks may send, one receives."""

    def __init__(
        self, reader: trio.abc.ReceiveStream, writer: trio.abc.SendStream, taken: Any, longest: int = LONGEST
    ) -> None:
        self.reader, self.writer = reader, writer
        self._decoder = msgspec.msgpack.Decoder(taken)
        self._splitter = PacketSplitter(longest)
        self._waiting: deque[bytes] = deque()
        self._sending = trio.Lock()

    async def send(self, message: Any) -> None:
        """Raises ``PeerGone``."""
        data = packet(message)
        async with self._sending:
            try:
                await self.writer.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise PeerGone from error

    async def receive(self) -> Taken:
        """The next message. Raises ``PeerGone`` at the end, and ``NotAMessage``."""
        while not self._waiting:
            try:
                data = await self.reader.receive_some(READ)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise PeerGone from error
            if not data:
                raise PeerGone
            self._waiting.extend(self._splitter.feed(bytes(data)))
        try:
            message: Taken = self._decoder.decode(self._waiting.popleft())
        except msgspec.MsgspecError as error:
            raise NotAMessage("a message that this version does not know") from error
        return message

    @property
    def unread(self) -> bytes:
        """What has come and was not taken, as bytes."""
        lengths = (len(data).to_bytes(4, "little") + data for data in self._waiting)
        return b"".join(lengths) + self._splitter.rest

    async def aclose(self) -> None:
        """Close both directions at once."""
        await trio.aclose_forcefully(self.writer)
        await trio.aclose_forcefully(self.reader)
