"""The registry of the user's running gateways: a file for each, which its process holds locked until it ends.

A lock ends with its process, and the kernel names its holder: no file of a crashed gateway, and no process that got the
same number since, is mistaken for a gateway."""

import contextlib
import fcntl
import os
import stat
import struct
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import msgspec

import gateway
from gateway.config.settings import Config, Trust
from gateway.named_imports import import_named
from gateway.users_files import state_folder
from streams.surrogates import NOT_JSON

_STDERR: Final = 2
_FORMAT: Final = "@qqihh" if sys.platform == "darwin" else "@hhqqi4x"
"""The C structure ``flock``: start, length, process, type and place, or type, place, start, length and process."""


@attrs.frozen
class LastReload:
    """The result of a gateway's last reload: its Unix time, and the changes or, unless it was ``good``, the reasons."""

    at: float
    good: bool
    lines: tuple[str, ...]


@attrs.frozen
class RegisteredGateway:
    """A running gateway.

    ``file`` is its configuration, "" for the demo. ``log`` is the path of its log's file or terminal, or the command
    that shows the journal. Times are Unix times in seconds."""

    version: str
    since: float
    file: str
    trust: Trust
    urls: tuple[str, ...]
    workers: int
    log: str
    reloaded: LastReload | None = None
    process: int = 0

    @property
    def log_file(self) -> Path | None:
        """The path of the log's file, ``None`` if it goes elsewhere."""
        return Path(self.log) if self.log.startswith("/") and not self.log.startswith("/dev/") else None

    @property
    def is_in_journal(self) -> bool:
        return self.log.startswith("journalctl")


class Registration:
    """The entry of this process; without a descriptor, it is not registered."""

    def __init__(self, entry: RegisteredGateway, fd: int | None) -> None:
        self._entry, self._fd = entry, fd

    def note_event(self, event: str, fields: Mapping[str, Any]) -> None:
        """Note the result of a reload, which is an event of the audit."""
        lines = {"reloaded": "changes", "reload_refused": "reason"}
        if event in lines:
            texts = tuple(map(str, fields[lines[event]]))
            self._entry = attrs.evolve(self._entry, reloaded=LastReload(time.time(), event == "reloaded", texts))
            self.write()

    def write(self) -> None:
        """Write the entry, padded so that readers never get a part of it."""
        if self._fd is not None:
            with contextlib.suppress(OSError):  # a full disk
                # Paths may have any bytes, which msgspec cannot write. Most commands need no json.
                data = import_named("json:dumps")(msgspec.to_builtins(self._entry)).encode()
                os.pwrite(self._fd, data.ljust(os.fstat(self._fd).st_size), 0)


@contextlib.contextmanager
def registered(config: Config, urls: Sequence[str], workers: int = 1) -> Iterator[Registration]:
    """Register this process for the duration of the block, if the user's state folder is writable."""
    file = "" if config.path is None else str(config.path.absolute())
    entry = RegisteredGateway(
        gateway.__version__, time.time(), file, config.trust, tuple(urls), workers, _log_place(), process=os.getpid()
    )
    fd = path = None
    with contextlib.suppress(OSError):
        if (folder := _folder()) is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = folder / f"{os.getpid()}.json"
            new = path.with_suffix(".new")
            fd = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.replace(path)
    registration = Registration(entry, fd)
    registration.write()
    try:
        yield registration
    finally:
        with contextlib.suppress(OSError):
            if path is not None:
                path.unlink()
            if fd is not None:
                os.close(fd)


def running_gateways() -> list[RegisteredGateway]:
    """Return the user's running gateways, in the order of their start. Files of crashed ones are deleted."""
    found = []
    folder = _folder()
    for path in folder.glob("*.json") if folder is not None else ():
        with contextlib.suppress(OSError, *NOT_JSON):
            fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(fd, "rb") as file:
                if os.fstat(fd).st_uid != os.geteuid():
                    continue
                process = _holder(fd)
                if process is None:
                    path.unlink()
                else:
                    entry = msgspec.convert(import_named("json:loads")(file.read()), RegisteredGateway)
                    found.append(attrs.evolve(entry, process=process))
    return sorted(found, key=lambda one: one.since)


def file_of_gateway(url: str) -> str | None:
    """Return the configuration file of the user's gateway at ``url``, ``None`` if there is no such gateway."""
    return next((one.file for one in running_gateways() if url in one.urls), None)


def _holder(fd: int) -> int | None:
    """Return the process that locks the file, ``None`` if there is none; 0 if it is in another container."""
    wanted = (
        (0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET) if sys.platform == "darwin" else (fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    )
    held = struct.unpack(_FORMAT, fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack(_FORMAT, *wanted)))
    process, kind = (held[2], held[3]) if sys.platform == "darwin" else (held[4], held[0])
    return None if kind == fcntl.F_UNLCK else process


def _folder() -> Path | None:
    folder = state_folder(os.environ)
    return None if folder is None else folder / "gateways"


def _log_place() -> str:
    """Return the place of standard error, as ``RegisteredGateway.log``."""
    with contextlib.suppress(OSError):
        found = os.fstat(_STDERR)
        if os.isatty(_STDERR):
            return os.ttyname(_STDERR)
        if os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}":
            group = Path("/proc/self/cgroup").read_text(encoding="utf-8").strip()
            unit = group.rpartition("/")[2]
            if not unit.endswith(".service"):
                return f"journalctl _PID={os.getpid()}"
            return f"journalctl {'--user ' if '/user@' in group else ''}-u {unit}"
        if stat.S_ISREG(found.st_mode):
            if sys.platform == "darwin":
                return fcntl.fcntl(_STDERR, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0").decode()
            return os.readlink(f"/proc/self/fd/{_STDERR}")
    return "a pipe or /dev/null"


def own_command() -> list[str]:
    """Return the beginning of a command that runs this program.

    ``python -m gateway`` would import another ``gateway`` from the current directory; ``-P`` prevents that, except
    if ours exists."""
    installed = Path(gateway.__file__).parents[1] != Path.cwd()
    return [sys.executable, *(["-P"] if installed else []), "-m", "gateway"]
