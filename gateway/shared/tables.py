"""The shared tables of the workers of a process group."""

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
"""Seats for other processes: the supervisor, and one that it uses briefly for cleanup."""


@attrs.frozen(eq=False, repr=False)
class SharedTables:
    """The shared tables of ``workers``, as used by one process.

    ``circuits``: states of targets and accounts. ``pins``: targets of conversations. ``open_answers``: open responses
    by target. ``amounts``: usage of limits. ``queues``: requests that wait for targets. ``seat`` is this process's
    number, ``clock`` a clock in seconds common to all."""

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
        """Return the tables for this process, which takes a seat. Raises ``OSError`` without a free one."""
        seat = memory.take_seat()
        rows = {name: SharedRows(memory, name) for name in SIZES}
        workers = memory.layout.seats - _NOT_WORKERS
        amounts = SharedAmounts(memory, seat)
        counts = SharedCounts(amounts)
        return cls(memory, workers, rows["circuits"], rows["pins"], counts, amounts, rows["queues"], seat)

    @classmethod
    @contextlib.contextmanager
    def make(cls, workers: int) -> "Iterator[SharedTables | None]":
        """Create a supervisor's tables for the duration of the block; ``None`` if the system has no such memory."""
        with contextlib.ExitStack() as stack:
            try:
                tables = cls.of(stack.enter_context(SharedMemory.make(Layout(workers + _NOT_WORKERS))))
            except OSError as error:  # a container without memory, or with a read-only file system
                log.warning(
                    "limits, circuits, pins and open responses are not shared between workers: %s", error.strerror
                )
                yield None
            else:
                yield tables

    @classmethod
    def join(cls, fd: int) -> "SharedTables | None":
        """Return a worker's tables in the inherited file ``fd``, ``None`` if it is unusable."""
        try:
            return cls.of(SharedMemory.join(fd))
        except (OSError, ValueError) as error:  # another version after an update
            log.warning(
                "until a restart, this worker does not share limits, circuits, pins and open responses: %s", error
            )
            return None
