"""All that the workers of a process group know in common."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from typing import Final

import attrs

from gateway.shared.amounts import SharedAmounts, SharedCounts
from gateway.shared.layout import SIZES, Layout
from gateway.shared.memory import SharedMemory
from gateway.shared.shared_rows import SharedRows

log = logging.getLogger("trigate.server")

_NOT_WORKERS: Final = 2
"""Seats beside those of workers: the supervisor's, and one that it may hold for a moment while it tidies up."""


@attrs.frozen
class SharedTables:
    """The tables of so many ``workers``, as one process has them.

    ``circuits`` is what is known of targets and of accounts at providers, ``pins`` where conversations go,
    ``open_answers`` counts what targets are answering, ``amounts`` is what is used of limits, and ``queues``
    are the requests that wait for a target. ``seat`` is the number of this process'. ``clock`` is
    common to all processes, in seconds."""

    memory: SharedMemory
    workers: int
    circuits: SharedRows
    pins: SharedRows
    open_answers: SharedCounts
    amounts: SharedAmounts
    queues: SharedRows
    seat: int
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def of(cls, memory: SharedMemory) -> "SharedTables":
        """For this process, which takes a seat. Raises ``OSError`` where none is free."""
        seat = memory.take_seat()
        rows = {name: SharedRows(memory, name) for name in SIZES}
        workers = memory.layout.seats - _NOT_WORKERS
        amounts = SharedAmounts(memory, seat)
        counts = SharedCounts(amounts)
        return cls(memory, workers, rows["circuits"], rows["pins"], counts, amounts, rows["queues"], seat)

    @classmethod
    @contextlib.contextmanager
    def make(cls, workers: int) -> "Iterator[SharedTables | None]":
        """A supervisor's, for as long as the block; ``None`` where the system has no such memory."""
        with contextlib.ExitStack() as stack:
            try:
                tables = cls.of(stack.enter_context(SharedMemory.make(Layout(workers + _NOT_WORKERS))))
            except OSError as error:  # a container without memory or with a file system that is read-only
                log.warning("limits, circuits, pins and open answers are each worker's own: %s", error.strerror)
                yield None
            else:
                yield tables

    @classmethod
    def join(cls, fd: int) -> "SharedTables | None":
        """A worker's, in the file ``fd`` that it has inherited; ``None`` where that cannot be used."""
        try:
            return cls.of(SharedMemory.join(fd))
        except (OSError, ValueError) as error:  # another version's, after an update: to serve alone is better than not
            log.warning("limits, circuits, pins and open answers are this worker's own until a restart: %s", error)
            return None
