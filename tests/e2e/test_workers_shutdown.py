"""Tests of the end of ``serve --workers 2`` while clients do not read and providers are silent: one signal ends all
streams in time with an error, a second signal ends everything immediately, and no process remains."""

import contextlib
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest
import yaml

from gateway.serving.lifecycle import CUT_AFTER
from tests.support.apis import OLDER
from tests.support.command_line import running_command
from tests.support.harness import START_SECONDS, STOP_SECONDS, Gateway, Listening, Wire, eventually, exchanges
from tests.support.processes import is_running, peers, pending, process_state, stop, workers
from tests.support.raw_call import (
    END,
    SUCCESS,
    Call,
    answer_stream,
    call,
    chunks,
    connect_with_small_buffer,
    send_until_full,
    settings,
)
from tests.support.streams_page import Cell

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in Linux's /proc"),
]

PAIRS = [(api, model_api) for api in OLDER for model_api in OLDER]
ERROR = {"chat": b'data: {"error":', "messages": b"event: error\n", "responses": b"event: response.failed\n"}
CREW = 2
DRAIN = 0.5


@attrs.frozen
class Calls:
    """Calls through one gateway with several workers; the test itself answers as the provider."""

    gateway: Gateway
    wait: Callable[[], int]
    """Waits for the end of the supervisor, and returns its status."""
    upstream: Listening
    stack: contextlib.ExitStack
    all: list[Call] = attrs.field(factory=list)

    def ask(self, api: str, model_api: str, stream: bool = True, connect: Callable[[int], Wire] = Wire.connect) -> Call:
        cell = Cell(api, model_api, stream, "", "", "")
        self.all.append(self.stack.enter_context(call(self.gateway, self.upstream, cell, connect)))
        return self.all[-1]

    def silent_providers(self) -> list[Call]:
        """Start calls whose providers have not answered, as streams and whole answers."""
        return [self.ask(api, "chat", stream) for api in OLDER for stream in (True, False)]

    def stalled_providers(self, connect: Callable[[int], Wire] = Wire.connect) -> list[Call]:
        """Start calls in both lanes whose providers fall silent in mid-answer."""
        calls = [self.ask(*pair, connect=connect) for pair in PAIRS]
        for one in calls:
            one.up.send(answer_stream(one.cell.model_api).half)
            one.client.read_until(b"one t")
        return calls

    def stalled_clients(self) -> list[Call]:
        """Start calls in both lanes whose clients stop reading, and fill all buffers."""
        calls = self.stalled_providers(connect_with_small_buffer)
        words = {one.up.sock: chunks(*[answer_stream(one.cell.model_api).first] * 500) for one in calls}
        send_until_full(words, self.wait_until_idle)
        return calls

    def wait_until_idle(self) -> None:
        """Wait until the workers have nothing to do."""
        eventually(lambda: all(process_state(pid) == "S" for pid in self.crew()), what="rest")

    def reach_all_workers(self) -> list[Call]:
        """Start calls with silent providers until every worker has a stream, and return them."""
        more: list[Call] = []
        while not all(peers(pid, self.gateway.port) for pid in self.crew()):
            assert len(more) < 200
            more.append(self.ask("chat", "chat"))
        return more

    def signal(self, number: int) -> None:
        os.kill(self.gateway.pid or 0, number)

    def crew(self) -> set[int]:
        return workers(self.gateway.pid or 0)

    def ends(self) -> dict[str, list[str]]:
        """Return the end of each exchange in the ledger's lines, by its id."""
        found = defaultdict(list)
        for line in exchanges(self.gateway.log):
            found[line["request_id"]].append(line["ended"])
        return found


