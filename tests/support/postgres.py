"""A real PostgreSQL server for a test, from the distribution's binaries."""

import contextlib
import fcntl
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import attrs
import pytest

from tests.support.harness import START_SECONDS, eventually
from tests.support.processes import children
from tests.support.repository import SHARED_FOLDER

PLACES = ("/usr/lib/postgresql/*/bin/initdb", "/usr/pgsql-*/bin/initdb", "/usr/local/pgsql/bin/initdb")
MISSING = "needs PostgreSQL's server (apt-get install postgresql)"

SCHEMAS = itertools.count()


def binaries() -> Path | None:
    """Return the directory of the newest ``initdb`` and ``postgres``, or ``None``."""
    found = [path for place in PLACES for path in Path("/").glob(place[1:])]
    on_path = shutil.which("initdb")
    every = [*sorted(found, key=lambda path: path.parts), *([Path(on_path)] if on_path else [])]
    return next(
        (path.resolve().parent for path in reversed(every) if (path.resolve().parent / "postgres").exists()), None
    )


def _other_user() -> dict[str, object]:
    """Return another user to run as, because the server refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@attrs.define
class Server:
    """A server on a Unix socket in ``directory``."""

    bin: Path
    directory: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"postgresql://someone:hunter2@/postgres?host={self.directory}"

    def start(self) -> None:
        options = (  # durability does not matter here
            f"-cunix_socket_directories={self.directory}", "-clisten_addresses=", "-cfsync=off", "-cmax_connections=60",
            "-cshared_buffers=16MB", "-cautovacuum=off", "-cfull_page_writes=off", "-cjit=off", "-cwal_level=minimal",
            "-cmax_wal_senders=0",
        )  # fmt: skip
        log = (self.directory / "log").open("ab")
        with log:
            self.process = subprocess.Popen(
                [self.bin / "postgres", "-D", self.directory / "data", *options],
                stdout=log, stderr=log, **_other_user(),  # type: ignore[call-overload]
            )  # fmt: skip
        eventually(self._is_ready, START_SECONDS, "PostgreSQL")

    def stop(self, number: int = signal.SIGQUIT) -> None:
        """Stop the server: SIGQUIT immediately, as in a crash; SIGINT after closing its connections."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(START_SECONDS)
            self.process = None

    def signal_all(self, number: int) -> None:
        """Send a signal to all its processes, for example to simulate a stopped machine."""
        pid = self.process.pid
        for child in children(pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)
        os.kill(pid, number)

    def save(self, name: str) -> None:
        """Save its present data under ``name``."""
        self.sql("CHECKPOINT")
        self.signal_all(signal.SIGSTOP)
        try:
            self._copy("data", name)
        finally:
            self.signal_all(signal.SIGCONT)

    def put_back(self, name: str) -> None:
        """Restore saved data for the next start."""
        self._copy(name, "data")
        (self.directory / "data" / "postmaster.pid").unlink(missing_ok=True)

    def _copy(self, name: str, to: str) -> None:
        shutil.rmtree(self.directory / to, ignore_errors=True)
        subprocess.run(["cp", "-a", self.directory / name, self.directory / to], check=True)

    def sql(self, *statements: str) -> None:
        import psycopg

        with psycopg.connect(self.url, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def new_schema(self) -> str:
        """Return the connection string of an empty schema."""
        name = f"schema_{next(SCHEMAS)}"
        self.sql(f"CREATE SCHEMA {name}")
        return f"{self.url}&options=-csearch_path%3D{name}"

    def new_database(self) -> str:
        """Return the connection string of an empty database."""
        name = f"database_{next(SCHEMAS)}"
        self.sql(f"CREATE DATABASE {name}")
        return self.url.replace("/postgres?", f"/{name}?")

    def _is_ready(self) -> bool:
        import psycopg

        assert self.process.poll() is None, (self.directory / "log").read_text()
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


@attrs.define(eq=False)
class CommitRelay:
    """A TCP port of a server's socket. While ``fate`` is set, no connection receives the answer to the COMMIT of a
    transaction that wrote: it is ``cut``, as by a server that dies, or stays ``silent``. ``cut once`` ends with the
    first. A transaction writes if its statements or values have the text ``writes``. ``sent`` counts the messages of
    clients."""

    server: Server
    listener: socket.socket
    fate: Literal["cut", "cut once", "silent", ""] = ""
    writes: bytes = b"INSERT"
    lost: int = 0
    sent: int = 0
    clients: list[socket.socket] = attrs.field(factory=list)

    def url(self, connection_string: str) -> str:
        """Return ``connection_string`` by way of this port."""
        port = self.listener.getsockname()[1]
        return connection_string.replace(f"host={self.server.directory}", f"host=127.0.0.1&port={port}")

    def accept(self) -> None:
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            while True:
                serving = threading.Thread(target=self._serve, args=(self.listener.accept()[0],))
                serving.start()
                stack.callback(serving.join)

    def _serve(self, client: socket.socket) -> None:
        self.clients.append(client)
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(str(self.server.directory / ".s.PGSQL.5432"))
            is_lost = threading.Event()
            receiving = threading.Thread(target=self._receive, args=(client, server, is_lost))
            receiving.start()
            self._send(client, server, is_lost)
            receiving.join()

    def _send(self, client: socket.socket, server: socket.socket, is_lost: threading.Event) -> None:
        has_written = False
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                self.sent += 1
                has_written |= self.writes in data
                if b"COMMIT" in data:
                    if self.fate and has_written:
                        is_lost.set()
                    has_written = False
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _receive(self, client: socket.socket, server: socket.socket, is_lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if not is_lost.is_set():
                    client.sendall(data)
                    continue
                self.lost += 1
                if self.fate != "silent":
                    self.fate = "" if self.fate == "cut once" else self.fate
                    break
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def commit_relay(server: Server) -> Iterator[CommitRelay]:
    """Run a ``CommitRelay`` until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = CommitRelay(server, listener)
        accepting = threading.Thread(target=relay.accept)
        accepting.start()
        try:
            yield relay
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for client in relay.clients:  # a failed test leaves some open
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
            accepting.join()


@contextlib.contextmanager
def server_or_skip() -> Iterator[Server]:
    """Run a server, or skip the test if PostgreSQL is not installed."""
    bin = binaries()
    if bin is None:
        pytest.skip(MISSING)
    with running_server(bin) as server:
        yield server


@contextlib.contextmanager
def running_server(bin: Path) -> Iterator[Server]:
    # Short, because a socket path has at most 107 characters, and accessible to another user.
    with tempfile.TemporaryDirectory(prefix="tg-pg-", dir="/tmp") as name:
        directory = Path(name)
        other = _other_user()
        if other:
            os.chown(directory, int(str(other["user"])), int(str(other["group"])))
        _make_data(bin, directory)
        server = Server(bin, directory)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _make_data(bin: Path, directory: Path) -> None:
    """Make the data of a new server. A run of the tests initializes one, in a second and a half, and copies it."""
    if (shared := os.environ.get(SHARED_FOLDER)) is None:
        return _initialize(bin, directory)
    kept = Path(shared) / "postgres"
    with Path(shared, "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            _initialize(bin, directory)
            subprocess.run(["cp", "-a", directory / "data", kept.with_suffix(".new")], check=True)
            kept.with_suffix(".new").rename(kept)
            return None
    subprocess.run(["cp", "-a", kept, directory / "data"], check=True)
    return None


def _initialize(bin: Path, directory: Path) -> None:
    options = ("-A", "trust", "-U", "someone", "-E", "UTF8", "--no-locale", "--no-sync")
    made = subprocess.run(
        [bin / "initdb", "-D", directory / "data", *options], cwd=directory, timeout=2 * START_SECONDS, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **_other_user(),  # type: ignore[call-overload]
    )  # fmt: skip
    assert made.returncode == 0, made.stdout
