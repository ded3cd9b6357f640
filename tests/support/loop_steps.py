"""The longest step of the event loop: the time for which one task keeps all others, and so all streams, waiting.

It is CPU time of the loop's thread, because another program on the machine also delays a step.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Final

import trio

LONGEST: Final = 0.05
"""Seconds that a step may take: half of what may delay a stream, as two of them may follow each other."""


class LoopSteps(trio.abc.Instrument):
    """The steps of the loop that it instruments. ``longest`` is in seconds, ``task`` the name of that step's task."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.task = ""
        self._began = time.thread_time()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if (took := time.thread_time() - self._began) > self.longest:
            self.longest, self.task = took, task.name


@contextlib.contextmanager
def loop_steps() -> Iterator[LoopSteps]:
    """Measure the steps of the current loop in the block."""
    steps = LoopSteps()
    trio.lowlevel.add_instrument(steps)
    try:
        yield steps
    finally:
        trio.lowlevel.remove_instrument(steps)
