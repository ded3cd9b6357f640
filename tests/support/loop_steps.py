"""The longest step of the event loop: the time for which one task keeps all others, and so all streams, waiting.

It is CPU time of the loop's thread, because another program on the machine also delays a step.
"""

import contextlib
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Final

import msgspec
import trio

from tests.support.counted_calls import no_collections
from tests.support.gateway_thread import ThreadGateway
from tests.support.harness import PATIENCE

LONGEST: Final = 0.08
"""Seconds that a step may take on a quiet machine, less than what may delay a stream. The largest event takes most of
it."""

_SAMPLE: Final = b"x" * 12_000_000
_MEMORY_SECONDS: Final = 0.02
_NUMBERS: Final = range(100_000)
_INTERPRETER_SECONDS: Final = 0.006
_OBJECTS: Final = b"[%s]" % b",".join([b'{"index":1,"function":{"name":"f","arguments":"{"}}'] * 20_000)
_OBJECTS_SECONDS: Final = 0.015
"""CPU times of the three works of ``_slowdown`` on a quiet machine."""


class LoopSteps(trio.abc.Instrument):
    """The steps of the loop that it instruments. ``longest`` is in seconds, ``task`` the name of that step's task."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.task = ""
        self._began = math.inf  # within the step that adds this instrument

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._began = time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if (took := time.thread_time() - self._began) > self.longest:
            self.longest, self.task = took, task.name


@contextlib.contextmanager
def loop_steps() -> Iterator[LoopSteps]:
    """Measure the steps of the current loop in the block, with the parts of its own first and last step in it."""
    steps, task = LoopSteps(), trio.lowlevel.current_task()
    with no_collections():  # also while the instrument is added and removed
        trio.lowlevel.add_instrument(steps)
        steps.before_task_step(task)
        try:
            yield steps
        finally:
            steps.after_task_step(task)
            trio.lowlevel.remove_instrument(steps)


@contextlib.contextmanager
def gateway_steps(gateway: ThreadGateway) -> Iterator[LoopSteps]:
    """Measure the steps of a gateway's loop in the block."""
    steps = LoopSteps()
    with no_collections():  # also while the instrument is added and removed
        _run_in_loop(gateway, lambda: trio.lowlevel.add_instrument(steps))
        try:
            yield steps
        finally:
            _run_in_loop(gateway, lambda: trio.lowlevel.remove_instrument(steps))


def check_steps(
    gateway: ThreadGateway, work: Callable[[], object], attempts: int = 3, longest: float = LONGEST
) -> None:
    """Check that no step of the gateway's loop takes ``longest`` seconds while ``work()`` runs.

    The CPU time of a step includes that of the system, which once took half a second to provide 12 MB of memory. A step
    that is too long by its own work is so in each of the ``attempts``.
    """
    found: list[LoopSteps] = []
    for _ in range(attempts):
        with gateway_steps(gateway) as steps:
            work()
        if _are_short(steps, longest):
            return
        found.append(steps)
    assert not found, _text_of(found)


async def check_own_steps(work: Callable[[], Awaitable[object]], attempts: int = 3, longest: float = LONGEST) -> None:
    """Check that no step of the current loop takes ``longest`` seconds while ``await work()`` runs.

    It is repeated as that of ``check_steps``.
    """
    found: list[LoopSteps] = []
    for _ in range(attempts):
        with loop_steps() as steps:
            await work()
        if _are_short(steps, longest):
            return
        found.append(steps)
    assert not found, _text_of(found)


def check_measured_steps(steps: LoopSteps, longest: float = LONGEST) -> None:
    """Check that none of ``steps``, of work that cannot be repeated, took ``longest`` seconds."""
    assert _are_short(steps, longest), _text_of([steps])


def _are_short(steps: LoopSteps, longest: float) -> bool:
    """Return whether each of the steps takes less than ``longest`` seconds on a quiet machine."""
    return steps.longest < longest or steps.longest < longest * _slowdown()


def _text_of(found: list[LoopSteps]) -> str:
    return "; ".join(f"{one.longest:.3f} s in {one.task}" for one in found)


def _slowdown() -> float:
    """Return how much slower the machine is now than a quiet one: 1 to 3.

    Other programs slow memory, the interpreter and the creation of objects down, which adds to the CPU time of a step.
    """
    began = time.thread_time()
    copies = [_SAMPLE + b"x" for _ in range(2)]
    assert not any(copy.translate(None, b"x") for copy in copies)
    copied = time.thread_time()
    assert sum(number & 1 for number in _NUMBERS) == len(_NUMBERS) / 2
    counted = time.thread_time()
    with no_collections():
        msgspec.json.decode(_OBJECTS)
    decoded = time.thread_time()
    memory, interpreter = (copied - began) / _MEMORY_SECONDS, (counted - copied) / _INTERPRETER_SECONDS
    return min(max(1.0, memory, interpreter, (decoded - counted) / _OBJECTS_SECONDS), 3.0)


def _run_in_loop(gateway: ThreadGateway, work: Callable[[], object]) -> None:
    done = threading.Event()

    def run() -> None:
        work()
        done.set()

    gateway.token.run_sync_soon(run)
    assert done.wait(PATIENCE)
