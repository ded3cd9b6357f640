"""Blocking connections for trio: each is used by one thread at a time, and there are never more than so many."""

import threading
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar, cast

import attrs
import trio

from gateway.stores.store import Changed, Unavailable

SILENT: Final = "the state storage does not answer"
BUSY: Final = "the state storage has too much to do"


class BlockingConnection(Protocol):
    """A connection whose methods block, for one thread at a time."""

    def prepare(self) -> None:
        """Make a new one ready for its first use."""

    def is_good(self) -> bool:
        """Return True if a connection that has lain idle can still be used. Does not wait."""

    def cut(self) -> None:
        """End whatever another thread waits for on it. Does not wait."""

    def close(self) -> None: ...


C = TypeVar("C", bound=BlockingConnection)
T = TypeVar("T")


class _Use(Generic[C]):
    """One use of a connection, as its thread and the task that waits for it see it. A use that is given up has its
    connection cut as long as that thread has it, and never when another one does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: C | None = None
        self.given_up = False

    def begin(self, connection: C) -> None:
        with self._lock:
            self._connection = connection

    def end(self) -> None:
        with self._lock:
            self._connection = None

    def give_up(self) -> None:
        with self._lock:
            self.given_up = True
            if self._connection is not None:
                self._connection.cut()

    def check(self) -> None:
        """Raise ``Unavailable`` if nobody waits any longer: what is reported as failed must not be done."""
        if self.given_up:
            raise Unavailable(SILENT)


@attrs.frozen
class _ShieldingLimiter:
    """A limiter for ``trio.to_thread`` that turns ``scope`` into a shield once a connection is free. The wait for
    one can be cancelled, because nothing has begun; the work cannot."""

    limiter: trio.CapacityLimiter
    scope: trio.CancelScope

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        await self.limiter.acquire_on_behalf_of(borrower)
        self.scope.shield = True

    def release_on_behalf_of(self, borrower: object) -> None:
        self.limiter.release_on_behalf_of(borrower)


class BlockingPool(Generic[C]):
    """A pool of at most ``most`` connections that ``open`` makes. Each is kept for the next use unless something failed
    on it.

    ``limit`` is how many seconds work may take in all, with the wait for a free connection."""

    def __init__(self, open: Callable[[], C], most: int, limit: float) -> None:
        self._open = open
        self._limit = limit
        self._limiter = trio.CapacityLimiter(most)
        self._idle: list[C] = []
        self._closed = False

    async def run(self, work: Callable[[C], T], limit: float | None = None) -> T:
        """The result of ``work``, in a thread; ``limit`` in place of the usual one. Cancellation before it begins
        ends the wait, later it waits for the end of ``work``: that is never left half-way.

        Raises ``Unavailable`` after the limit, and what ``work`` raises. What has not begun by then never does; a
        connection in use is cut, which only the last step of ``work`` can outrun."""
        use = _Use[C]()
        with trio.move_on_after(self._limit if limit is None else limit) as scope:
            limiter = cast("trio.CapacityLimiter", _ShieldingLimiter(self._limiter, scope))  # trio takes any like it
            return await trio.to_thread.run_sync(self._work, work, use, abandon_on_cancel=True, limiter=limiter)
        use.give_up()
        raise Unavailable(SILENT if scope.shield else BUSY)

    async def aclose(self) -> None:
        """Close what is idle, and the rest when it is given back."""
        self._closed = True
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._close_idle)

    def _work(self, work: Callable[[C], T], use: _Use[C]) -> T:
        connection = self._take(use)
        try:
            use.check()
            result = work(connection)
        except (Changed, Unavailable):  # it is the connection that said so
            self._give_back(connection, use)
            raise
        except BaseException:
            use.end()
            connection.close()
            raise
        self._give_back(connection, use)
        return result

    def _take(self, use: _Use[C]) -> C:
        if self._closed:
            raise Unavailable("the state storage is closed")
        while (connection := self._idle_one()) is not None:
            if connection.is_good():
                use.begin(connection)
                return connection
            connection.close()
        connection = self._open()
        use.begin(connection)
        try:
            use.check()
            connection.prepare()
        except BaseException:
            use.end()
            connection.close()
            raise
        return connection

    def _give_back(self, connection: C, use: _Use[C]) -> None:
        use.end()
        if use.given_up:  # it may have been cut
            connection.close()
            return
        self._idle.append(connection)
        if self._closed:
            self._close_idle()

    def _close_idle(self) -> None:
        while (connection := self._idle_one()) is not None:
            connection.close()

    def _idle_one(self) -> C | None:
        try:
            return self._idle.pop()
        except IndexError:  # asked before, another thread could take it in between
            return None
