"""Processes and their resources, read from Linux's /proc."""

import contextlib
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.support.harness import eventually


def may_unshare(*options: str) -> bool:
    """Return whether this user may run a program in a new namespace, selected by ``options`` of ``unshare``."""
    tool = shutil.which("unshare")
    return tool is not None and subprocess.run([tool, *options, "true"], capture_output=True).returncode == 0


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    """Take every descriptor that this process may still open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as taken:
        spare = taken.enter_context(socket.socket())
        resource.setrlimit(resource.RLIMIT_NOFILE, (spare.fileno() + 1, hard))
        taken.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        with contextlib.suppress(OSError):
            while True:
                taken.enter_context(socket.socket())
        yield


def kept_waiting(pid: int) -> float:
    """Return the seconds for which the first thread of a process waited for a core, or 0 if unknown."""
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def resident(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


_ENDED = contextlib.suppress(FileNotFoundError, ProcessLookupError)
"""Ignores a thread or child that has ended meanwhile."""


def children(pid: int) -> set[int]:
    """Return the processes that ``pid`` has started, and that still exist."""
    found: set[int] = set()
    for file in Path(f"/proc/{pid}/task").glob("*/children"):  # a child belongs to one thread
        with _ENDED:
            found.update(map(int, file.read_text().split()))
    return found


def workers(supervisor: int) -> set[int]:
    """Return the processes that ``serve --workers`` has started."""
    crew: set[int] = set()
    for pid in children(supervisor):
        with _ENDED:
            crew |= {pid} if b"--fd" in Path(f"/proc/{pid}/cmdline").read_bytes() else set()
    return crew


def peers(pid: int, port: int) -> set[int]:
    """Return the client ports of the connections to ``port`` that a process has open."""
    held = open_files(pid)
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        if f":{port:04X} " not in line:
            continue
        fields = line.split()
        local, remote = (int(fields[i].rpartition(":")[2], 16) for i in (1, 2))
        if local == port and f"socket:[{fields[9]}]" in held:
            found.add(remote)
    return found


def holder(pids: Iterable[int], port: int, peer: int) -> int | None:
    """Return the process that has the connection from the client's port ``peer`` to ``port`` open.

    The table of connections is read once, because it also has those that ended in the last minute.
    """
    ports = re.compile(rf":{port:04X} [0-9A-F]+:{peer:04X} ")
    fields = next((line.split() for line in Path("/proc/net/tcp").read_text().splitlines() if ports.search(line)), None)
    return None if fields is None else next((pid for pid in pids if f"socket:[{fields[9]}]" in open_files(pid)), None)


def open_files(pid: int) -> set[str]:
    """Return the targets of the file descriptors of a process, none once it is dead."""
    found = set()
    with contextlib.suppress(FileNotFoundError, PermissionError, ProcessLookupError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def is_running(pid: int) -> bool:
    """Return whether a process is running, and not just an unread exit status."""
    try:
        return process_state(pid) != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def stop(pid: int) -> None:
    """Stop a process, which then ignores all signals but SIGKILL and SIGCONT, and wait until it has stopped."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: process_state(pid) == "T", what="standing still")


def process_state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def pending(pid: int) -> set[int]:
    """Return the signals that a stopped process has not received yet."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.split("ShdPnd:")[1].split()[0], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1} - {signal.SIGSTOP}
