"""The processes of a measurement: a provider, a server and clients; and the resources that a process has used."""

import contextlib
import json
import os
import random
import resource
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cases import Case

HERE = Path(__file__).parent
PEER = [sys.executable, str(HERE / "peer.py")]
OWN = f"trigate={sys.executable} -m gateway serve {{config}} --workers 1"
BARE = f"bare relay={sys.executable} {HERE / 'relay.py'} {{port}} {{provider}}"
CONFIG = """
version: v0.3.0
listeners: [{{type: model, name: m, port: {port}}}]
model_providers: [{{model: mistral/m, access_key: sk-bench, base_url: "http://127.0.0.1:{provider}"}}]
"""
CORES = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
TICK = os.sysconf("SC_CLK_TCK")


def capable(case: Case, peers: Sequence[str]) -> list[str]:
    """Return the servers to compare in ``case``. The bare relay translates nothing."""
    return [OWN, *(() if case.is_translated else (BARE,)), *peers]


class Standing(NamedTuple):
    """A running provider for a case, and the server in front of it, which took ``start`` seconds to start."""

    case: Case
    server: str
    port: int
    pid: int
    provider_port: int
    start: float

    def clients(self, role: str, port: int, *options: object) -> list[str]:
        """Return the command of clients for the case."""
        asked = ["--path", self.case.path, "--body", self.case.body, "--mark", self.case.mark]
        return on_core(1, [*PEER, role, str(port), *asked, *map(str, options)])

    def load(self, seconds: float) -> Any:
        """Run the clients for ``seconds``, and return their report."""
        options = ("--clients", self.case.clients, "--seconds", seconds)
        command = self.clients("load", self.port, *options)
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def on_core(core: int, command: Sequence[str]) -> list[str]:
    """Pin a command to ``core``, if the machine has several and the system allows it."""
    return ["taskset", "-c", str(core), *command] if sys.platform == "linux" and CORES > 1 else list(command)


@contextlib.contextmanager
def run_servers(case: Case, server: str = OWN, settings: str = CONFIG) -> Iterator[Standing]:
    """Run the processes of a case, with the configuration ``settings``.

    ``server`` is ``NAME=COMMAND``. It runs on the first core alone, and all others on the second.
    """
    port, provider = free_port(), free_port()
    name, _, command = server.partition("=")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        config, log = Path(folder) / "trigate.yaml", Path(folder) / "log"
        config.write_text(settings.format(port=port, provider=provider))
        given = ["--events", str(case.events), "--gap", str(case.gap), "--size", str(case.size)]
        upstream = stack.enter_context(running(on_core(1, [*PEER, "provide", str(provider), *given]), log))
        wait_for(provider, upstream, log)
        begun = time.monotonic()
        words = shlex.split(command.format(port=port, provider=provider, config=config))
        gateway = stack.enter_context(running(on_core(0, words), Path(folder) / "gateway"))
        wait_for(port, gateway, Path(folder) / "gateway")
        start = time.monotonic() - begun
        yield Standing(case, name, port, gateway.pid, provider, start)


@contextlib.contextmanager
def running(command: Sequence[str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        try:
            yield process
        finally:
            process.terminate()


def free_port() -> int:
    """Return a free port below the ephemeral range, so that no other program gets it by chance before its server
    starts."""
    while True:
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", random.randrange(10_000, 20_000))) as one:
            return int(one.getsockname()[1])


def wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    sys.exit(f"it does not listen on {port}: {log.read_text()[-800:]}")


def raise_file_limit() -> None:
    """Raise the limit of open files for this process and its children."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # systems that refuse their own "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


# Resources of a process


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):  # each thread has its own
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                found += tree(int(child))
    return found


def cpu(pid: int) -> float:
    """Return the CPU seconds of a process and its descendants, in nanoseconds if the system supports it."""
    return sum(_seconds(one) for one in tree(pid))


def _seconds(pid: int) -> float:
    """Return the CPU seconds of one process. Its clock includes ended threads, which its files in /proc omit."""
    with contextlib.suppress(OSError):
        return time.clock_gettime(~pid << 3 | 2)  # the number of the clock in the kernel: clock_getcpuclockid(3)
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK
    return 0.0


def memory(pid: int) -> float:
    """MiB of resident memory of a process and its children."""
    pages = 0
    for one in tree(pid):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{one}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
