"""What a request or a stream costs: CPU time of the gateway's processes, divided by what they served.

    python bench/run.py                      # the table of docs/performance.md
    python bench/run.py --growth             # how cost grows with events, their size, streams and workers
    python bench/run.py --peer 'NAME=COMMAND with {port} and {provider}'

Everything is on 127.0.0.1. On Linux the gateway has the first core for itself and the rest another, as far as nobody
else uses them: compare figures of one run only.
"""

import argparse
import contextlib
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
PEER = [sys.executable, str(HERE / "peer.py")]
OWN = f"trigate={sys.executable} -m gateway serve {{config}} --workers {{workers}}"
CONFIG = """
version: v0.3.0
listeners: [{{type: model, name: m, port: {port}}}]
model_providers: [{{model: mistral/m, access_key: sk-bench, base_url: "http://127.0.0.1:{provider}"}}]
"""
ENDS = {"/v1/chat/completions": "[DONE]", "/v1/messages": "message_stop", "/v1/responses": '"response.completed"'}
TICK = os.sysconf("SC_CLK_TCK")


class Case(NamedTuple):
    name: str
    path: str = "/v1/chat/completions"
    stream: bool = True
    events: int = 100
    gap: float = 0
    size: int = 4
    clients: int = 16
    tools: int = 0
    turns: int = 1
    workers: int = 1

    @property
    def body(self) -> str:
        turns = [{"role": ("user", "assistant")[i % 2], "content": "Say something. " * 4} for i in range(self.turns)]
        asked: dict[str, Any] = {"model": "mistral/m", "stream": self.stream, "max_tokens": 1000}
        if self.path == "/v1/responses":
            return json.dumps({"model": "mistral/m", "stream": self.stream, "input": turns, "store": False})
        if self.tools and self.path == "/v1/messages":
            schema = {"type": "object", "properties": {"query": {"type": "string"}}}
            asked["tools"] = [
                {"name": f"tool_{i}", "description": "d", "input_schema": schema} for i in range(self.tools)
            ]
        return json.dumps({**asked, "messages": turns})

    @property
    def mark(self) -> str:
        return ENDS[self.path] if self.stream else "stop"


CASES = (
    Case("unary", stream=False),
    Case("unary-translated", "/v1/messages", stream=False),
    Case("big", stream=False, size=256 * 1024),
    Case("burst"),
    Case("burst-translated", "/v1/messages"),
    Case("burst-responses", "/v1/responses"),
    Case("paced", gap=0.02, clients=20),
    Case("paced-translated", "/v1/messages", gap=0.02, clients=20),
)
GROWTH = (
    *(Case(f"{n} events", "/v1/messages", events=n) for n in (50, 100, 200, 400, 800)),
    *(Case(f"events of {n} B", "/v1/messages", size=n) for n in (10, 100, 1000, 10_000)),
    *(Case(f"{n} streams at once", "/v1/messages", gap=0.1, events=30, clients=n) for n in (10, 50, 100, 200)),
    *(Case(f"{n} tools", "/v1/messages", stream=False, tools=n) for n in (1, 10, 100)),
    *(Case(f"{n} turns", "/v1/messages", stream=False, turns=n) for n in (1, 11, 101)),
    *(Case(f"{n} workers", stream=False, clients=32, workers=n) for n in (1, 2)),
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def pinned(command: Sequence[str], core: int) -> list[str]:
    """On ``core`` alone where the machine has several and can say so."""
    cores = os.cpu_count() or 1
    return ["taskset", "-c", str(core), *command] if sys.platform == "linux" and cores > 1 else list(command)


def tree(pid: int) -> list[int]:
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):  # each thread has its own
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                found += tree(int(child))
    return found


def used(pid: int) -> tuple[float, float]:
    """Seconds of CPU and MiB of memory of a process and its children."""
    seconds = memory = 0.0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / TICK
            memory += int(Path(f"/proc/{one}/statm").read_text().split()[1]) * 4096 / 2**20
    return seconds, memory


@contextlib.contextmanager
def running(command: Sequence[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            yield process
        finally:
            process.terminate()


def wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    sys.exit(f"it does not listen on {port}: {log.read_text()[-800:]}")


def measured(case: Case, peer: str, seconds: float) -> str:
    """A line of the table."""
    port, provider = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        config, log = Path(folder) / "trigate.yaml", Path(folder) / "log"
        config.write_text(CONFIG.format(port=port, provider=provider))
        given = ["--events", str(case.events), "--gap", str(case.gap), "--size", str(case.size)]
        upstream = stack.enter_context(running(pinned([*PEER, "provide", str(provider), *given], 1), log))
        wait_for(provider, upstream, log)
        command = peer.partition("=")[2].format(port=port, provider=provider, config=config, workers=case.workers)
        begun = time.monotonic()
        alone = pinned(shlex.split(command), 0) if case.workers == 1 else shlex.split(command)
        gateway = stack.enter_context(running(alone, Path(folder) / "gateway"))
        wait_for(port, gateway, Path(folder) / "gateway")
        start = time.monotonic() - begun
        asked = ["--path", case.path, "--body", case.body, "--mark", case.mark, "--clients", str(case.clients)]
        client = pinned([*PEER, "load", str(port), *asked], 1)
        subprocess.run([*client, "--seconds", "0.5"], check=True, capture_output=True)  # warm
        before, _ = used(gateway.pid)
        told = json.loads(subprocess.run([*client, "--seconds", str(seconds)], check=True, capture_output=True).stdout)
        after, memory = used(gateway.pid)
    cost = (after - before) / told["done"] * 1000
    each = f"{cost / (case.events + 3) * 1000:.0f}" if case.stream else "-"
    return (
        f"| {case.name} | {peer.partition('=')[0]} | {cost:.2f} | {each} | {told['done'] / seconds:.0f} "
        f"| {told['p50'] * 1000:.1f} | {told['p99'] * 1000:.1f} | {memory:.0f} | {start:.2f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--cases", default="", help="names, with commas between them")
    parser.add_argument("--peer", action="append", default=[], help="another server to measure beside")
    parser.add_argument("--seconds", type=float, default=3)
    given = parser.parse_args()
    names = given.cases.split(",") if given.cases else None
    print("| case | | CPU ms | µs an event | a second | p50 ms | p99 ms | MiB | start s |\n" + "|---" * 9 + "|")
    for case in GROWTH if given.growth else CASES:
        if names is None or case.name in names:
            for peer in (OWN, *given.peer):
                print(measured(case, peer, given.seconds), flush=True)


if __name__ == "__main__":
    main()
