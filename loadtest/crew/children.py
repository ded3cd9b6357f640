"""A process of this machine that makes load, at the other end of two pipes."""

import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Final

import trio

COMMAND: Final = (sys.executable, "-m", "loadtest.crew.worker")
FAR: Final = (*COMMAND, "--far")  # for a plan of another machine: it reads no file of this one
PATIENCE: Final = 2.0  # seconds in which a process may end by itself, once its standard input has


@contextlib.asynccontextmanager
async def child(command: Sequence[str] = COMMAND) -> AsyncIterator[trio.Process]:
    """One process, until the end of the block. It ends by itself when its standard input does, so also if this process
    is killed. It is sent everything over that: its arguments and its environment hold nothing of the load."""
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True):
            await ended(process)  # noqa: ASYNC102  # it is killed soon


async def ended(process: trio.Process) -> None:
    """Close its standard input, and see that it ends."""
    assert process.stdin is not None
    assert process.stdout is not None
    await process.stdin.aclose()
    with trio.move_on_after(PATIENCE):
        await process.wait()
    if process.returncode is None:
        process.kill()
    await process.wait()
    await process.stdout.aclose()
