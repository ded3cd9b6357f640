"""Signals and workers, in processes of their own."""

import os
import signal
import subprocess
import sys

import pytest
import trio

from tests.support.asgi_app import PATIENCE, Server, eventually_refused
from tests.support.repository import ROOT

END = b"0\r\n\r\n"


pytestmark = pytest.mark.process

PROGRAM = f"""
import os, signal, sys, time
sys.path[:0] = [{str(ROOT)!r}]
from functools import partial
import trio
from gateway.processes.binding import adopt, bind
from gateway.processes.supervisor import report_ready, supervise
from gateway.serving.worker import serve
from gateway.http.response import Response
from tests.support.asgi_app import HTML, Witness, make_app

signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGHUP}})  # as the command line does
role, options = sys.argv[1], sys.argv[2:]
drain = float(options[0])

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

async def work(sockets):
    witness = Witness()
    app = make_app(witness)

    async def pid(incoming):
        return Response(200, HTML, b"%d" % os.getpid())

    app.routes.add("/pid", pid, ("GET",))
    witness.lifecycle.on_flush(lambda: say("flushed"))
    def ready():
        say("ready", os.getpid())
        if "--ready" in options:
            report_ready(int(options[options.index("--ready") + 1]))

    if delay := float(os.environ.get("START_DELAY", "0")):
        say("starting", os.getpid())
        time.sleep(delay)  # as long as imports take on a slow machine
    reload = (lambda: say("reloaded", os.getpid())) if "--ready" in options else None
    await serve(app, sockets, state=witness.lifecycle, drain=drain, ready=ready, reload=reload)
    say("over", os.getpid())

if role == "supervise":
    sock = bind("127.0.0.1", 0)
    say("port", sock.getsockname()[1])
    async def reload():
        say("reloading")
        return True

    command = [sys.executable, __file__, "work", str(drain)]
    started = lambda: say("listening", os.getpid())
    sys.exit(trio.run(partial(supervise, command, [sock], 2, drain, reload=reload, ready=started)))
elif options[1:]:
    trio.run(work, [adopt(int(options[2]))])
else:
    sock = bind("127.0.0.1", 0)
    say("port", sock.getsockname()[1])
    trio.run(work, [sock])
"""


class Program:
    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._text = b""

    async def line(self, word: str) -> str:
        """Return the rest of the next line that begins with ``word``."""
        while True:
            found, _, rest = (await self._next_line()).partition(" ")
            if found == word:
                return rest

    async def next_word(self) -> str:
        """Return the first word of the next line."""
        return (await self._next_line()).partition(" ")[0]

    async def _next_line(self) -> str:
        with trio.fail_after(2 * PATIENCE):
            while b"\n" not in self._text:
                data = await self.process.stdout.receive_some()
                assert data, "the program ended before it said what was awaited"
                self._text += data
        line, _, self._text = self._text.partition(b"\n")
        return line.decode()


@pytest.fixture
async def run(tmp_path):
    """Return a function that starts the program above and connects a ``Server`` to it; the end kills all programs."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    begun = []

    async def run(role: str, drain: float) -> tuple[Program, Server]:
        command = [sys.executable, str(script), role, str(drain)]
        begun.append(await trio.lowlevel.open_process(command, stdout=subprocess.PIPE, process_group=0))
        program = Program(begun[-1])
        return program, Server(int(await program.line("port")))

    yield run
    for process in begun:
        if process.returncode is None:
            process.terminate()
            process.terminate()
            await process.wait()
        await process.stdout.aclose()


async def exit_status(program: Program) -> int:
    with trio.fail_after(PATIENCE):
        return await program.process.wait()


async def test_the_first_signal_drains_and_the_second_exits_immediately(run):
    number = signal.SIGINT  # SIGTERM does so in the supervisor's test below
    program, server = await run("serve", 30)
    await program.line("ready")
    async with server.connect() as client:
        await client.get("/stream")
        await client.until(b"first;")
        program.process.send_signal(number)
        await eventually_refused(server)
        assert program.process.returncode is None, "the stream is waited for"
        program.process.send_signal(number)
        await program.line("flushed")
        assert await exit_status(program) == 128 + number


@pytest.mark.soak
async def test_workers_share_a_socket_are_replaced_and_drain_together(run):
    program, server = await run("supervise", 0.5)
    first, second = int(await program.line("ready")), int(await program.line("ready"))
    assert first != second
    os.kill(first, signal.SIGKILL)
    third = int(await program.line("ready"))
    assert third not in (first, second)
    async with server.connect() as one, server.connect() as two:
        for client in (one, two):
            await client.get("/pump-stream")
            await client.until(b"first;")
        os.killpg(program.process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
        await eventually_refused(server)
        for client in (one, two):
            assert (await client.read_rest()).endswith(b"shutting down;\r\n" + END)
    assert {int(await program.line("over")), int(await program.line("over"))} == {second, third}
    assert await exit_status(program) == 0


@pytest.mark.soak
async def test_it_is_announced_once_a_worker_answers_and_a_reload_before_that_ends_none(run, monkeypatch):
    """SIGHUP ends a process that has no handler for it yet."""
    monkeypatch.setenv("START_DELAY", "1")
    program, server = await run("supervise", 0.5)
    assert [await program.next_word() for _ in range(2)] == ["starting", "starting"]
    program.process.send_signal(signal.SIGHUP)
    await program.line("reloading")
    found = [await program.next_word() for _ in range(5)]
    assert sorted(found) == ["listening", "ready", "ready", "reloaded", "reloaded"]
    assert found[0] == "ready"
    async with server.connect() as client:
        await client.get("/pid")
        await client.until(b"200")
    program.process.send_signal(signal.SIGHUP)
    await program.line("reloading")
    await program.line("reloaded")
    await program.line("reloaded")
    program.process.terminate()
    assert await exit_status(program) == 0
