"""Files that only their owner can read, for SQLite."""

import contextlib
import os
from pathlib import Path


def create_private_file(path: Path) -> None:
    """Create an empty file that only its owner can read; its journal gets the same mode. Raises ``OSError``.

    An existing file is not touched: opening and closing it would drop this process's locks on it."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
