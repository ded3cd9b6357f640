"""The command line as a person meets it: real processes, their output and their exit status."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

from tests.support.harness import ROOT, START_SECONDS, STOP_SECONDS, eventually, request

COMMAND = (sys.executable, "-m", "gateway")


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what would change a gateway's behaviour, and with ``changes``."""
    unwanted = {"TRIGATE_CONFIG", "NO_COLOR", "PYTHONDONTWRITEBYTECODE"}  # the last would double each start
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.endswith("_API_KEY") and name not in unwanted
    }
    path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH")) if part)
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(changes or {})}


def run(*args: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """One command to its end."""
    return subprocess.run(
        [*COMMAND, *args], cwd=cwd, env=environment(env), text=True, encoding="utf-8", capture_output=True,
        timeout=START_SECONDS,
    )  # fmt: skip


@attrs.frozen
class Started:
    """A process that serves at ``url``; ``log`` grows: its standard error, line by line."""

    process: "subprocess.Popen[str]"
    url: str
    banner: str
    log: list[str]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit status after a signal."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@contextlib.contextmanager
def started(*args: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> Iterator[Started]:
    """``trigate ARGS`` from its banner to its end. Where it listens is read from the banner."""
    process = subprocess.Popen(
        [*COMMAND, *args], cwd=cwd, env=environment(env), text=True, encoding="utf-8",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    log: list[str] = []
    reader = threading.Thread(target=_collect, args=(process, log))
    reader.start()
    try:
        assert process.stdout is not None
        banner = "".join(process.stdout.readline() for _ in range(3))
        found = re.search(r"listening on (http://\S+?)(?:,| |$)", banner, re.M)
        assert found, f"it did not start: {banner}\n" + "\n".join(log)
        yield Started(process, found[1], banner, log)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_SECONDS)
        reader.join()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _collect(process: "subprocess.Popen[str]", log: list[str]) -> None:
    for line in process.stderr or ():
        log.append(line.rstrip("\n"))  # noqa: PERF401  # each line must be there as soon as it was said


@contextlib.contextmanager
def demo(*args: str) -> Iterator[Started]:
    """``trigate serve --demo`` on a free port, without pauses between words."""
    with started("serve", "--demo", "--port", "0", "--pace", "0", *args) as process:
        eventually(lambda: request(process.url, "GET", "/readyz").status == 200, what="GET /readyz")
        yield process
