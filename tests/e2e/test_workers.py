"""Tests of ``serve --workers``: several processes share a socket, dead ones are replaced, and one signal ends all."""

import errno
import os
import signal
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from gateway.processes.binding import bind
from gateway.processes.supervisor import supervise
from tests.support.command_line import Started, running_command
from tests.support.harness import START_SECONDS, STOP_SECONDS, Wire, eventually, post, request
from tests.support.processes import is_running, peers, workers
from tests.support.upstreams import Script, fake_upstream

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="children are found in Linux's /proc"),
]

ASKED = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def upstream():
    with fake_upstream(Script("Hi")) as answering:
        yield answering


@pytest.fixture
def crew(tmp_path, upstream):
    (tmp_path / "trigate.yaml").write_text(
        f"version: v0.3.0\nmodel_providers: [{{model: x/m, base_url: '{upstream.url}/v1'}}]\n"
    )
    (tmp_path / "gateway").mkdir()  # workers must not import this package in their current directory
    (tmp_path / "gateway" / "__main__.py").write_text("raise SystemExit('the wrong gateway')")
    with running_command("serve", "--workers", "2", "--port", "0", cwd=tmp_path) as process:
        eventually(
            lambda: len(crew_of(process)) == 2 and answering(process) == 2, START_SECONDS, "two workers that answer"
        )
        yield process


def answering(process: Started) -> int:
    """Return the number of workers that responded on two new connections."""
    with Wire.connect(port(process)) as one, Wire.connect(port(process)) as two:
        for wire in (one, two):
            wire.send(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
            wire.read_until(b"ready")
        return len(holders(process, one, two))


def holders(process: Started, *wires: Wire) -> set[int]:
    """Return the workers that have the other ends of ``wires``."""
    ours = {wire.sock.getsockname()[1] for wire in wires}
    return {pid for pid in crew_of(process) if peers(pid, port(process)) & ours}


def crew_of(process: Started) -> set[int]:
    return workers(process.process.pid)


def port(process: Started) -> int:
    return int(process.url.rpartition(":")[2])


def test_two_processes_answer_and_a_dead_one_is_replaced(crew):
    before = crew_of(crew)
    seen: set[int] = set()

    def two_have_answered() -> bool:
        with Wire.connect(port(crew)) as wire:
            wire.send(post("/v1/chat/completions", ASKED))
            assert b" 200 " in wire.read_until(b"Hi")
            seen.update(holders(crew, wire))
        return len(seen) == 2

    eventually(two_have_answered, START_SECONDS, "answers from two processes")
    assert seen == before
    assert crew.process.pid not in seen

    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: victim not in crew_of(crew) and len(crew_of(crew)) == 2, START_SECONDS, "a new worker")
    assert request(crew.url, "POST", "/v1/chat/completions", ASKED).status == 200
    assert before - {victim} <= crew_of(crew)
    eventually(lambda: any(f"worker {victim} ended with status -9" in line for line in crew.log))


def test_workers_whose_supervisor_is_killed_while_they_start_end(crew):
    """They served forever, because they had never seen their supervisor."""
    before = crew_of(crew)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    new = eventually(lambda: len(found := crew_of(crew) - before) == 2 and found, START_SECONDS, "new workers")
    crew.process.kill()
    crew.process.wait()
    try:
        eventually(lambda: not any(map(is_running, new)), START_SECONDS, "the end of the new workers")
    finally:
        for pid in filter(is_running, new):
            os.kill(pid, signal.SIGKILL)


# The supervisor, with a worker that only waits

WORKER = [sys.executable, "-c", "import time; time.sleep(60)"]


async def test_a_worker_that_starts_during_the_signal_ends_with_the_others(monkeypatch):
    start = trio.lowlevel.open_process

    async def signal_and_start(*args, **more):
        signal.raise_signal(signal.SIGTERM)
        await trio.testing.wait_all_tasks_blocked(0.05)
        return await start(*args, **more)

    monkeypatch.setattr(trio.lowlevel, "open_process", signal_and_start)
    with bind("127.0.0.1", 0) as sock, trio.fail_after(START_SECONDS):
        assert await supervise(WORKER, [sock], 2, drain=5) == 0


async def test_a_failed_start_of_a_worker_is_retried_and_ends_no_other(monkeypatch, caplog):
    start = trio.lowlevel.open_process
    begun: list[trio.Process] = []

    async def scarce(*args, **more):
        if len(begun) == 2 and "could not start a worker" not in caplog.text:
            raise OSError(errno.EAGAIN, "no more processes")
        begun.append(await start(*args, **more))
        return begun[-1]

    monkeypatch.setattr(trio.lowlevel, "open_process", scarce)
    with bind("127.0.0.1", 0) as sock, trio.fail_after(START_SECONDS):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervise, WORKER, [sock], 2, 5)
            while len(begun) < 2:  # noqa: ASYNC110  # another process sets no event
                await trio.sleep(0.01)
            begun[0].kill()
            while len(begun) < 3:  # noqa: ASYNC110
                await trio.sleep(0.01)
            assert begun[1].returncode is None
            signal.raise_signal(signal.SIGTERM)
    assert "could not start a worker: [Errno 11] no more processes" in caplog.text


def test_workers_end_after_their_supervisor_was_killed(crew):
    """No other process would stop or replace these workers."""
    orphans = crew_of(crew)
    crew.process.kill()
    crew.process.wait()
    try:
        eventually(lambda: not any(map(is_running, orphans)), STOP_SECONDS, "the end of the workers")
    finally:
        for pid in filter(is_running, orphans):  # otherwise, the fixture would wait for the end of their pipes
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: any("the supervisor has exited" in line for line in list(crew.log)), what="what they say of it")
