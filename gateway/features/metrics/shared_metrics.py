"""The metrics of several workers in one directory: each writes its own files, and the one that is scraped adds them up.
The counts of dead workers stay, so that no counter decreases."""

import contextlib
import errno
import fcntl
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs
from prometheus_client import Metric
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from gateway.config.settings import Config
from gateway.features.metrics.feature import FOLDER
from gateway.features.metrics.rows import RELOADS
from gateway.seams.supervised import Supervised
from gateway.shared.memory import anonymous_file

log = logging.getLogger("trigate.metrics")


FIRST_BYTES: Final = 2**16
"""The first size of a file, which the client library doubles."""

ENTRY_BYTES: Final = 32
"""The most bytes of an entry in addition to its key."""


class ReservedFile(MmapedDict):
    """A file of numbers with reserved disk space. The constructor and both methods raise ``OSError`` without space.

    The client library only sets the file's size, and the kernel kills a process that writes to a mapped page without
    space (SIGBUS)."""

    def __init__(self, filename: str) -> None:
        self._reserve(filename, FIRST_BYTES)
        super().__init__(filename)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        if self._used + len(key.encode()) + ENTRY_BYTES > self._capacity:
            self._reserve(self._fname, 2 * self._capacity)
        super()._init_value(key)  # type: ignore[no-untyped-call]

    @staticmethod
    def _reserve(filename: str, size: int) -> None:
        fd = os.open(filename, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, size)
        except OSError as error:  # others mean that the file system cannot reserve space
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
        finally:
            os.close(fd)


class WorkerFile(ReservedFile):
    """A worker's file. Without disk space, the worker continues, and the page lacks its new numbers."""

    _is_full = False

    def __init__(self, filename: str) -> None:
        try:
            super().__init__(filename)
        except OSError as error:
            log.warning("/metrics has no numbers of this worker: %s", error)
            self._file = anonymous_file()
            super().__init__(f"/proc/self/fd/{self._file.fileno()}")

    def read_value(self, key: str) -> tuple[float, float]:
        try:
            return super().read_value(key)  # type: ignore[no-untyped-call, no-any-return]
        except OSError:  # the first write tries again
            return 0.0, 0.0

    def write_value(self, key: str, value: float, timestamp: float) -> None:
        try:
            super().write_value(key, value, timestamp)  # type: ignore[no-untyped-call]
        except OSError as error:
            if not self._is_full:
                log.warning("/metrics lacks new numbers of this worker: %s", error)
            self._is_full = True


class SharedFolder(Supervised):
    """The metrics that workers share in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def env(self) -> Mapping[str, str]:
        return {FOLDER: str(self._folder)}

    def note_reload(self, good: bool) -> None:
        name, labels = RELOADS.name, [*RELOADS.labels]
        found = "accepted" if good else "refused"
        key = mmap_key(name.removesuffix("_total"), name, labels, [found], RELOADS.meaning)
        try:
            with _lock_folder(self._folder, fcntl.LOCK_EX):
                _add(self._folder / "counter_supervisor.db", {key: 1})
        except OSError as error:
            log.error("could not count a reload: %s", error)

    def note_dead_worker(self, pid: int) -> None:
        try:
            merge_dead_worker(self._folder, pid)
        except (OSError, RuntimeError, ValueError) as error:  # the library's errors for an incomplete file
            log.error("could not merge the metrics of worker %d: %s", pid, error)


def shared_metrics(config: Config, directory: Path | None) -> Supervised:
    """Return the metrics shared in a new subdirectory of ``directory``. Raises ``OSError``."""
    if directory is None:
        log.warning("/metrics shows only one worker")
        return Supervised()
    folder = directory / "metrics"
    folder.mkdir(mode=0o700)
    return SharedFolder(folder)


def merge_dead_worker(folder: Path, pid: int) -> None:
    """Remove a dead worker's gauges, and add its counts to those of the other dead workers. Otherwise each dead worker
    would leave another file."""
    with _lock_folder(folder, fcntl.LOCK_EX):
        mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
        for kind in ("counter", "histogram"):
            file = folder / f"{kind}_{pid}.db"
            if _has_content(file):
                counted = MmapedDict.read_all_values_from_file(str(file))  # type: ignore[no-untyped-call]
                _add(folder / f"{kind}_dead.db", {key: value for key, value, *_ in counted})
            file.unlink(missing_ok=True)


def _add(file: Path, numbers: Mapping[str, float]) -> None:
    known = ReservedFile(str(file))
    try:
        for key, value in numbers.items():
            known.write_value(key, known.read_value(key)[0] + value, 0.0)  # type: ignore[no-untyped-call]
    finally:
        known.close()  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def whole(folder: Path) -> Iterator[None]:
    """Run a block in which the files in ``folder`` are consistent."""
    with _lock_folder(folder, fcntl.LOCK_SH):
        yield


@attrs.frozen(eq=False, repr=False)
class WorkersCollector:
    """Collects the counts of all workers that share ``folder``, for a registry of the client library."""

    folder: Path

    def collect(self) -> Iterable[Metric]:
        with whole(self.folder):
            files = [str(file) for file in self.folder.glob("*.db") if _has_content(file)]
            return MultiProcessCollector.merge(files)  # type: ignore[no-untyped-call, no-any-return]


def _has_content(file: Path) -> bool:
    """Return whether the file is not empty.

    A starting process briefly has empty files, which the client library cannot read; a process that is killed then
    leaves them."""
    try:
        return file.stat().st_size > 0
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _lock_folder(folder: Path, how: int) -> Iterator[None]:
    """Lock ``folder``: reading during the merge of a dead worker would count its numbers twice or not at all."""
    with (folder / "lock").open("ab") as file:
        fcntl.flock(file, how)
        yield
