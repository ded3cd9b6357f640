"""Files that another user has put where everyone can write, as in /tmp: that user could read them."""

import contextlib
import errno
import os
import stat
from pathlib import Path


def refuse_planted(path: Path) -> None:
    """Raise ``PermissionError`` if another user made ``path`` or its parents where everyone can write."""
    for one in (path := path.absolute(), *path.parents):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            is_foreign = one.lstat().st_uid not in (0, os.geteuid())
            if is_foreign and one.parent.stat().st_mode & stat.S_IWOTH:
                raise PermissionError(errno.EPERM, "another user put it where everyone can write", str(one))
