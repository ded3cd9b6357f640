"""A directory of temporary files that a supervisor and its workers share. It may hold what clients have said, so it
does not stay behind: the last process that leaves it removes it, and what processes have left that were all killed is
removed by the next supervisor of the same user."""

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
    """One process's part in the directory ``path``: as long as a process has one, the directory stays."""

    def __init__(self, path: Path, lock: int) -> None:
        """``lock`` is a descriptor of its lock file, of this process's own, that is locked for sharing."""
        self.path = path
        self._lock = lock

    @classmethod
    def make(cls) -> "SharedDirectory":
        """Make one that nobody else can look into. Raises ``OSError``."""
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        unnamed = path / f"{_LOCK}.new"
        lock = _locked(unnamed, os.O_CREAT, fcntl.LOCK_SH)
        unnamed.rename(path / _LOCK)  # not before it is locked: a supervisor that tidies up takes it for left behind
        return cls(path, lock)

    @classmethod
    def join(cls, path: Path) -> "SharedDirectory":
        """Share one that another process has made. Raises ``OSError``."""
        return cls(path, _locked(path / _LOCK, 0, fcntl.LOCK_SH))

    def leave(self) -> None:
        """Give it up, and remove it if no other process has it."""
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(self.path, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(self._lock)


@contextlib.contextmanager
def shared_directory() -> Iterator[Path | None]:
    """A new one for as long as the block; ``None`` where nothing can be written."""
    try:
        _tidy(Path(tempfile.gettempdir()))
        directory = SharedDirectory.make()
    except OSError as error:  # a container whose file system is read-only
        log.warning("could not create a temporary directory: %s", error.strerror)
        yield None
        return
    try:
        yield directory.path
    finally:
        directory.leave()


def _tidy(temporary: Path) -> None:
    """Remove what this user's processes have left there that were killed."""
    for path in temporary.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # in use, gone meanwhile, or another user's
            if path.lstat().st_uid == os.getuid():
                SharedDirectory(path, _locked(path / _LOCK, 0, fcntl.LOCK_EX | fcntl.LOCK_NB)).leave()


def _locked(path: Path, flags: int, how: int) -> int:
    """A descriptor of ``path``, locked. Raises ``OSError``."""
    lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)
    try:
        fcntl.flock(lock, how)
    except OSError:
        os.close(lock)
        raise
    return lock
