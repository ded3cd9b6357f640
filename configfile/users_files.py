"""Files that users name. No device, and no pipe that nothing writes to, keeps a command from its end."""

import errno
import os
import select
import stat
from io import BufferedReader
from pathlib import Path
from typing import Final

SECONDS_FOR_WRITER: Final = 5.0
"""The longest wait until a program writes to a pipe; after it, one without such a program is empty."""


def open_file(path: str | Path) -> BufferedReader:
    """Open a file for reading. Raises ``OSError``, also for a directory and for an endless device."""
    return open(path, "rb", opener=_open)


def read_file(path: str | Path) -> bytes:
    """Return the content of a file. Raises ``OSError``, as ``open_file`` does."""
    with open_file(path) as file:
        return file.read()


def replace_file(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file completely, or not at all: on a full disk, it keeps its content. Raises ``OSError``.

    A new file gets ``mode`` without the bits of the umask."""
    path = path.resolve()  # keeps symbolic links
    if path.exists() and not path.is_file():  # a pipe or a terminal
        path.write_bytes(content)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags | os.O_EXCL, mode)) as file:
            file.write(content)
        if path.exists():
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _open(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NONBLOCK)  # otherwise a pipe without a writer would block
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISCHR(kind) and not os.isatty(descriptor) and path != os.devnull:
        os.close(descriptor)
        raise OSError(errno.EINVAL, "Is a device", path)
    if stat.S_ISFIFO(kind):
        select.select((descriptor,), (), (), SECONDS_FOR_WRITER)
    os.set_blocking(descriptor, True)  # the writer may pause
    return descriptor
