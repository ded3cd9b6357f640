"""Isolates the logging of a test: its changes to Python's logging are undone."""

import contextlib
import logging
from collections.abc import Iterator

from gateway.logs.loggers import AUDIT

_OF_LINES = ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing")


@contextlib.contextmanager
def own_log() -> Iterator[None]:
    """Begin the block without log handlers, and restore levels, handlers and record settings at its end.

    So libraries that a test configures do not log in other tests."""
    root = logging.getLogger()
    before = {one: one.handlers[:] for one in (root, *_loggers())}
    root.handlers[:] = []
    with kept_settings():
        try:
            yield
        finally:
            for one in (root, *_loggers()):
                handlers = before.get(one, [])
                for handler in {*one.handlers} - {*handlers}:
                    handler.close()
                one.handlers[:] = handlers


@contextlib.contextmanager
def kept_settings() -> Iterator[None]:
    """Restore the levels of loggers and the settings of records at the end of the block."""
    before = {one: (one.level, one.propagate) for one in (logging.getLogger(), *_loggers())}
    of_lines = {name: getattr(logging, name) for name in _OF_LINES}
    try:
        yield
    finally:
        for one in (logging.getLogger(), *_loggers()):
            level, one.propagate = before.get(one, (logging.NOTSET, True))
            if one.level != level:  # it takes time for each logger that exists
                one.setLevel(level)
        for name, value in of_lines.items():
            setattr(logging, name, value)


def _loggers() -> list[logging.Logger]:
    return [one for one in logging.Logger.manager.loggerDict.values() if isinstance(one, logging.Logger)]


def flush_audit() -> None:
    """Wait until a thread has written the audit's lines to their file."""
    for handler in logging.getLogger(AUDIT).handlers:
        handler.flush()
