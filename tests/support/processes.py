"""Processes and what they hold, as Linux's /proc shows it."""

import contextlib
import os
import signal
from pathlib import Path

from tests.support.harness import eventually


def kept_waiting(pid: int) -> float:
    """Seconds for which the first thread of a process was to run, and others had its core. 0 where no one tells."""
    with contextlib.suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def workers(supervisor: int) -> set[int]:
    """The processes that ``serve --workers`` has started."""
    gone = contextlib.suppress(FileNotFoundError, ProcessLookupError)  # a thread or a child, by now
    found: list[str] = []
    for file in Path(f"/proc/{supervisor}/task").glob("*/children"):  # a child belongs to one thread
        with gone:
            found += file.read_text().split()
    crew: set[int] = set()
    for pid in found:
        with gone:
            crew |= {int(pid)} if b"--fd" in Path(f"/proc/{pid}/cmdline").read_bytes() else set()
    return crew


def peers(pid: int, port: int) -> set[int]:
    """The ports of the clients whose connections to ``port`` a process holds."""
    held = inherited(pid)
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        if f":{port:04X} " not in line:
            continue
        fields = line.split()
        local, remote = (int(fields[i].rpartition(":")[2], 16) for i in (1, 2))
        if local == port and f"socket:[{fields[9]}]" in held:
            found.add(remote)
    return found


def inherited(pid: int) -> set[str]:
    """What the file descriptors of a process stand for; nothing once it is dead."""
    found = set()
    with contextlib.suppress(FileNotFoundError, PermissionError, ProcessLookupError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def is_running(pid: int) -> bool:
    """Whether a process is there and is more than an exit status that nobody has asked for."""
    try:
        return state(pid) != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def stop(pid: int) -> None:
    """Keep a process, which then takes no signals but SIGKILL and SIGCONT, from running; when that has come true."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: state(pid) == "T", what="standing still")


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def pending(pid: int) -> set[int]:
    """The numbers of the signals that a stopped process has been sent and has not taken yet."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.split("ShdPnd:")[1].split()[0], 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1} - {signal.SIGSTOP}
