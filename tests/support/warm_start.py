"""Forks gateways from a process that has already imported everything, which is five times faster than a start.

A forked process has the arguments, environment, directory, output, pid and exit status of an executed one. It differs
in this: it has read a configuration before, exits without freeing memory, and ends with its requester. Its workers are
forked, too. Tests of the command line itself, of the modules that a start loads, and of an exit's effects execute the
program instead.
"""

import atexit
import contextlib
import ctypes
import functools
import gc
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final, NoReturn, TextIO

from tests.support.repository import ROOT

LARGEST: Final = 128 * 1024  # bytes of a request: arguments and environment
MOST_DESCRIPTORS: Final = 4  # three streams, and the reporting socket
NUMBER: Final = struct.Struct("i")
TAKEN: Final = b"."
ROOM: Final = " " * 8192
"""An argument and a variable that reserve space for those of forked processes."""
EXECUTED: Final = "EXECUTED_WORKERS"
"""A variable with which a supervisor executes its workers: they then start some time after it knows of them."""
VENDORS: Final = ("openai", "anthropic", "mistral", "groq")  # of most providers in tests
POPEN: Final = subprocess.Popen


class Forked:
    """The part of ``subprocess.Popen`` that tests use, for a process that another one has forked."""

    def __init__(self, args: Sequence[str], cwd: Path, env: Mapping[str, str], stdout: int, stderr: int) -> None:
        self.args = args
        sys.audit("subprocess.Popen", sys.executable, args, cwd, env)
        self._keeper, theirs = socket.socketpair()
        asked = json.dumps({"args": args, "cwd": str(cwd), "env": dict(env), "streams": (1, 2)}).encode()
        with theirs:
            socket.send_fds(_forking_server(), [asked], [theirs.fileno(), stdout, stderr])
        self.returncode: int | None = None
        self.pid = self._receive_number()

    def poll(self) -> int | None:
        return self._poll_status(0)

    def wait(self, timeout: float | None = None) -> int:
        if (status := self._poll_status(timeout)) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process, and wait for its end."""
        self.send_signal(signal.SIGKILL)
        self.wait()

    def _poll_status(self, timeout: float | None) -> int | None:
        """Return the exit status, or ``None`` after ``timeout``.

        Until it is read, an ended process remains as a zombie.
        """
        if self.returncode is None and select.select([self._keeper], [], [], timeout)[0]:
            with self._keeper:
                assert self._receive_number() == self.pid
                self._keeper.sendall(TAKEN)
                self.returncode = os.waitstatus_to_exitcode(self._receive_number())
        return self.returncode

    def _receive_number(self) -> int:
        number: int = NUMBER.unpack(self._keeper.recv(NUMBER.size))[0]
        return number


def forked_with_output(args: Sequence[str], cwd: Path, env: Mapping[str, str]) -> tuple[Forked, TextIO]:
    """Fork ``trigate ARGS``, and return it with its combined standard output and error."""
    said, saying = _pipe()
    with saying:
        return Forked(args, cwd, env, saying.fileno(), saying.fileno()), said


def forked_with_streams(args: Sequence[str], cwd: Path, env: Mapping[str, str]) -> tuple[Forked, TextIO, TextIO]:
    """Fork ``trigate ARGS``, and return it with its standard output and standard error."""
    (said, saying), (complained, complaining) = _pipe(), _pipe()
    with saying, complaining:
        return Forked(args, cwd, env, saying.fileno(), complaining.fileno()), said, complained


def _pipe() -> tuple[TextIO, BinaryIO]:
    near, far = os.pipe()
    return open(near, encoding="utf-8"), open(far, "wb")  # the caller closes them


@functools.cache
def _forking_server() -> socket.socket:
    """Return the near end of a connection to the forking process, which ends with this one."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1", "ROOM": ROOM}
    unbuffered.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.warm_start", str(far.fileno()), ROOM],
        cwd=ROOT, env=unbuffered, pass_fds=[far.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    far.close()

    def end() -> None:
        near.close()
        process.wait()

    atexit.register(end)
    return near


def serve(asked: socket.socket) -> None:
    """Fork requested processes until the connection ends."""
    import gateway.commands.check
    import gateway.commands.connect
    import gateway.commands.explaining
    import gateway.commands.load
    import gateway.commands.serve
    import gateway.mock.server  # noqa: F401  # the modules that all commands need, and the most frequent others

    _fill_caches()
    gc.collect()
    gc.freeze()
    while True:
        message, fds, *_ = socket.recv_fds(asked, LARGEST, MOST_DESCRIPTORS)
        if not message:
            return None
        if os.fork() == 0:
            asked.close()
            return _await_as_parent(json.loads(message), *fds)
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _fill_caches() -> None:
    """Read a configuration and the demo's, and search for models as commands do, to fill all caches."""
    import httpx2

    from gateway.commands.choosing import ConfiguredOffer, models_for_claude
    from gateway.commands.demo import demo_config
    from gateway.config_files.loading import from_mapping
    from gateway.routing.router import Router
    from tests.support.harness import config, provider

    entries = [provider(f"{vendor}/any", "http://127.0.0.1:1") for vendor in VENDORS]
    read = from_mapping(config([*entries, provider("openai/other", "http://127.0.0.1:1")], 1))
    Router(read)
    Router(demo_config("http://127.0.0.1:1"))
    httpx2.Client().close()
    models_for_claude(ConfiguredOffer(read))


def _await_as_parent(asked: dict[str, Any], teller: int, *streams: int) -> None:
    """Wait for a forked process as its parent, and report its end. It is killed if its requester ends."""
    if (pid := os.fork()) == 0:
        os.close(teller)
        return _run_forked(asked, streams)
    for fd in {1, 2, *streams}:
        os.close(fd)
    with contextlib.suppress(ConnectionError), socket.socket(fileno=teller) as telling:
        telling.sendall(NUMBER.pack(pid))
        ended = os.pidfd_open(pid)
        if ended not in select.select([ended, telling], [], [])[0]:
            os.kill(pid, signal.SIGKILL)
        telling.sendall(NUMBER.pack(pid))
        telling.recv(len(TAKEN))
        telling.sendall(NUMBER.pack(os.waitpid(pid, 0)[1]))
    os._exit(0)


def _run_forked(asked: dict[str, Any], streams: Sequence[int]) -> None:
    for fd, number in zip(streams, asked["streams"], strict=True):
        os.dup2(fd, number)
    for fd in set(streams):
        os.close(fd)
    os.chdir(asked["cwd"])
    if EXECUTED not in asked["env"]:
        subprocess.Popen = _popen  # type: ignore[misc, assignment]
    # A shell's background job ignores SIGINT, and processes inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _execute("gateway", asked["args"], asked["env"])


def _execute(module: str, args: Sequence[str], env: Mapping[str, str]) -> None:
    """Run ``python -m MODULE ARGS`` in this interpreter, which has already imported the module."""
    os.environ.clear()
    os.environ.update(env)
    sys.argv[1:] = args
    if "." in module:
        sys.modules.pop(module, None)  # else Python warns of it
    _write_proc_title([sys.executable, "-m", module, *args], [f"{name}={value}" for name, value in env.items()])
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            raise
        _exit_fast(ended.code or 0)


def _write_proc_title(command: Sequence[str], environment: Sequence[str]) -> None:
    """Write the arguments and environment of a forked process to /proc, in place of this process's own."""
    places = list(map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:49]))
    for (begin, end), words in zip((places[:2], places[2:]), (command, environment), strict=True):
        shown = "\0".join(words).encode(errors="surrogateescape")[: end - begin - 1]
        ctypes.memmove(begin, shown.ljust(end - begin, b"\0"), end - begin)


def _popen(args: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Replace ``subprocess.Popen``: fork the interpreter for modules of the gateway, unless a loaded module reads
    the environment on import."""
    python, *words = args
    words = words[words[:1] == ["-P"] :]
    if python != sys.executable or words[:1] != ["-m"] or "prometheus_client" in sys.modules:
        return POPEN(args, **options)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    def go_on() -> None:
        gc.enable()
        for number in signal.valid_signals():
            if callable(signal.getsignal(number)):
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        for low, high in pairwise(sorted({0, 1, 2, *options.get("pass_fds", ()), os.sysconf("SC_OPEN_MAX")})):
            os.closerange(low + 1, high)  # including the descriptor that reports an execution
        try:
            _execute(words[1], words[2:], options.get("env") or os.environ.copy())
        except BaseException:  # noqa: ASYNC103  # the process exits
            traceback.print_exc()
        _exit_fast(1)

    try:
        return POPEN(args, preexec_fn=go_on, **options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_fast(status: int) -> NoReturn:
    """Exit as an interpreter does, but without freeing memory, which takes longest."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
