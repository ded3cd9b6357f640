"""One load by processes that are some: they are killed, interrupted, and left behind."""

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest
import trio

from loadtest.crew.channel import crew
from loadtest.crew.shared_run import SharedRun
from tests.support.command_line import COMMAND, environment
from tests.support.harness import eventually
from tests.support.load_servers import answer, scenario, serving
from tests.support.processes import is_running

pytestmark = pytest.mark.process

KEY = "sk-only-over-the-pipe"


def children(pid: int) -> set[int]:
    """Return the processes that make load for another."""
    found = (file.read_text().split() for file in Path(f"/proc/{pid}/task").glob("*/children"))
    return {int(child) for numbers in found for child in numbers if "crew.worker" in shown(int(child), "cmdline")}


def shown(pid: int, what: str) -> str:
    """Return a file of a process, "" if it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes().decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


async def test_one_is_killed_and_the_others_continue(monkeypatch):
    """Its share is lost, nobody hangs, and no key is where other users of the machine may see it."""
    monkeypatch.setattr("loadtest.crew.shared_run.SOON", 0.05)
    answered = trio.Event()
    pids: set[int] = set()

    async def serve(stream, head):
        await answer(stream, "one", " two")
        if KEY.encode() in head:
            answered.set()

    async with serving(serve) as url:
        with trio.fail_after(60):
            async with crew(2) as members, trio.open_nursery() as nursery:
                run = SharedRun(members, scenario(url, rate=40, seconds=2), "", KEY)

                async def kill():
                    await answered.wait()
                    pids.update(children(os.getpid()))
                    assert all(shown(pid, "environ") for pid in pids)
                    assert all(KEY not in shown(pid, "cmdline") + shown(pid, "environ") for pid in pids)
                    for pid in pids:
                        os.kill(pid, signal.SIGINT)  # as Ctrl-C in a terminal does to all of its processes
                    os.kill(max(pids), signal.SIGKILL)

                nursery.start_soon(kill)
                result = await run.run()
    counts = result.tally.counts
    assert len(pids) == 2
    (lost,) = result.overhead.lost
    assert re.fullmatch(r"process [12]: it has exited, .* after the start; its unreported results are lost", lost)
    assert counts["whole"] + counts["lost"] == 80, (counts, result.tally.failures)
    assert 40 <= counts["whole"] < 80
    assert not any(map(is_running, pids))


def test_they_end_with_the_process_that_commands_them():
    """However that ends: else they would load on, and nobody would know."""
    command = [*COMMAND, "load", "http://127.0.0.1:9", "--model", "m", "--rate", "1", "--processes", "2"]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: len(children(process.pid)) == 2, what="two processes")
        pids = children(process.pid)
    finally:
        process.kill()
        process.wait()
    eventually(lambda: not any(map(is_running, pids)), what="their end")
