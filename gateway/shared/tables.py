"""All that the workers of a process group know in common, or one process for itself."""

import logging
import time
from collections.abc import Callable

import attrs
import trio

from gateway.shared.counts import LocalCounts, OpenCounts, SharedCounts
from gateway.shared.layout import SIZES
from gateway.shared.memory import SharedMemory
from gateway.shared.rows import LocalRows, Rows
from gateway.shared.shared_rows import SharedRows

log = logging.getLogger("trigate.server")


@attrs.frozen
class Tables:
    """The tables, and the ``clock`` by which their rows expire, in seconds.

    ``circuits`` is what is known of targets and of accounts at providers, ``pins`` where conversations go, and
    ``open_answers`` counts what targets are answering."""

    circuits: Rows
    pins: Rows
    open_answers: OpenCounts
    clock: Callable[[], float]


def local_tables(clock: Callable[[], float] = trio.current_time) -> Tables:
    """Those of a process that has no others beside it."""
    rows = {name: LocalRows(size.rows, clock) for name, size in SIZES.items()}
    return Tables(rows["circuits"], rows["pins"], LocalCounts(), clock)


def shared_tables(memory: SharedMemory) -> Tables:
    """Those of all workers, for this one, which takes a seat. Raises ``OSError`` where none is free."""
    seat = memory.take_seat()
    rows = {name: SharedRows(memory, seat, name) for name in SIZES}
    return Tables(rows["circuits"], rows["pins"], SharedCounts(memory, seat), time.monotonic)


def inherited_tables(fd: int | None) -> Tables:
    """Those of the memory in the file ``fd`` that a supervisor has made, or this worker's own where there is none."""
    if fd is None:
        return local_tables()
    try:
        return shared_tables(SharedMemory.join(fd))
    except (OSError, ValueError) as error:  # a worker that serves by itself is better than none
        log.warning("circuits, pins and open answers are this worker's own: %s", error)
        return local_tables()
