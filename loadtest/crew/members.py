"""The processes of one load, as the commanding process has them."""

import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, NoReturn

import attrs
import trio

import gateway
from loadtest.crew.channel import MessageChannel, PeerGone
from loadtest.crew.children import child
from loadtest.crew.clocks import ROUNDS, ClockOffset, ClockReading
from loadtest.crew.handshake import Commander, NoAdmission
from loadtest.crew.messages import (
    SHORT,
    Challenge,
    ClockAnswer,
    ClockQuestion,
    NotAMessage,
    Order,
    Report,
    SentAway,
    Welcome,
)
from loadtest.crew.worker_port import PATIENCE, QUIET
from loadtest.exchange.plain_text import plain_text

SILENT: Final = 15.0
"""Seconds without a word, after which a process is taken for lost: it says something each second."""


class NoCrew(Exception):
    """The load cannot be made by these processes together; the message says which of them, and why."""


@attrs.define(eq=False)
class CrewMember:
    """One process that makes load; ``remote`` if it is not of this machine."""

    name: str
    channel: MessageChannel[Report]
    remote: bool = False
    offset: ClockOffset = attrs.field(factory=lambda: ClockOffset(0.0, 0.0))

    async def order(self, order: Order) -> None:
        """Raises ``NoCrew``."""
        try:
            await self.channel.send(order)
        except PeerGone:
            self.fail("it is gone")
        except NotAMessage as error:
            self.fail(str(error))

    async def report(self, within: float = SILENT) -> Report:
        """What it says next but for the time, which it is asked now and then. Raises ``NoCrew``."""
        return await self._said(within, lambda said: not isinstance(said, ClockAnswer))

    async def _said(self, within: float, wanted: Callable[[Report], bool]) -> Report:
        try:
            with trio.fail_after(within):
                while not wanted(said := await self.channel.receive()):
                    continue
                return said
        except PeerGone:
            self.fail("it is gone")
        except trio.TooSlowError:
            self.fail(f"it has said nothing for {within:.0f} s")
        except NotAMessage as error:
            self.fail(str(error))

    async def show_life(self) -> None:
        """Say something now and then, until cancelled: a worker on another machine takes silence for the end."""
        while True:
            await trio.sleep(QUIET / 6)
            with contextlib.suppress(NoCrew):  # whoever waits for its reports hears of it
                await self.order(ClockQuestion(0))

    async def set_clock(self) -> None:
        """Measure how far its clock is ahead. Raises ``NoCrew``."""
        readings: list[ClockReading] = []
        for number in range(1, ROUNDS + 1):
            asked = trio.current_time()
            await self.order(ClockQuestion(number))
            answer = await self._time(number)
            readings.append(ClockReading(asked, answer, trio.current_time()))
        self.offset = ClockOffset.of(readings)

    async def _time(self, number: int) -> float:
        """The answer to that question; others are of an earlier load, or no more than signs of life."""
        said = await self._said(SILENT, lambda said: isinstance(said, ClockAnswer) and said.number == number)
        assert isinstance(said, ClockAnswer)
        return said.now

    def fail(self, why: str) -> NoReturn:
        """Raises ``NoCrew``."""
        raise NoCrew(f"{self.name}: {plain_text(why)}")


@contextlib.asynccontextmanager
async def crew(
    processes: int, workers: Sequence[str] = (), secret: str | None = None
) -> AsyncIterator[list[CrewMember]]:
    """So many processes of this machine, or of each of the ``workers`` (``host:port``), until the end of the block.
    Raises ``NoCrew``."""
    commander = secrets.token_hex(16)
    async with contextlib.AsyncExitStack() as stack:
        members: list[CrewMember] = []
        for worker in workers or ("",):
            for number in range(1, processes + 1):
                name = " ".join(filter(None, (worker, f"process {number}" if processes > 1 or not worker else "")))
                made = _connected(name, worker, commander, secret) if worker else _started(name)
                members.append(await stack.enter_async_context(made))
        yield members


@contextlib.asynccontextmanager
async def _started(name: str) -> AsyncIterator[CrewMember]:
    async with child() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield CrewMember(name, MessageChannel(process.stdout, process.stdin, Report))


def _why(error: Exception) -> str:
    """Why there was no connection, in the words of the system."""
    if not isinstance(error, OSError):
        return "no answer"
    tries = error.__cause__
    first = tries.exceptions[0] if isinstance(tries, BaseExceptionGroup) else tries or error
    number = (isinstance(first, OSError) and first.errno) or 0
    return os.strerror(number).lower() if number > 0 else str(first)


@contextlib.asynccontextmanager
async def _connected(name: str, address: str, commander: str, secret: str | None) -> AsyncIterator[CrewMember]:
    host, _, port = address.rpartition(":")
    try:
        with trio.fail_after(PATIENCE):
            stream = await trio.open_tcp_stream(host.strip("[]"), int(port))
    except (OSError, trio.TooSlowError, ValueError) as error:
        raise NoCrew(f"{name}: no worker there ({_why(error)}): is `trigate load worker` running?") from error
    try:
        await _introduced(name, stream, Commander(gateway.__version__, commander, secret))
        yield CrewMember(name, MessageChannel(stream, stream, Report), remote=True)
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)


async def _introduced(name: str, stream: trio.SocketStream, commander: Commander) -> None:
    """Raises ``NoCrew``."""
    channel: MessageChannel[Challenge | Welcome | SentAway] = MessageChannel(
        stream, stream, Challenge | Welcome | SentAway, SHORT
    )
    try:
        with trio.fail_after(PATIENCE):
            challenge = await channel.receive()
            if not isinstance(challenge, Challenge):
                raise NotAMessage
            await channel.send(commander.introduction(challenge))
            said = await channel.receive()
    except (PeerGone, NotAMessage, trio.TooSlowError) as error:
        raise NoCrew(f"{name}: this is not a port of trigate load worker") from error
    except NoAdmission as error:
        raise NoCrew(f"{name}: {plain_text(str(error))}") from error
    if isinstance(said, SentAway):
        raise NoCrew(f"{name}: {plain_text(said.reason)}")
    try:
        commander.check(challenge, said.proof if isinstance(said, Welcome) else b"")
    except NoAdmission as error:
        raise NoCrew(f"{name}: {error}") from error
