"""Tests of the end of ``serve --workers 2`` while clients do not read and providers are silent: one signal ends all
streams in time with an error, a second signal ends everything immediately, and no process remains."""

import contextlib
import json
import os
import signal
import socket
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import yaml

from gateway.serving.lifecycle import CUT_AFTER
from tests.support.apis import OLDER, VENDORS, question
from tests.support.command_line import Started, running_command
from tests.support.harness import START_SECONDS, STOP_SECONDS, Listening, Wire, config, eventually, post, provider
from tests.support.processes import is_running, peers, pending, process_state, stop, workers
from tests.support.raw_call import SUCCESS, send_until_full
from tests.support.upstreams import PATHS, Script, render

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at processes in Linux's /proc"),
]

PAIRS = [(api, model_api) for api in OLDER for model_api in OLDER]
ERROR = {"chat": b'data: {"error":', "messages": b"event: error\n", "responses": b"event: response.failed\n"}
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
LARGE = "x" * 30_000
CREW = 2
DRAIN = 0.5


@attrs.frozen
class Call:
    """The client's and the provider's end of a request."""

    id: str
    api: str
    client: Wire
    provider_end: Wire


class Calls:
    """Requests to one gateway; the test itself answers as the provider."""

    def __init__(self, program: Started, upstream: Listening, stack: contextlib.ExitStack) -> None:
        self.program = program
        self.port = int(program.url.rpartition(":")[2])
        self._upstream = upstream
        self._stack = stack
        self.all: list[Call] = []

    def ask(self, api: str, model_api: str, stream: bool = True, room: int | None = None) -> Call:
        """Start a request; ``room`` is the size of the client's receive buffer."""
        id = f"call-{len(self.all)}"
        client = self._stack.enter_context(connect_with_buffer(self.port, room))
        client.send(post(PATHS[api], question(api, f"on-{model_api}", stream=stream), {"x-request-id": id}))
        provider_end = self._stack.enter_context(self._upstream.accept())
        provider_end.read_request()
        self.all.append(Call(id, api, client, provider_end))
        return self.all[-1]

    def silent_providers(self) -> list[Call]:
        """Start calls whose providers have not answered, as streams and whole answers."""
        return [self.ask(api, "chat", stream) for api in OLDER for stream in (True, False)]

    def stalled_providers(self) -> list[Call]:
        """Start calls in both lanes whose providers fall silent in mid-answer."""
        calls = [(self.ask(*pair), pair[1]) for pair in PAIRS]
        for call, model_api in calls:
            call.provider_end.send(SSE + b"".join(map(chunk, opening(model_api, "one two three"))))
            call.client.read_until(b"one")
        return [call for call, _ in calls]

    def stalled_clients(self) -> list[Call]:
        """Start calls in both lanes whose clients stop reading, and fill all buffers."""
        calls = [(self.ask(*pair, room=4096), pair[1]) for pair in PAIRS]
        waiting = {}
        for call, model_api in calls:
            *begin, piece = opening(model_api, LARGE)
            call.provider_end.send(SSE + b"".join(map(chunk, [*begin, piece])))
            call.client.read_until(b"xxx")
            waiting[call.provider_end.sock] = chunk(piece)
        send_until_full(waiting, self.wait_until_idle)
        return [call for call, _ in calls]

    def wait_until_idle(self) -> None:
        """Wait until the workers have nothing to do."""
        eventually(lambda: all(process_state(pid) == "S" for pid in self.crew()), what="rest")

    def reach_all_workers(self) -> list[Call]:
        """Start calls with silent providers until every worker has a stream, and return them."""
        more: list[Call] = []
        while not all(peers(pid, self.port) for pid in self.crew()):
            assert len(more) < 200
            more.append(self.ask("chat", "chat"))
        return more

    def signal(self, number: int) -> None:
        self.program.process.send_signal(number)

    def crew(self) -> set[int]:
        return workers(self.program.process.pid)

    def ends(self) -> dict[str, list[str]]:
        """Return the end of each exchange in the ledger's lines, by its id."""
        found = defaultdict(list)
        for line in self.program.log:
            if line.startswith('{"event":"exchange"'):
                entry = json.loads(line)
                found[entry["request_id"]].append(entry["ended"])
        return found


