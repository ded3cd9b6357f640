"""The default size of the spool, by the free space of ``TMPDIR`` and by the memory limit if that is in memory."""

import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

LARGEST: Final = 2 * 2**30
"""The default size of the spool in bytes, if there is room for it."""

MEMORY_SHARE: Final = 8
"""The part of the memory that the spool of a worker may use if ``TMPDIR`` is in memory: an eighth."""

_IN_MEMORY: Final = frozenset(("tmpfs", "ramfs"))
_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def free_space() -> int:
    """Return the free bytes of the file system with temporary files. Raises ``OSError``."""
    return shutil.disk_usage(tempfile.gettempdir()).free


@functools.cache
def default_size() -> int:
    """Return the default size of this process's spool in bytes. Raises ``OSError``."""
    return spool_size(Path(tempfile.gettempdir()))


def spool_size(directory: Path, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int:
    """Return the default size of a spool in ``directory``: ``LARGEST``, or less if the directory is in memory.

    Raises ``OSError``."""
    if _file_system(directory, proc) not in _IN_MEMORY:
        return LARGEST
    return min(LARGEST, memory_limit(proc, cgroups) // MEMORY_SHARE)


def memory_limit(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> int:
    """Return the memory in bytes that this process may use: that of its cgroups, or of the machine."""
    return min([*_cgroup_limits(proc, cgroups), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")])


def _file_system(directory: Path, proc: Path) -> str:
    """Return the type of the file system of ``directory``, ``""`` if it is unknown."""
    device = os.stat(directory).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = (proc / "self/mountinfo").read_text().splitlines()
    except OSError:  # not Linux
        return ""
    for fields in map(str.split, mounts):
        if fields[2] == number and "-" in fields:
            return fields[fields.index("-") + 1]
    return ""


def _cgroup_limits(proc: Path, cgroups: Path) -> Iterator[int]:
    """Yield the memory limits in bytes of this process's cgroups, of version 1 or 2, and of their parents."""
    try:
        lines = (proc / "self/cgroup").read_text().splitlines()
    except OSError:
        return
    for _, controllers, path in (line.split(":", 2) for line in lines):
        if controllers not in ("", "memory"):
            continue
        root, name = (cgroups / controllers, "memory.limit_in_bytes") if controllers else (cgroups, "memory.max")
        own = root / path.lstrip("/")
        for folder in (own, *own.parents):
            limit = _read_number(folder / name)
            if limit is not None:
                yield limit
            if folder == root:
                break


def _read_number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:  # a container sees its own group as the root
        return None
    return int(text) if text.isdecimal() else None
