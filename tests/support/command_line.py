"""The command line as a person meets it: real processes, their output and their exit status."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, TextIO

import attrs

from tests.support.harness import ROOT, START_SECONDS, STOP_SECONDS, eventually, request
from tests.support.warm_start import Forked, forked_with_streams

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
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = Forked(args, cwd, environment(env), out.fileno(), err.fileno())
        try:
            status = process.wait(START_SECONDS)
        finally:
            process.kill()
        said = [_text(stream) for stream in (out, err)]
    return subprocess.CompletedProcess([*COMMAND, *args], status, *said)


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode().replace("\r\n", "\n")


@attrs.frozen
class Started:
    """A process that serves at ``url``. ``log`` grows: its standard error, line by line."""

    process: Forked
    url: str
    banner: str
    said: TextIO
    """Its standard output behind the banner."""
    log: list[str]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit status after a signal."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@contextlib.contextmanager
def started(*args: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> Iterator[Started]:
    """``trigate ARGS`` from its banner to its end. Where it listens is read from the banner."""
    process, said, complained = forked_with_streams(args, cwd, environment(env))
    log: list[str] = []
    reader = threading.Thread(target=_collect, args=(complained, log))
    reader.start()
    try:
        banner = "".join(said.readline() for _ in range(3))
        found = re.search(r"listening on (http://\S+?)(?:,| |$)", banner, re.M)
        assert found, f"it did not start: {banner}\n" + "\n".join(log)
        yield Started(process, found[1], banner, said, log)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(STOP_SECONDS)
        reader.join()
        said.close()
        complained.close()


def _collect(complained: Iterable[str], log: list[str]) -> None:
    for line in complained:
        log.append(line.rstrip("\n"))  # noqa: PERF401  # each line must be there as soon as it was said


@contextlib.contextmanager
def demo(*args: str) -> Iterator[Started]:
    """``trigate serve --demo`` on a free port, without pauses between words."""
    with started("serve", "--demo", "--port", "0", "--pace", "0", *args) as process:
        eventually(lambda: request(process.url, "GET", "/readyz").status == 200, what="GET /readyz")
        yield process


def script(folder: Path, name: str, text: str) -> None:
    """Write the shell program ``name`` into ``folder``."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
