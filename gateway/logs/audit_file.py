"""The file of the audit. Most gateways have none, and its base class imports ``pickle``."""

import logging
import os
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler


class AuditFile(WatchedFileHandler):
    """An append-only file that only its owner can read, reopened after log rotation. The constructor raises
    ``OSError``."""

    def __init__(self, path: str) -> None:
        super().__init__(path, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        fd = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return TextIOWrapper(open(fd, "ab"), encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:
        """Log one line: a full disk must neither stop the gateway nor fill the log with tracebacks."""
        logging.getLogger("trigate").error("could not write the audit: %s", record.getMessage())
