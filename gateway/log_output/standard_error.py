"""The log on standard error, whose reader may stop: a pager, a terminal after Ctrl-S, a log driver of containers."""

import logging
import os
import select
import sys
import threading
from collections import deque
from typing import Final

MOST_WAITING: Final = 16 * 2**20
"""Bytes of lines that wait for the reader; while it has so many, new lines are lost."""

_LAST_WAIT: Final = 1.0
"""Seconds for which the end of the process waits for the reader."""


def open_handler() -> logging.Handler:
    """Return the handler of standard error."""
    try:
        fd = sys.stderr.fileno()
        if os.isatty(fd):  # which may accept a part of a line, so open it anew to make it non-blocking for this process
            fd = os.open(os.ttyname(fd), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        return LineHandler(fd, sys.stderr.encoding)
    except (AttributeError, OSError, ValueError):  # an object without a file has replaced it
        return logging.StreamHandler(sys.stderr)


class LineHandler(logging.Handler):
    """A handler that writes lines to the file ``fd``, and never waits until it accepts them.

    A thread writes those that it does not accept immediately or that have more than ``at_once`` bytes, and later ones
    in order. If lines were lost, the last one reports their number and the ``cause``. So does the first line after the
    file refused some, such as on a full disk."""

    cause = "standard error was not read"

    def __init__(self, fd: int, encoding: str = "utf-8", at_once: int = select.PIPE_BUF) -> None:
        super().__init__()
        self._encoding, self._at_once = encoding, at_once
        self.use_file(fd)
        self._lock = threading.RLock()  # of the following
        self._waiting = deque[bytes]()
        self._size = self._lost = 0
        self._reported = 0  # lost lines in the report that is being written
        self._is_failing = False  # the file refused the last line
        self._ends_in_line = False  # the last written byte ends no line
        self._is_closed = False
        self._is_idle = threading.Event()  # without a thread
        self._is_idle.set()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._encode(record)
            if self._is_idle.is_set() and len(line) <= self._at_once and self._poll.poll(0):
                line = self._write(line)
            if line or (self._lost and not self._is_failing):
                self._add(line)
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Wait until the reader has all lines, for a second at most."""
        self._is_idle.wait(_LAST_WAIT)

    def close(self) -> None:
        """Accept no more lines, and do not wait for the reader of those before."""
        super().close()
        with self._lock:
            self._is_closed = True
            if self._is_idle.is_set():
                self.release_file()

    def _encode(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode(self._encoding, "backslashreplace")

    def _add(self, line: bytes) -> None:
        with self._lock:
            if self._size + len(line) > MOST_WAITING:
                self._lost += 1
                return
            self._waiting.append(line)
            self._size += len(line)
            if self._is_idle.is_set():
                self._is_idle.clear()
                threading.Thread(target=self._write_waiting, name="log", daemon=True).start()

    def _write_waiting(self) -> None:
        while (line := self._next()) is not None:
            while line := self._write(line):
                self._poll.poll()

    def _write(self, line: bytes) -> bytes:
        """Write ``line``, and return the part that the file does not accept now. Count the line as lost if the file
        refuses it."""
        try:
            rest = self.write_line(b"\n" + line if self._is_failing and self._ends_in_line else line)
        except OSError as error:
            with self._lock:
                self._lost, self._reported = self._lost + (self._reported or 1), 0
            if not self._is_failing:
                self._is_failing = True
                self.note_refusal(error)
            return b""
        self._is_failing = False
        return rest

    def _next(self) -> bytes | None:
        """Return the next line for the thread, which ends without one."""
        with self._lock:
            self._reported = 0
            if self._waiting:
                line = self._waiting.popleft()
                self._size -= len(line)
                return line
            if self._lost and not self._is_failing:
                text = f"{self._lost} lines of the log were lost, because {self.cause}"
                self._reported, self._lost = self._lost, 0
                return self._encode(logging.LogRecord("trigate", logging.WARNING, "", 0, text, None, None))
            self._is_idle.set()
            if self._is_closed:
                self.release_file()
            return None

    # For files that are reopened

    def use_file(self, fd: int) -> None:
        self.fd, self._poll = fd, select.poll()
        self._poll.register(fd, select.POLLOUT)

    def release_file(self) -> None:
        """End the use of the file, after ``close`` and the last line."""

    def write_line(self, line: bytes) -> bytes:
        """Write ``line``, and return the part that the file does not accept now. Raises ``OSError``."""
        try:
            size = os.write(self.fd, line)
        except BlockingIOError:
            return line
        self._ends_in_line = not line[:size].endswith(b"\n")
        return line[size:]

    def note_refusal(self, error: OSError) -> None:
        """Note why the file refuses lines from now on."""
        self.cause = f"standard error was not writable: {error.strerror}"
