"""The log of a process, made in a test: what it changes of Python's logging is put back."""

import contextlib
import logging
from collections.abc import Iterator

_OF_LINES = ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing")


@contextlib.contextmanager
def own_log() -> Iterator[None]:
    """Begin without handlers, and leave levels, handlers and what lines have as they were: else other tests hear what
    libraries say."""
    root = logging.getLogger()
    before = {one: (one.level, one.propagate, one.handlers[:]) for one in (root, *_loggers())}
    of_lines = {name: getattr(logging, name) for name in _OF_LINES}
    root.handlers[:] = []
    try:
        yield
    finally:
        for one in (root, *_loggers()):
            level, one.propagate, handlers = before.get(one, (logging.NOTSET, True, []))
            for handler in {*one.handlers} - {*handlers}:
                handler.close()
            one.handlers[:] = handlers
            one.setLevel(level)
        for name, value in of_lines.items():
            setattr(logging, name, value)


def _loggers() -> list[logging.Logger]:
    return [one for one in logging.Logger.manager.loggerDict.values() if isinstance(one, logging.Logger)]
