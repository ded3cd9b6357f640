"""The number of steps of all tasks of a loop: work that does not depend on the machine."""

import contextlib
from collections.abc import Iterator

import trio


class TaskSteps(trio.abc.Instrument):
    """A counter of the steps of all tasks."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1


@contextlib.contextmanager
def count_task_steps() -> Iterator[TaskSteps]:
    """Count the steps of all tasks of the current loop in the block."""
    steps = TaskSteps()
    trio.lowlevel.add_instrument(steps)
    try:
        yield steps
    finally:
        trio.lowlevel.remove_instrument(steps)
