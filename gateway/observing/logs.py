"""The process's log on standard error: for people on a terminal, JSON elsewhere, and nowhere a credential.

Every line passes one redactor, whoever wrote it: exchanges, our own warnings, tracebacks, the libraries below us.
"""

import logging
import sys
import time
from typing import Final, Literal, TypeAlias

import msgspec

from gateway.config.settings import Config, LogLevel
from gateway.errors import Secrets, findable, redact, secrets_in

LogFormat: TypeAlias = Literal["auto", "json", "text"]

_TALKATIVE: Final = ("httpx2", "httpcore2", "hpack", "asyncio")
"""At ``debug`` these log the headers of requests, and with them keys that only clients know."""


class _Lines(logging.Formatter):
    """``readable``: for people. Else every line is one JSON object; exchanges come as such already."""

    def __init__(self, readable: bool) -> None:
        super().__init__("%(message)s")
        self._readable = readable
        self._secrets: Secrets = ()

    def hide(self, secrets: Secrets) -> None:
        """Replace these from now on, too, also where they are written as JSON writes them."""
        self._secrets = findable((*self._secrets, *secrets))

    def format(self, record: logging.LogRecord) -> str:
        text = self._text(record) if self._readable else self._json(record)
        return redact(text.encode("utf-8", "backslashreplace"), self._secrets).decode()

    def _text(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if text.startswith("at=") else f"at={_at(record)} level={record.levelname.lower()} {text}"

    def _json(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if text.startswith('{"event":'):
            return text
        line = {
            "event": "log",
            "at": _at(record),
            "level": record.levelname.lower(),
            "message": text,
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def _at(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))


def _leave_out_what_no_line_has() -> None:
    """Where in the code a line was written, and by which thread and process (Python's "Logging HOWTO", Optimization):
    a third of what a line costs."""
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class Log:
    """Where the process's lines go, from the moment it is made. ``level`` outranks that of the configuration."""

    def __init__(self, level: LogLevel | None = None, form: LogFormat = "auto") -> None:
        self.readable = sys.stderr.isatty() if form == "auto" else form == "text"
        self._level = level
        self._lines = _Lines(self.readable)
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(self._lines)
        _leave_out_what_no_line_has()
        logging.basicConfig(level=(level or "info").upper(), handlers=[handler])
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.INFO)

    def follow(self, config: Config) -> None:
        """Hide the credentials of ``config``, and log what it wants logged."""
        self._lines.hide(secrets_in(config))
        logging.getLogger().setLevel((self._level or config.log_level).upper())
