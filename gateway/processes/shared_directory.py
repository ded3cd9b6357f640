"""A directory of temporary files that a supervisor and its workers share.

It may contain clients' data, so it does not stay: the last process removes it, and the next supervisor of the same user
removes what killed processes left."""

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

log = logging.getLogger("trigate.server")

PREFIX: Final = "trigate-workers-"
_LOCK: Final = "lock"


class SharedDirectory:
    """One process's share of the directory ``path``, which exists as long as a process has one."""

    def __init__(self, path: Path, lock: int) -> None:
        """Hold ``lock``, this process's own descriptor of the lock file, which is locked for sharing."""
        self.path = path
        self._lock = lock

    @classmethod
    def make(cls) -> "SharedDirectory":
        """Make a directory that no other user can read. Raises ``OSError``."""
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        unnamed = path / f"{_LOCK}.new"
        lock = _open_locked(unnamed, os.O_CREAT, fcntl.LOCK_SH)
        unnamed.rename(path / _LOCK)  # locked first, otherwise a supervisor that cleans up would remove it
        return cls(path, lock)

    @classmethod
    def join(cls, path: Path) -> "SharedDirectory":
        """Share a directory that another process made. Raises ``OSError``."""
        return cls(path, _open_locked(path / _LOCK, 0, fcntl.LOCK_SH))

    def leave(self) -> None:
        """Release the directory, and remove it if no other process has it."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self.path, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(self._lock)


@contextlib.contextmanager
def shared_directory() -> Iterator[Path | None]:
    """Make a directory for the block, or yield ``None`` if nothing can be written."""
    try:
        _remove_left_directories(Path(tempfile.gettempdir()))
        directory = SharedDirectory.make()
    except OSError as error:  # a container with a read-only file system
        log.warning("could not create a temporary directory: %s", error.strerror)
        yield None
        return
    try:
        yield directory.path
    finally:
        directory.leave()


def _remove_left_directories(temporary: Path) -> None:
    """Remove the directories that killed processes of this user left."""
    for path in temporary.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # in use, already removed, or another user's
            if path.lstat().st_uid == os.getuid():
                SharedDirectory(path, _open_locked(path / _LOCK, 0, fcntl.LOCK_EX | fcntl.LOCK_NB)).leave()


def _open_locked(path: Path, flags: int, operation: int) -> int:
    """Open the file ``path``, lock it with the flock ``operation``, and return its descriptor. Raises ``OSError``."""
    lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    try:
        fcntl.flock(lock, operation)
    except OSError:
        os.close(lock)
        raise
    return lock
