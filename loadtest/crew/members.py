"""The child processes of one load, as the leading process has them."""

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any, Final, NoReturn

import attrs
import trio

from loadtest.crew.channel import MessageChannel, Order, PeerGone

SILENT: Final = 15.0
"""Seconds without a report after which a process counts as lost: it sends one each second."""

COMMAND: Final = (sys.executable, "-m", "loadtest.crew.worker")
PATIENCE: Final = 2.0
"""Seconds in which a process may end on its own after its standard input has ended."""


class NoCrew(Exception):
    """The processes cannot make the load together; the message says which one failed, and why."""


@attrs.frozen(eq=False)
class CrewMember:
    """One process that makes load."""

    name: str
    channel: MessageChannel

    async def order(self, order: Order) -> None:
        """Raises ``NoCrew``."""
        try:
            await self.channel.send(order)
        except PeerGone:
            self.fail("it is gone")

    async def report(self, within: float = SILENT) -> Any:
        """Return its next report. Raises ``NoCrew``."""
        try:
            with trio.fail_after(within):
                return await self.channel.receive()
        except PeerGone:
            self.fail("it is gone")
        except trio.TooSlowError:
            self.fail(f"it has said nothing for {within:.0f} s")

    def fail(self, why: str) -> NoReturn:
        """Raises ``NoCrew``."""
        raise NoCrew(f"{self.name}: {why}")


@contextlib.asynccontextmanager
async def crew(processes: int) -> AsyncIterator[list[CrewMember]]:
    """Run so many processes of this machine until the end of the block."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(_started(f"process {1 + number}")) for number in range(processes)]


@contextlib.asynccontextmanager
async def _started(name: str) -> AsyncIterator[CrewMember]:
    """Run one process. It ends when its standard input ends, so also if this process is killed."""
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
