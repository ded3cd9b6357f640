"""Work on large bodies, away from the task that all streams share.

A thread does it, and Python's interpreter lock goes to and fro: streams go on meanwhile, a little slower. There is one
such thread. More would make nothing faster, and streams would wait for the calls into C of each, which give the lock to
nobody. Clients take turns: of each one piece of work at most waits for the thread, the others wait for that one.
"""

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
"""Bytes of JSON beyond which work on them is left to the thread. As many of the smallest turns, 30 bytes each, take
some 50 ms to read, to translate and to keep, those of a session one; a hop to the thread takes a fifth of that one."""

SWITCH: Final = 0.0005
"""Seconds for which the thread keeps the lock while the streams want it, in place of Python's 0.005: they lose and get
it again with each call of the system."""

CLIENT: Final = ContextVar("client", default="")
"""Whose request the task works on; the shares of requests whose clients have no names are one."""

_PLACE = RunVar[trio.CapacityLimiter]("offload")
_TURNS = RunVar[WeakValueDictionary[str, trio.Lock]]("offload turns")


async def offload(size: int, work: Callable[P, T], *args: P.args, **keywords: P.kwargs) -> T:
    """``work(*args)``, in the thread where it is about more than ``LARGE`` bytes: ``size``, less of those that it does
    little with. It must know nothing of trio, and give the lock back: no call into C of more than tens of milliseconds.

    Cancellation ends the wait for the thread, but not the work, which it waits for: that is bounded by what a body may
    hold (``gateway.request.structure``)."""
    if size <= LARGE:
        return work(*args, **keywords)
    sys.setswitchinterval(SWITCH)
    async with _turn(CLIENT.get()):
        return await trio.to_thread.run_sync(lambda: work(*args, **keywords), limiter=_place())


def _turn(client: str) -> trio.Lock:
    """The lock of a client, there as long as somebody has it or waits for it."""
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
