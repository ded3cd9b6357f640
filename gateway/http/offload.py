"""Runs work on large bodies in a thread, so that it does not delay the streams.

The thread and the streams alternate with the interpreter lock, so streams become slightly slower. There is only one
such thread: more would not be faster, and streams would wait for each one's C calls, which do not release the lock.
Clients take turns: at most one piece of work of each client waits for the thread."""

import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, ParamSpec, TypeVar
from weakref import WeakValueDictionary

import trio
from trio.lowlevel import RunVar

P = ParamSpec("P")
T = TypeVar("T")

LARGE: Final = 64 * 1024
"""Bytes of JSON beyond which work runs in the thread. This many bytes of the smallest turns, 30 bytes each, take about
50 ms to read, translate and store; those of a coding session take 1 ms. The switch to the thread takes about 0.2 ms."""

SWITCH: Final = 0.0005
"""Seconds for which the thread keeps the interpreter lock when a stream wants it. Python's default of 0.005 is too
long, because streams release the lock with each system call."""

CLIENT: Final = ContextVar("client", default="")
"""The client of the current task. All clients without names share one turn."""

_PLACE = RunVar[trio.CapacityLimiter]("offload")
_TURNS = RunVar[WeakValueDictionary[str, trio.Lock]]("offload turns")


async def offload(size: int, work: Callable[P, T], *args: P.args, **keywords: P.kwargs) -> T:
    """Return ``work(*args)``, called in the thread if ``size`` is more than ``LARGE`` bytes.

    ``size`` excludes bytes that the work barely touches. The work must not use trio, and no C call in it may take more
    than tens of milliseconds. Cancellation waits for running work, whose duration is bounded by the limits of a body
    (``gateway.request.structure``)."""
    if size <= LARGE:
        return work(*args, **keywords)
    sys.setswitchinterval(SWITCH)
    async with _turn(CLIENT.get()):
        return await trio.to_thread.run_sync(lambda: work(*args, **keywords), limiter=_place())


def _turn(client: str) -> trio.Lock:
    """Return the lock of a client, which exists as long as it is held or awaited."""
    try:
        turns = _TURNS.get()
    except LookupError:
        _TURNS.set(turns := WeakValueDictionary())
    if (turn := turns.get(client)) is None:
        turns[client] = turn = trio.Lock()
    return turn


def _place() -> trio.CapacityLimiter:
    try:
        return _PLACE.get()
    except LookupError:
        _PLACE.set(place := trio.CapacityLimiter(1))
        return place
