"""Gateways forked from a process that has imported everything already: each starts in a fifth of the time.

What is forked is a process of its own in all else: its arguments, environment, directory, output, pid and exit status
are as if it had been executed. It has read a configuration before, is gone without freeing what it held, and ends with
who has asked for it. So are the workers that it starts, which it forks as well. Tests of the command line itself, of
what a start loads and of what an end leaves, execute it.
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

LARGEST: Final = 128 * 1024  # of what is asked for: arguments and environment
MOST_DESCRIPTORS: Final = 4  # three streams, and what it is told by
NUMBER: Final = struct.Struct("i")
TAKEN: Final = b"."
ROOM: Final = " " * 8192
"""An argument, and a variable, that are room for those of whoever is forked."""
EXECUTED: Final = "EXECUTED_WORKERS"
"""A variable with which a supervisor executes its workers: they come up some time after it knows of them."""
VENDORS: Final = ("openai", "anthropic", "mistral", "groq")  # of most providers in tests
POPEN: Final = subprocess.Popen
TYPED_KEY: Final = "sk-one"  # of OpenAI's, where the commands of pages are typed


class Forked:
    """As much of ``subprocess.Popen`` as tests use, of a process that this one has not begun itself."""

    def __init__(self, args: Sequence[str], cwd: Path, env: Mapping[str, str], stdout: int, stderr: int) -> None:
        self.args = args
        sys.audit("subprocess.Popen", sys.executable, args, cwd, env)
        self._keeper, theirs = socket.socketpair()
        asked = json.dumps({"args": args, "cwd": str(cwd), "env": dict(env), "streams": (1, 2)}).encode()
        with theirs:
            socket.send_fds(_server(), [asked], [theirs.fileno(), stdout, stderr])
        self.returncode: int | None = None
        self.pid = self._told()

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        if (status := self._ended(timeout)) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> int | None:
        """Its exit status. Until somebody asks for that, what has ended is still there, as a zombie."""
        if self.returncode is None and select.select([self._keeper], [], [], timeout)[0]:
            with self._keeper:
                assert self._told() == self.pid
                self._keeper.sendall(TAKEN)
                self.returncode = os.waitstatus_to_exitcode(self._told())
        return self.returncode

    def _told(self) -> int:
        number: int = NUMBER.unpack(self._keeper.recv(NUMBER.size))[0]
        return number


def forked_with_output(args: Sequence[str], cwd: Path, env: Mapping[str, str]) -> tuple[Forked, TextIO]:
    """``trigate ARGS``, and what it says on its standard output and error."""
    said, saying = _pipe()
    with saying:
        return Forked(args, cwd, env, saying.fileno(), saying.fileno()), said


def forked_with_streams(args: Sequence[str], cwd: Path, env: Mapping[str, str]) -> tuple[Forked, TextIO, TextIO]:
    """``trigate ARGS``, its standard output, and its standard error."""
    (said, saying), (complained, complaining) = _pipe(), _pipe()
    with saying, complaining:
        return Forked(args, cwd, env, saying.fileno(), complaining.fileno()), said, complained


PROGRAM: Final = """#!{python} -IS
import os, signal, socket, sys
from json import dumps

asking, (near, far) = socket.socket(fileno={asking}), socket.socketpair()
asked = {{"args": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ), "streams": (0, 1, 2)}}
socket.send_fds(asking, [dumps(asked).encode()], [far.fileno(), 0, 1, 2])
far.close()

def told():
    number = near.recv({size})
    return int.from_bytes(number, sys.byteorder) if number else sys.exit("the process that forks is gone")

