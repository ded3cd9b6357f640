"""The file of the audit. Most gateways have none."""

import logging
import os
from typing import Final

from gateway.log_output.standard_error import LineHandler

_NONE: Final = -1
"""The descriptor of a closed file."""


class AuditFile(LineHandler):
    """An append-only file that only its owner can read, reopened after log rotation. The constructor raises
    ``OSError``.

    A thread writes all lines: the file system may not respond, and the reader of a named pipe may not read."""

    cause = "the audit file was not writable"

    def __init__(self, path: str) -> None:
        self._path = path
        super().__init__(_open(path), at_once=0)

    def release_file(self) -> None:
        if self.fd != _NONE:
            os.close(self.fd)
            self.fd = _NONE

    def write_line(self, line: bytes) -> bytes:
        if not self._has_path():
            fd = _open(self._path)
            self.release_file()
            self.use_file(fd)
        return super().write_line(line)

    def _has_path(self) -> bool:
        """Return whether the file is open and still has the path."""
        try:
            return self.fd != _NONE and os.path.samestat(os.stat(self._path), os.fstat(self.fd))
        except FileNotFoundError:
            return False

    def note_refusal(self, error: OSError) -> None:
        """Log one line: a full disk must neither stop the gateway nor fill the log with tracebacks."""
        logging.getLogger("trigate").error("could not write the audit: %s", error.strerror)


def _open(path: str) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
