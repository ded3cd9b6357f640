"""The tasks of a loop, and the number of their steps: work that does not depend on the machine."""

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


def living_tasks() -> Iterator[trio.lowlevel.Task]:
    """Yield all tasks of the current loop."""
    waiting = [trio.lowlevel.current_root_task()]
    while waiting:
        if (task := waiting.pop()) is not None:
            yield task
            waiting += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
