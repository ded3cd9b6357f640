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
    """A connection, from a thread's point of view."""

    def prepare(self) -> None:
        """What a new one needs before its first use."""

    def is_good(self) -> bool:
        """Whether one that has lain idle can still be used; asked without waiting."""

    def cut(self) -> None:
        """End whatever another thread waits for on it. Does not wait."""

    def close(self) -> None: ...


L = TypeVar("L", bound=BlockingConnection)
T = TypeVar("T")


class _Use(Generic[L]):
    """One use of a connection, as its thread and the task that waits for it see it. What is given up is cut while it
    is that thread's, and never when another one has the connection."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._link: L | None = None
        self.given_up = False

    def begin(self, link: L) -> None:
        with self._lock:
            self._link = link

    def end(self) -> None:
        with self._lock:
            self._link = None

    def give_up(self) -> None:
        with self._lock:
            self.given_up = True
            if self._link is not None:
                self._link.cut()

    def check(self) -> None:
        """Raises ``Unavailable`` if nobody waits any longer: what was told as failed must not be done."""
        if self.given_up:
            raise Unavailable(SILENT)


@attrs.frozen
class _Turn:
    """A limiter for ``trio.to_thread``. To wait for a connection is nothing that is begun: it can be cancelled. From
    then on ``scope`` is a shield."""

    limiter: trio.CapacityLimiter
    scope: trio.CancelScope

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        await self.limiter.acquire_on_behalf_of(borrower)
        self.scope.shield = True

    def release_on_behalf_of(self, borrower: object) -> None:
        self.limiter.release_on_behalf_of(borrower)


class BlockingPool(Generic[L]):
    """At most ``most`` connections that ``open`` makes, kept for the next use; one on which something failed is not.

    ``limit`` is how many seconds work may take in all, with the wait for a free connection."""

    def __init__(self, open: Callable[[], L], most: int, limit: float) -> None:
        self._open = open
        self._limit = limit
        self._limiter = trio.CapacityLimiter(most)
        self._idle: list[L] = []
        self._closed = False

    async def run(self, work: Callable[[L], T], limit: float | None = None) -> T:
        """What ``work`` gives, in a thread; ``limit`` in place of the usual one. Cancellation before it begins ends the
        wait, later it waits for the end of ``work``: that is never left half-way.

        Raises ``Unavailable`` after the limit, and what ``work`` raises. What has not begun by then never does; a
        connection in use is cut, which only the last step of ``work`` can outrun."""
        use = _Use[L]()
        with trio.move_on_after(self._limit if limit is None else limit) as scope:
            turn = cast("trio.CapacityLimiter", _Turn(self._limiter, scope))  # trio takes any that is like it
            return await trio.to_thread.run_sync(self._work, work, use, abandon_on_cancel=True, limiter=turn)
        use.give_up()
        raise Unavailable(SILENT if scope.shield else BUSY)

    async def aclose(self) -> None:
        """Close what is idle, and the rest when it is given back."""
        self._closed = True
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._close_idle)

    def _work(self, work: Callable[[L], T], use: _Use[L]) -> T:
        link = self._take(use)
        try:
            use.check()
            result = work(link)
        except (Changed, Unavailable):  # it is the connection that said so
            self._give_back(link, use)
            raise
        except BaseException:
            use.end()
            link.close()
            raise
        self._give_back(link, use)
        return result

    def _take(self, use: _Use[L]) -> L:
        if self._closed:
            raise Unavailable("the state storage is closed")
        while (link := self._idle_one()) is not None:
            if link.is_good():
                use.begin(link)
                return link
            link.close()
        link = self._open()
        use.begin(link)
        try:
            use.check()
            link.prepare()
        except BaseException:
            use.end()
            link.close()
            raise
        return link

    def _give_back(self, link: L, use: _Use[L]) -> None:
        use.end()
        if use.given_up:  # it may have been cut
            link.close()
            return
        self._idle.append(link)
        if self._closed:
            self._close_idle()

    def _close_idle(self) -> None:
        while (link := self._idle_one()) is not None:
            link.close()

    def _idle_one(self) -> L | None:
        try:
            return self._idle.pop()
        except IndexError:  # asked before, another thread could take it in between
            return None
