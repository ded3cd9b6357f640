"""Runs commands as a user does, in a process or in the test's own, and returns output and exit status."""

import contextlib
import gc
import io
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TextIO
from unittest import mock

import attrs

from gateway.__main__ import main
from tests.support.harness import ROOT, START_SECONDS, STOP_SECONDS
from tests.support.own_log import kept_settings, own_log
from tests.support.warm_start import Forked, forked_with_streams

COMMAND = (sys.executable, "-m", "gateway")


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment with ``changes``, without variables that affect a gateway."""
    unwanted = {"TRIGATE_CONFIG", "NO_COLOR", "PYTHONDONTWRITEBYTECODE"}  # the last would double each start
    names = [name for name in list(os.environ) if not name.lower().endswith("_proxy") and name not in unwanted]
    kept = {  # another thread may remove one meanwhile, as pytest does with the name of the test
        name: value for name in names if not name.endswith("_API_KEY") and (value := os.environ.get(name)) is not None
    }
    path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH")) if part)
    return {**kept, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(changes or {})}


@attrs.frozen
class Finished:
    """The result of a command that has ended, or that would have executed another program with ``argv`` and
    ``env``."""

    returncode: int
    stdout: str
    stderr: str
    argv: Sequence[str] = ()
    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)


class _Becomes(BaseException):
    """The process executes another program."""


def invoke(*args: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> Finished:
    """Run ``trigate ARGS`` to its end, as ``run`` does, but in this process. For commands that start no server."""
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(3)]
    logs = args[:1] in (("serve",), ("mock",))  # other commands must not change the handlers of a gateway thread
    status, program = 0, ((), {})
    with (
        own_log() if logs else kept_settings(),
        _kept_process(),
        contextlib.chdir(cwd),
        mock.patch.dict(os.environ, {"COLUMNS": "80", **environment(env)}, clear=True),
        mock.patch.multiple(sys, **dict(zip(("stdin", "stdout", "stderr"), streams, strict=True))),
        mock.patch("os.execve", side_effect=_Becomes),
    ):
        try:
            main(args, prog_name="trigate")
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        except _Becomes:
            program = os.execve.call_args.args[1:]
    return Finished(status, *(_text(stream.buffer) for stream in streams[1:]), *program)


@contextlib.contextmanager
def _kept_process() -> Iterator[None]:
    """Undo the changes that a command makes to its process before it serves."""
    collects, interrupt = gc.isenabled(), signal.getsignal(signal.SIGINT)
    files = resource.getrlimit(resource.RLIMIT_NOFILE)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        yield
    finally:
        if collects:
            gc.enable()
        signal.signal(signal.SIGINT, interrupt)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        resource.setrlimit(resource.RLIMIT_NOFILE, files)


def run(*args: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """Run ``trigate ARGS`` to its end in a process of its own."""
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
    return stream.read().decode(errors="replace").replace("\r\n", "\n")


@attrs.frozen
class Started:
    """A process that serves at ``url``. ``log`` receives its standard error, line by line."""

    process: Forked
    url: str
    banner: str
    said: TextIO
    """Its standard output after the banner."""
    log: list[str]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the process by a signal, and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


@contextlib.contextmanager
def running_command(*args: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> Iterator[Started]:
    """Run ``trigate ARGS`` until the end of the block. Its URL is read from the banner."""
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
        log.append(line.rstrip("\n"))  # noqa: PERF401  # each line must be available immediately


def script(folder: Path, name: str, text: str) -> None:
    """Write the shell program ``name`` into ``folder``."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
