"""Slow work in threads, so that it does not delay the streams, such as the translation of a large body.

The thread for large bodies and the streams alternate with the interpreter lock, so streams become slightly slower.
Usually there is only one such thread: more would not be faster, and streams would wait for each one's C calls, which do
not release the lock. Clients take turns: at most one piece of work of each client runs or waits. If a piece takes
longer than a slice, that of another client does not wait for its end, but runs in a second thread. The client that used
the threads least is next. One thread is kept free of clients whose work exceeded its slice within the last minute, so
that several of them do not occupy all threads."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final, ParamSpec, TypeVar
from weakref import WeakValueDictionary

import attrs
import trio
from trio.lowlevel import RunVar

from gateway.http.threads import call_in_thread

P = ParamSpec("P")
T = TypeVar("T")

LARGE: Final = 64 * 1024
"""Bytes of JSON beyond which work runs in the thread. This many bytes of the smallest turns, 30 bytes each, take about
50 ms to read, translate and store; those of a coding session take 1 ms. The switch to the thread takes about 0.2 ms."""

SWITCH: Final = 0.0005
"""Seconds for which the thread keeps the interpreter lock when a stream wants it. Python's default of 0.005 is too
long, because streams release the lock with each system call."""

SLICE: Final = 0.05
"""Seconds for which a piece of work may keep other clients' work waiting."""

THREADS: Final = 4
"""The most pieces of work at the same time; all but one have exceeded their slice. The streams wait for half a
millisecond for each thread, some times for each event: with eight threads, nearly a tenth of a second."""

LONG_SECONDS: Final = 60.0
"""Seconds for which a client counts as one with long work, after a piece of its work exceeded its slice."""

MOST_LONG: Final = 1000
"""Clients with long work that are remembered, the most recent ones."""

CLIENT: Final = ContextVar("client", default="")
"""The client of the current task. All clients without names share one turn."""

_SLOTS = RunVar["ThreadSlots"]("offload slots")
_TURNS = RunVar[WeakValueDictionary[str, trio.Lock]]("offload turns")


async def offload(size: int, work: Callable[P, T], *args: P.args, **keywords: P.kwargs) -> T:
    """Return ``work(*args)``, called in a thread if ``size`` is more than ``LARGE`` bytes.

    ``size`` excludes bytes that the work barely touches. The work must not use trio, and no C call in it may take more
    than tens of milliseconds. Cancellation waits for running work, whose duration is bounded by the limits of a body
    (``gateway.request.structure``)."""
    if size <= LARGE:
        return work(*args, **keywords)
    sys.setswitchinterval(SWITCH)
    client, slots = CLIENT.get(), _slots()
    async with _turn(client), slots.slot(client):
        return await call_in_thread(lambda: work(*args, **keywords), limiter=slots.limiter)


async def offload_always(work: Callable[[], T]) -> T:
    """Return ``work()``, called in a thread, for work of any size on a client's behalf: see ``offload``."""
    return await offload(LARGE + 1, work)


async def run_in_thread(work: Callable[P, T], *args: P.args, **keywords: P.kwargs) -> T:
    """Return ``work(*args)``, called in a thread, for work of the process itself, which takes no client's turn.

    Cancellation waits for running work."""
    sys.setswitchinterval(SWITCH)
    return await call_in_thread(lambda: work(*args, **keywords))


async def read_in_thread(read: Callable[[], T]) -> T:
    """Return ``read()``, called in a thread, for files that may be on a network.

    Cancellation does not wait for it, because the file system may never respond."""
    sys.setswitchinterval(SWITCH)
    return await call_in_thread(read, abandon_on_cancel=True)


@attrs.define(eq=False)
class ThreadTicket:
    """A piece of work of ``client`` that waits for a thread, or has one since ``began``."""

    client: str
    granted: trio.Event
    began: float = 0.0


class ThreadSlots:
    """The threads for large work: one, and another for each piece of work that has exceeded its slice."""

    def __init__(self) -> None:
        self.limiter = trio.CapacityLimiter(THREADS)
        self._running: list[ThreadTicket] = []  # the last one began last
        self._waiting: list[ThreadTicket] = []
        self._used: dict[str, float] = {}  # seconds by client, since no work was running
        self._long_until: dict[str, float] = {}  # by client with long work, the oldest first

    @asynccontextmanager
    async def slot(self, client: str) -> AsyncIterator[None]:
        """Wait for a slot of ``client``, and hold it during the block."""
        ticket = ThreadTicket(client, trio.Event())
        self._waiting.append(ticket)
        try:
            self._grant_next()
            while not ticket.granted.is_set():
                with trio.move_on_after(SLICE):
                    await ticket.granted.wait()
                self._grant_next()
            yield
        finally:
            self._release(ticket)

    def _grant_next(self) -> None:
        """Grant a slot to the client that has used the threads least, if the last piece of work has had its slice."""
        now = trio.current_time()
        if self._running and (now < self._running[-1].began + SLICE or len(self._running) == THREADS):
            return
        waiting = self._waiting
        if len(self._running) == THREADS - 1:  # the last one
            waiting = [one for one in waiting if self._long_until.get(one.client, 0.0) <= now]
        if waiting:
            ticket = min(waiting, key=lambda one: self._used.get(one.client, 0.0))
            self._waiting.remove(ticket)
            self._running.append(ticket)
            ticket.began = now
            ticket.granted.set()

    def _release(self, ticket: ThreadTicket) -> None:
        if not ticket.granted.is_set():
            self._waiting.remove(ticket)
            return
        self._running.remove(ticket)
        now = trio.current_time()
        used = now - ticket.began
        self._used[ticket.client] = self._used.get(ticket.client, 0.0) + used
        if used > SLICE:
            self._long_until.pop(ticket.client, None)
            self._long_until[ticket.client] = now + LONG_SECONDS
            if len(self._long_until) > MOST_LONG:
                del self._long_until[next(iter(self._long_until))]
        if not self._running and not self._waiting:
            self._used.clear()
        self._grant_next()


def _turn(client: str) -> trio.Lock:
    """Return the lock of a client, which exists while a task holds or awaits it."""
    try:
        turns = _TURNS.get()
    except LookupError:
        _TURNS.set(turns := WeakValueDictionary())
    if (turn := turns.get(client)) is None:
        turns[client] = turn = trio.Lock()
    return turn


def _slots() -> ThreadSlots:
    try:
        return _SLOTS.get()
    except LookupError:
        _SLOTS.set(slots := ThreadSlots())
        return slots
