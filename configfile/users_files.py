"""Files that users name. No device, and no pipe that nothing writes to, keeps a command from its end."""

import contextlib
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

    A new file gets ``mode`` without the bits of the umask; another one keeps its owner, group and mode. A file that
    cannot be replaced, such as in a folder of someone else, is written in place."""
    before = path.stat() if path.exists() else None
    if before is not None and not stat.S_ISREG(before.st_mode):  # a pipe or a terminal
        path.write_bytes(content)
        return
    path = Path(os.path.realpath(path))  # keeps symbolic links
    temporary = path.with_name(f".trigate-{os.urandom(8).hex()}")
    at_first = mode if before is None else 0o600  # the content may be more private than others' right to the new file
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, at_first)) as file:
            file.write(content)
            if before is not None:
                with contextlib.suppress(PermissionError):
                    os.fchown(file.fileno(), before.st_uid, before.st_gid)
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if before is None or not isinstance(error, OSError) or error.errno not in _CANNOT_REPLACE:
            raise
        path.write_bytes(content)


_CANNOT_REPLACE: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY)
"""The errors for a folder without the right to write, and for a file that is a mount, as in containers."""


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
