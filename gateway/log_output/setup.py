"""The process's log on standard error: text on a terminal, JSON elsewhere, never with a credential.

Every line is masked, whatever its origin: exchanges, warnings, tracebacks, libraries."""

import logging
import sys
import time
from typing import Any, Final, Literal, TypeAlias

import msgspec

from gateway.config.settings import Config, LogLevel, Remark
from gateway.log_output.standard_error import open_handler
from gateway.log_output.terminal import Printer
from gateway.logs.loggers import AUDIT, EXCHANGES
from gateway.logs.masking import Mask, escape_json, escape_lines

LogFormat: TypeAlias = Literal["auto", "json", "text"]

STDERR: Final = "stderr"

LONGEST: Final = 8 * 1024
"""Characters of a message or traceback, which may contain data from a client or provider."""

_NOT_SHOWN: Final = ("event", "at", "worker")
"""Audit fields that people do not see."""

_TALKATIVE: Final = ("hpack", "asyncio", "urllib3")
"""Libraries that log request headers at level ``debug``, with keys that only clients know."""

_SIGNING_IN: Final = ("azure", "boto", "botocore", "google.auth", "msal")
"""Libraries for signing in: they log requests with credentials, and each failure before the gateway does."""


class _Lines(logging.Formatter):
    """The formatter: text if there is a ``screen``, else one JSON object per line; exchange lines are already JSON."""

    def __init__(self, screen: Printer | None) -> None:
        super().__init__("%(message)s")
        self._screen = screen
        self.mask = Mask()

    def format(self, record: logging.LogRecord) -> str:
        if record.name == EXCHANGES:
            text = record.getMessage()
        elif record.name == AUDIT:
            text = self._audit_line(record)
        elif self._screen is not None:
            text = self._text(self._screen, record)
        else:
            text = self._json(record)
        text = self.mask(_valid_text(text))
        return text if self._screen is not None else escape_json(text)

    def _audit_line(self, record: logging.LogRecord) -> str:
        line = getattr(record, AUDIT)
        if self._screen is None:
            return msgspec.json.encode(line).decode()
        words = ", ".join(f"{name} {_join_list(value)}" for name, value in line.items() if name not in _NOT_SHOWN)
        return self._screen.message(record.created, record.levelname.lower(), f"audit: {line['event']}, {words}")

    def _text(self, screen: Printer, record: logging.LogRecord) -> str:
        text = screen.message(record.created, record.levelname.lower(), self._mask_text(record.getMessage()))
        if not record.exc_info:
            return text
        return f"{text}\n{escape_lines(self._mask_text(self.formatException(record.exc_info)))}"

    def _mask_text(self, text: str) -> str:
        """Return ``text`` with keys masked, then truncated: a truncated key would not be recognised."""
        return _shorten(self.mask(_valid_text(text)))

    def _json(self, record: logging.LogRecord) -> str:
        line = {
            "event": "log",
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "message": self._mask_text(record.getMessage()),
        }
        if record.exc_info:
            line["traceback"] = self._mask_text(self.formatException(record.exc_info))
        return msgspec.json.encode(line).decode()


def _join_list(value: Any) -> str:
    return "; ".join(value) if isinstance(value, list) else str(value)


def _valid_text(text: str) -> str:
    """Return ``text`` with invalid characters escaped, such as half a surrogate pair."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _shorten(text: str) -> str:
    """Return ``text``, or its two ends if it is too long."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[-LONGEST // 2 :]}"


class AuditTarget:
    """The destination of the audit: the process's log or a file."""

    def __init__(self, form: logging.Formatter) -> None:
        """Make an audit whose lines in a file are formatted by ``form``."""
        self._log = logging.getLogger(AUDIT)
        self._form = form
        self._file: logging.Handler | None = None

    def write_to(self, audit: str | None) -> None:
        """Send the audit to ``audit``: ``stderr``, a path, or ``None`` for warnings in the log.

        Raises ``OSError`` for an unwritable file, and then changes nothing."""
        file = None
        if audit not in (None, STDERR):
            from gateway.log_output.audit_file import AuditFile  # few gateways have one

            file = AuditFile(str(audit))
            file.setFormatter(self._form)
            self._log.addHandler(file)
        if self._file is not None:
            self._log.removeHandler(self._file)
            self._file.close()
        self._file = file
        self._log.propagate = file is None
        self._log.setLevel(logging.WARNING if audit is None else logging.INFO)


_STARTING: Final = logging.getLogger("trigate.start")


def _skip_unused_fields() -> None:
    """Skip source position, thread and process of log lines, a third of their cost (Python's "Logging HOWTO",
    Optimization)."""
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


class Log:
    """The log of a process. ``level`` overrides that of the configuration."""

    def __init__(self, level: LogLevel | None = None, form: LogFormat = "auto", *, alone: bool = True) -> None:
        """Make the log; ``alone`` if no other code in the process formats log lines."""
        self.readable = sys.stderr.isatty() if form == "auto" else form == "text"
        self._level = level
        self._lines = _Lines(Printer.of(sys.stderr) if self.readable else None)
        self.mask = self._lines.mask
        """The credentials that no line contains."""
        handler = open_handler()
        handler.setFormatter(self._lines)
        in_file = _Lines(None)
        in_file.mask = self.mask
        self._audit = AuditTarget(in_file)
        if alone:
            _skip_unused_fields()
        logging.basicConfig(level=(level or "info").upper(), handlers=[handler])
        _STARTING.setLevel(logging.INFO)
        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.INFO)
        for name in _SIGNING_IN:
            logging.getLogger(name).setLevel(logging.ERROR)

    def say(self, kind: Remark, text: str) -> None:
        """Print a remark for the person who starts the process, at any log level."""
        _STARTING.log(logging.WARNING if kind == "warning" else logging.INFO, "%s", text)

    def apply_config(self, config: Config) -> None:
        """Mask the credentials of ``config``, and apply its log settings. Raises ``OSError`` for an unwritable audit
        file."""
        self.mask.apply_config(config)
        self._audit.write_to(config.audit)
        logging.getLogger().setLevel((self._level or config.log_level).upper())
