"""A real Redis or Valkey server for a test, from the distribution's package, on a Unix socket."""

import contextlib
import gc
import shutil
import signal
import socket
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.support.harness import START_SECONDS, eventually

LEFT_OPEN = [  # coredis leaves the channels of a connection open that could not be made
    pytest.mark.filterwarnings("ignore:.*MemoryObject:pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
]
"""The marks of tests whose connections to a server may fail."""
MISSING = "needs Redis' or Valkey's server (apt-get install redis-server)"


def binary() -> str | None:
    return shutil.which("valkey-server") or shutil.which("redis-server")


@attrs.define
class RedisServer:
    """A server in ``directory``, where it writes a snapshot on request."""

    bin: str
    directory: Path
    options: tuple[str, ...] = ()
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def socket(self) -> Path:
        return self.directory / "socket"

    @property
    def _dump_path(self) -> Path:
        return self.directory / "dump.rdb"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> None:
        options = ("--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.directory), "--save", "")
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen([self.bin, *options, *self.options], stdout=log, stderr=log)
        eventually(self._is_ready, START_SECONDS, "Redis")

    def stop(self) -> None:
        """Kill the server, as in a crash."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(START_SECONDS)
            self.process = None

    def new_database(self) -> str:
        """Delete all data, and return the URL."""
        assert self.say("FLUSHALL") == b"+OK\r\n"
        return self.url

    def save(self, name: str) -> None:
        """Save its present data under ``name``."""
        assert self.say("SAVE") == b"+OK\r\n"
        shutil.copy(self._dump_path, self.directory / name)
        self._dump_path.unlink()

    def put_back(self, name: str) -> None:
        """Restore saved data for the next start."""
        shutil.copy(self.directory / name, self._dump_path)

    def signal_all(self, number: int) -> None:
        """Send a signal to the process, for example to simulate a stopped machine."""
        self.process.send_signal(number)

    def say(self, *words: str) -> bytes:
        """Send a command, and return the response."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(self.socket))
            parts = [f"*{len(words)}\r\n", *(f"${len(word)}\r\n{word}\r\n" for word in words)]
            sock.sendall("".join(parts).encode())
            return sock.recv(65536)

    def _is_ready(self) -> bool:
        try:
            return self.say("PING") in (b"+PONG\r\n", b"-NOAUTH Authentication required.\r\n")
        except OSError:
            return False


@contextlib.contextmanager
def running_redis(bin: str, *options: str) -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="tg-redis-", dir="/tmp") as name:
        server = RedisServer(bin, Path(name), options)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def collect_left_open() -> None:
    """Collect coredis's connections that failed to open or broke, because their channels stay open.

    Otherwise the next test would get their warnings.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@contextlib.contextmanager
def server_or_skip() -> Iterator[RedisServer]:
    """Run a server until the end of the block. Skip the test where none is installed."""
    if (bin := binary()) is None:
        pytest.skip(MISSING)
    with running_redis(bin) as server:
        yield server
