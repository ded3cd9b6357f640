"""A file without a name, for processes that inherit it."""

import os
import tempfile
from typing import IO


def nameless() -> IO[bytes]:
    """A file that no directory holds: in memory where the system has that (Linux), else in the temporary directory. It
    goes with the last process that has it, however that ends, and nobody else can open it. Raises ``OSError``."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("trigate"), "w+b", buffering=0)
    return tempfile.TemporaryFile(prefix="trigate-", buffering=0)