@contextlib.contextmanager
def serving(tmp_path: Path, drain: float) -> Iterator[Calls]:
    """Run two workers until both respond; at the end, check that no process and no error remains."""
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(Listening())
        (tmp_path / "trigate.yaml").write_text(yaml.safe_dump(settings(upstream, 12000, drain=drain)))
        program = stack.enter_context(running_command("serve", "--port", "0", "--workers", str(CREW), cwd=tmp_path))
        gateway = Gateway(int(program.url.rpartition(":")[2]), program.process.pid, program.log)
        calls = Calls(gateway, lambda: program.process.wait(STOP_SECONDS), upstream, stack)
        eventually(lambda: answering(calls) == CREW, START_SECONDS, "workers that answer")
        crew = calls.crew()
        yield calls
        assert not any(map(is_running, crew))
    assert "Traceback" not in "\n".join(program.log)


def answering(calls: Calls) -> int:
    """Return the number of workers that responded on one of a few connections."""
    with contextlib.ExitStack() as stack:
        for _ in range(2 * CREW):
            wire = stack.enter_context(Wire.connect(calls.gateway.port))
            wire.send(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
            wire.read_until(b"ready")
        return sum(bool(peers(pid, calls.gateway.port)) for pid in calls.crew())


def check_reported_end(one: Call) -> None:
    """Check that the client's answer is valid HTTP, and reports in the form of its API that it is incomplete."""
    head, _, body = one.client.read_to_end().partition(b"\r\n\r\n")
    assert b"shutting down" in body
    assert SUCCESS[one.cell.api] not in body
    if head.startswith(b"HTTP/1.1 503"):
        assert b"\r\nretry-after: 1" in head.lower()
        assert b"one" not in body
    else:
        assert head.startswith(b"HTTP/1.1 200")
        assert body.count(ERROR[one.cell.api]) == 1
        assert body.endswith(END)


def check_cut_end(one: Call) -> None:
    """Check that the client's answer is incomplete in its API and in HTTP."""
    body = one.client.read_to_end()
    assert SUCCESS[one.cell.api] not in body
    assert not body.endswith(END)


def test_one_signal_ends_all_stalled_calls_in_time_with_an_error(tmp_path):
    with serving(tmp_path, DRAIN) as calls:
        told = [*calls.silent_providers(), *calls.stalled_providers()]
        stalled = calls.stalled_clients()
        told += calls.reach_all_workers()
        begun = time.monotonic()
        calls.signal(signal.SIGTERM)
        for one in told:
            check_reported_end(one)
        assert calls.wait() == 0, "a worker that must be killed makes it 1"
        assert time.monotonic() - begun > DRAIN + CUT_AFTER - 0.1, "those who do not read were given their time"
        for one in stalled:
            check_cut_end(one)
    assert calls.ends() == {one.id: ["shutdown"] for one in calls.all}


def test_a_second_signal_ends_all_stalled_calls_immediately(tmp_path):
    number = signal.SIGINT  # the next test sends the other
    with serving(tmp_path, 30) as calls:
        calls.silent_providers()
        calls.stalled_providers()
        stalled = calls.stalled_clients()
        calls.signal(number)
        eventually(lambda: sum("draining" in line for line in calls.gateway.log) == CREW, what="the drain")
        calls.signal(number)
        assert calls.wait() == 128 + number
        for one in stalled:
            check_cut_end(one)
    assert Counter({id: len(lines) for id, lines in calls.ends().items()}) == Counter(one.id for one in calls.all)


@pytest.mark.soak
def test_a_second_signal_right_after_the_first_is_not_lost(tmp_path):
    """The kernel merges a signal with an earlier one that a busy process has not handled yet."""
    with serving(tmp_path, 30) as calls:
        calls.stalled_providers()
        crew = calls.crew()
        for pid in crew:
            stop(pid)
        calls.signal(signal.SIGTERM)
        eventually(lambda: all(signal.SIGTERM in pending(pid) for pid in crew), what="the first signal")
        calls.signal(signal.SIGTERM)
        eventually(lambda: all(len(pending(pid)) == 2 for pid in crew), what="the second signal")
        for pid in crew:
            os.kill(pid, signal.SIGCONT)
        assert calls.wait() == 128 + signal.SIGTERM
    assert Counter({id: len(lines) for id, lines in calls.ends().items()}) == Counter(one.id for one in calls.all)
