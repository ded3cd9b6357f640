"""Child processes that make a load, and the messages between them and the leading process.

Messages are pickled, each after its length: both ends belong to one command, and no other process can write to their
pipes. Only ``Prepare`` carries the keys and headers of a plan, so they appear in no argument or environment. Times are
seconds of ``time.monotonic()``, which all processes of a machine share.
"""

import contextlib
import pickle
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final, Literal, NoReturn, TypeAlias

import attrs
import trio

from loadtest.exchange.record import ExchangeRecord
from loadtest.figures.run_figures import RunFigures
from loadtest.plan.scenario import Scenario
from loadtest.plan.shares import PlanShare
from loadtest.run.overhead import SelfTest
from loadtest.run.under_way import UnfinishedAnswers

Wanted: TypeAlias = Literal["figures", "records", "bodies"]
"""The reports that a child sends during the load: its figures, also the record of each exchange, or also each body."""


# To a child


@attrs.frozen
class Prepare:
    """The order to get ready for a share of the load on one target."""

    plan: Scenario
    target: str
    key: str | None = attrs.field(repr=False)
    share: PlanShare
    wanted: Wanted
    self_test: bool


@attrs.frozen
class Begin:
    """The order to begin the prepared share at this time."""

    at: float


@attrs.frozen
class Halt:
    """The order to end the load immediately. ``reason`` is for people; "" means Ctrl-C."""

    reason: str


@attrs.frozen
class BeginNoMore:
    """The order to begin no more requests and to wait for the requests under way."""

    reason: str


Order: TypeAlias = Prepare | Begin | Halt | BeginNoMore


# From a child


@attrs.frozen
class ShareReady:
    """The report that the share can begin, with the child's self-test if ordered."""

    self_test: SelfTest | None = None


@attrs.frozen
class ShareFailed:
    """The report that the child cannot make the load, or cannot continue it."""

    reason: str


@attrs.frozen
class ShareBegun:
    """The report that the share began at this time."""

    at: float


@attrs.frozen
class Progress:
    """The state of the share. ``figures`` cover the time since the previous ``Progress``."""

    figures: RunFigures
    in_flight: int
    in_judging: int
    unfinished: UnfinishedAnswers = attrs.field(factory=UnfinishedAnswers)


@attrs.frozen
class CrewFinished:
    """The report that the share is over.

    ``figures`` cover the time since the last ``Progress``; ``cpu`` is the part of a core that the child used.
    """

    figures: RunFigures
    cpu: float


@attrs.frozen
class RecordRow:
    """One exchange that ended: its record, the objectives that it missed, and the body if the order wants it."""

    record: ExchangeRecord
    missed: Sequence[str]
    body: bytes


@attrs.frozen
class Records:
    """The exchanges that ended since the previous ``Records``. ``dropped`` counts those that did not fit."""

    rows: Sequence[RecordRow]
    dropped: int = 0


Report: TypeAlias = ShareReady | ShareFailed | ShareBegun | Progress | Records | CrewFinished


# The pipes

_LENGTH: Final = struct.Struct("<Q")
_READ: Final = 65536


class PeerGone(Exception):
    """The other process has ended."""


class MessageChannel:
    """Messages to and from another process. Many tasks may send; one task receives."""

    def __init__(self, reader: trio.abc.ReceiveStream, writer: trio.abc.SendStream) -> None:
        self.reader, self.writer = reader, writer
        self._held = bytearray()
        self._sending = trio.Lock()

    async def send(self, message: Order | Report) -> None:
        """Send a message. Raises ``PeerGone``."""
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        async with self._sending:
            try:
                await self.writer.send_all(_LENGTH.pack(len(data)) + data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise PeerGone from error

    async def receive(self) -> Any:
        """Return the next message. Raises ``PeerGone`` at the end."""
        (length,) = _LENGTH.unpack(await self._read_bytes(_LENGTH.size))
        return pickle.loads(await self._read_bytes(length))

    async def _read_bytes(self, count: int) -> bytes:
        while len(self._held) < count:
            try:
                data = await self.reader.receive_some(_READ)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise PeerGone from error
            if not data:
                raise PeerGone
            self._held += data
        found = bytes(self._held[:count])
        del self._held[:count]
        return found

    async def aclose(self) -> None:
        """Close both directions immediately."""
        await trio.aclose_forcefully(self.writer)
        await trio.aclose_forcefully(self.reader)


SILENT: Final = 15.0
"""Seconds without a report until a process counts as lost. It sends one each second."""

COMMAND: Final = (sys.executable, "-m", "loadtest.crew.worker")
PATIENCE: Final = 2.0
"""Seconds that a process has to end after its standard input ends."""


class CrewFailed(Exception):
    """The processes cannot make the load together. The message names the process that failed and the reason."""


@attrs.frozen(eq=False)
class CrewMember:
    """One process that makes load."""

    name: str
    channel: MessageChannel

    async def order(self, order: Order) -> None:
        """Send an order. Raises ``CrewFailed``."""
        try:
            await self.channel.send(order)
        except PeerGone:
            self.fail("it has exited")

    async def report(self, within: float = SILENT) -> Any:
        """Return the next report of the process. Raises ``CrewFailed``."""
        try:
            with trio.fail_after(within):
                return await self.channel.receive()
        except PeerGone:
            self.fail("it has exited")
        except trio.TooSlowError:
            self.fail(f"it has not responded for {within:.0f} s")

    def fail(self, why: str) -> NoReturn:
        """Raise ``CrewFailed`` with the name of the process."""
        raise CrewFailed(f"{self.name}: {why}")


@contextlib.asynccontextmanager
async def crew(processes: int) -> AsyncIterator[list[CrewMember]]:
    """Run ``processes`` child processes until the end of the block."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(_run_member(f"process {1 + number}")) for number in range(processes)]


@contextlib.asynccontextmanager
async def _run_member(name: str) -> AsyncIterator[CrewMember]:
    """Run one process. It ends with its standard input, so it also ends if this process is killed."""
    process = await trio.lowlevel.open_process(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield CrewMember(name, MessageChannel(process.stdout, process.stdin))
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()  # noqa: ASYNC102  # the process is killed soon
            with trio.move_on_after(PATIENCE):
                await process.wait()  # noqa: ASYNC102
            if process.returncode is None:
                process.kill()
            await process.wait()  # noqa: ASYNC102
            await process.stdout.aclose()  # noqa: ASYNC102