def connect_with_buffer(port: int, room: int | None) -> Wire:
    sock = socket.socket()
    if room is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
    sock.connect(("127.0.0.1", port))
    return Wire(sock)


def opening(api: str, text: str) -> list[bytes]:
    """Return the pieces of an answer up to its first words."""
    said = list(render(Script(text=text), api, {"stream": True, "model": "up"}).pieces)
    first = next(i for i, piece in enumerate(said) if text[: len(text) // 3].encode() in piece)
    return said[: first + 1]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@contextlib.contextmanager
def serving(tmp_path: Path, drain: float) -> Iterator[Calls]:
    """Run two workers until both respond; at the end, check that no process and no error remains."""
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(Listening())
        entries = [provider(f"{VENDORS[api]}/on-{api}", upstream.url, [api]) for api in OLDER]
        (tmp_path / "trigate.yaml").write_text(yaml.safe_dump(config(entries, 12000, drain=drain)))
        program = stack.enter_context(running_command("serve", "--port", "0", "--workers", str(CREW), cwd=tmp_path))
        calls = Calls(program, upstream, stack)
        eventually(lambda: answering(calls) == CREW, START_SECONDS, "workers that answer")
        crew = calls.crew()
        yield calls
        assert not any(map(is_running, crew))
    assert "Traceback" not in "\n".join(program.log)


def answering(calls: Calls) -> int:
    """Return the number of workers that responded on one of a few connections."""
    with contextlib.ExitStack() as stack:
        for _ in range(2 * CREW):
            wire = stack.enter_context(Wire.connect(calls.port))
            wire.send(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
            wire.read_until(b"ready")
        return sum(bool(peers(pid, calls.port)) for pid in calls.crew())


def check_reported_end(call: Call) -> None:
    """Check that the client's answer is valid HTTP, and reports in the form of its API that it is incomplete."""
    head, _, body = call.client.read_to_end().partition(b"\r\n\r\n")
    assert b"shutting down" in body
    assert SUCCESS[call.api] not in body
    if head.startswith(b"HTTP/1.1 503"):
        assert b"\r\nretry-after: 1" in head.lower()
        assert b"one" not in body
    else:
        assert head.startswith(b"HTTP/1.1 200")
        assert body.count(ERROR[call.api]) == 1
        assert body.endswith(END)


def check_cut_end(call: Call) -> None:
    """Check that the client's answer is incomplete in its API and in HTTP."""
    body = call.client.read_to_end()
    assert SUCCESS[call.api] not in body
    assert not body.endswith(END)


def test_one_signal_ends_all_stalled_calls_in_time_with_an_error(tmp_path):
    with serving(tmp_path, DRAIN) as calls:
        told = [*calls.silent_providers(), *calls.stalled_providers()]
        stalled = calls.stalled_clients()
        told += calls.reach_all_workers()
        begun = time.monotonic()
        calls.signal(signal.SIGTERM)
        for call in told:
            check_reported_end(call)
        assert calls.program.process.wait(STOP_SECONDS) == 0, "a worker that must be killed makes it 1"
        assert time.monotonic() - begun > DRAIN + CUT_AFTER - 0.1, "those who do not read were given their time"
        for call in stalled:
            check_cut_end(call)
    assert calls.ends() == {call.id: ["shutdown"] for call in calls.all}


def test_a_second_signal_ends_all_stalled_calls_immediately(tmp_path):
    number = signal.SIGINT  # the next test sends the other
    with serving(tmp_path, 30) as calls:
        calls.silent_providers()
        calls.stalled_providers()
        stalled = calls.stalled_clients()
        calls.signal(number)
        eventually(lambda: sum("draining" in line for line in calls.program.log) == CREW, what="the drain")
        calls.signal(number)
        assert calls.program.process.wait(STOP_SECONDS) == 128 + number
        for call in stalled:
            check_cut_end(call)
    assert Counter({id: len(lines) for id, lines in calls.ends().items()}) == Counter(call.id for call in calls.all)


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
        assert calls.program.process.wait(STOP_SECONDS) == 128 + signal.SIGTERM
    assert Counter({id: len(lines) for id, lines in calls.ends().items()}) == Counter(call.id for call in calls.all)
