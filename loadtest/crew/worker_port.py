"""A port on which another machine's load test gets processes of this one.

Each connection that is admitted is given a process of its own, and what both say is passed on as it is: this process is
in no way of the load itself."""

import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import attrs
import trio

from loadtest.crew.channel import READ, MessageChannel, PeerGone
from loadtest.crew.children import FAR, child
from loadtest.crew.handshake import Commanded, NoAdmission
from loadtest.crew.messages import SHORT, Introduction, NotAMessage, SentAway, Welcome
from loadtest.exchange.plain_text import plain_text

PATIENCE: Final = 10.0  # seconds for a connection and an introduction, on the commanding side
FIRST_WORD: Final = 3.0
"""Seconds for an introduction here: it is one way there and back, for somebody who means it."""

QUIET: Final = 60.0
"""Seconds without a word, after which the commanding process is taken for gone."""

STRANGERS: Final = 16
"""Connections at a time that have not been admitted. One more, and the first of them has to go: those who only hold
the door shut out nobody."""

MOST: Final = 256  # processes for one commander


@attrs.define
class Occupation:
    """The one whom this machine works for: a commander's ``name``, how many ``connections`` it has, since when."""

    name: str = ""
    connections: int = 0
    since: str = ""

    def enter(self, name: str) -> None:
        """Raises ``NoAdmission`` while it is somebody else's."""
        if self.connections and self.name != name:
            raise NoAdmission(f"it works for another since {self.since}: one at a time")
        if self.connections >= MOST:
            raise NoAdmission(f"it has {MOST} processes at work already")
        if not self.connections:
            self.name, self.since = name, datetime.now().astimezone().strftime("%H:%M:%S")
        self.connections += 1

    def leave(self) -> None:
        self.connections -= 1


class WorkerPort:
    """Takes connections for one commander at a time. ``tell`` is told who comes and goes."""

    def __init__(
        self, version: str, secret: str | None, tell: Callable[[str], None], command: Sequence[str] = FAR
    ) -> None:
        self._version, self._secret, self._tell, self._command = version, secret, tell, command
        self._occupation = Occupation()
        self._strangers: dict[trio.CancelScope, None] = {}  # in the order in which they came

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection, from its first byte to its last."""
        async with stream:
            channel = await self._admitted(stream)
            if channel is None:
                return
            try:
                async with child(self._command) as process:
                    await _passed_on(stream, channel.unread, process)
            finally:
                self._occupation.leave()
                if not self._occupation.connections:
                    self._tell("free again")

    async def _admitted(self, stream: trio.SocketStream) -> MessageChannel[Introduction] | None:
        channel: MessageChannel[Introduction] = MessageChannel(stream, stream, Introduction, SHORT)
        if len(self._strangers) >= STRANGERS:
            first = next(iter(self._strangers))
            del self._strangers[first]
            first.cancel()
        scope = trio.CancelScope(deadline=trio.current_time() + FIRST_WORD)
        self._strangers[scope] = None
        try:
            with scope, contextlib.suppress(PeerGone, NotAMessage):
                return await self._met(channel)
        finally:
            self._strangers.pop(scope, None)
        return None

    async def _met(self, channel: MessageChannel[Introduction]) -> MessageChannel[Introduction] | None:
        commanded = Commanded(self._version, self._secret)
        await channel.send(commanded.challenge)
        said = await channel.receive()
        try:
            proof = commanded.check(said)
            self._occupation.enter(said.commander)
        except NoAdmission as error:
            self._tell(f"sent away: {plain_text(str(error))}")  # it may repeat what anybody says
            await channel.send(SentAway(str(error)))
            return None
        try:
            await channel.send(Welcome(proof))
        except BaseException:
            self._occupation.leave()
            raise
        if self._occupation.connections == 1:
            self._tell("at work")
        return channel


async def _passed_on(stream: trio.SocketStream, unread: bytes, process: trio.Process) -> None:
    """Pass on what both sides say until one of them ends."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await process.stdin.send_all(unread)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_copied, stream, process.stdin, QUIET, nursery.cancel_scope)
        nursery.start_soon(_copied, process.stdout, stream, float("inf"), nursery.cancel_scope)


async def _copied(
    source: trio.abc.ReceiveStream, sink: trio.abc.SendStream, quiet: float, both: trio.CancelScope
) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
        while True:
            with trio.fail_after(quiet):
                data = await source.receive_some(READ)
            if not data:
                break
            await sink.send_all(data)
    both.cancel()