pid = told()
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: os.kill(pid, number))
told()
near.sendall({taken})
status = os.waitstatus_to_exitcode(told())
sys.exit(128 - status if status < 0 else status)
"""


def program() -> tuple[str, int]:
    """The text of a program ``trigate``, of an interpreter that imports next to nothing, which has the command forked
    and is one with it to whoever starts it: streams, signals, exit status (a signal as a shell tells it), end. And the
    descriptor that it inherits."""
    asking = _server().fileno()
    return PROGRAM.format(python=sys.executable, asking=asking, size=NUMBER.size, taken=TAKEN), asking


def _pipe() -> tuple[TextIO, BinaryIO]:
    near, far = os.pipe()
    return open(near, encoding="utf-8"), open(far, "wb")  # the caller's to close


@functools.cache
def _server() -> socket.socket:
    """The near end of a connection to the process that forks, which ends when this one does."""
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
    """Fork what is asked for, until nobody can ask any more."""
    import gateway.commands.check
    import gateway.commands.connect
    import gateway.commands.explaining
    import gateway.commands.load
    import gateway.commands.serve
    import gateway.mock.server  # noqa: F401  # what all of them need, and of the rest what is loaded most often

    _warm()
    gc.collect()
    gc.freeze()
    while True:
        message, fds, *_ = socket.recv_fds(asked, LARGEST, MOST_DESCRIPTORS)
        if not message:
            return None
        if os.fork() == 0:
            asked.close()
            return _keep(json.loads(message), *fds)
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _warm() -> None:
    """Read a configuration and the demo's: what reads them is made with the first one, and each account's name once for
    each key. And look for models by their names, as commands do, with what they ask a gateway by."""
    import httpx2

    from gateway.commands.choosing import ConfiguredOffer, for_claude
    from gateway.commands.demo import demo_config
    from gateway.config.loading import from_mapping
    from gateway.routing.router import Router
    from tests.support.harness import config, provider

    entries = [provider(f"{vendor}/any", "http://127.0.0.1:1") for vendor in VENDORS]
    read = from_mapping(config([*entries, provider("openai/other", "http://127.0.0.1:1", key=TYPED_KEY)], 1))
    Router(read)
    Router(demo_config("http://127.0.0.1:1"))
    httpx2.Client().close()
    for_claude(ConfiguredOffer(read))


def _keep(asked: dict[str, Any], teller: int, *streams: int) -> None:
    """Wait for one of them and tell how it ended: a parent, who alone is told. It ends with who asked for it."""
    if (pid := os.fork()) == 0:
        os.close(teller)
        return _become(asked, streams)
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


def _become(asked: dict[str, Any], streams: Sequence[int]) -> None:
    for fd, number in zip(streams, asked["streams"], strict=True):
        os.dup2(fd, number)
    for fd in set(streams):
        os.close(fd)
    os.chdir(asked["cwd"])
    if EXECUTED not in asked["env"]:
        subprocess.Popen = _popen  # type: ignore[misc, assignment]
    _execute("gateway", asked["args"], asked["env"])


def _execute(module: str, args: Sequence[str], env: Mapping[str, str]) -> None:
    """``python -m MODULE ARGS``, of an interpreter that has imported it before."""
    os.environ.clear()
    os.environ.update(env)
    sys.argv[1:] = args
    if "." in module:
        sys.modules.pop(module, None)  # else Python warns of it
    _show([sys.executable, "-m", module, *args], [f"{name}={value}" for name, value in env.items()])
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            raise
        _leave(ended.code or 0)


def _show(command: Sequence[str], environment: Sequence[str]) -> None:
    """Have them in /proc, where this process's own were."""
    places = list(map(int, Path("/proc/self/stat").read_text().rpartition(")")[2].split()[45:49]))
    for (begin, end), words in zip((places[:2], places[2:]), (command, environment), strict=True):
        shown = "\0".join(words).encode(errors="surrogateescape")[: end - begin - 1]
        ctypes.memmove(begin, shown.ljust(end - begin, b"\0"), end - begin)


def _popen(args: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
    """``subprocess.Popen``, but what is to execute a module of the gateway's goes on as that at once, if nothing is
    loaded here that reads the environment while it is imported."""
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
            os.closerange(low + 1, high)  # with what tells that it has been executed
        try:
            _execute(words[1], words[2:], options.get("env") or os.environ.copy())
        except BaseException:
            traceback.print_exc()
        _leave(1)

    try:
        return POPEN(args, preexec_fn=go_on, **options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave(status: int) -> NoReturn:
    """As an interpreter does, but for what takes longest: to free all that there is, one by one."""
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
