"""Blocking connections for trio: each is used by one thread at a time, and there are never more than so many."""

import math
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import trio

from gateway.state.store import Changed, Unavailable


class Link(Protocol):
    """A connection, from a thread's point of view."""

    def prepare(self) -> None:
        """What a new one needs before its first use."""

    def is_good(self) -> bool:
        """Whether one that has lain idle can still be used; asked without waiting."""

    def cut(self) -> None:
        """End whatever another thread waits for on it."""

    def close(self) -> None: ...


L = TypeVar("L", bound=Link)
T = TypeVar("T")


class Links(Generic[L]):
    """At most ``most`` connections that ``open`` makes, kept for the next use; one on which something failed is not.

    ``limit`` is how many seconds work may take in all, with the wait for a free connection."""

    def __init__(self, open: Callable[[], L], most: int, limit: float = math.inf) -> None:
        self._open = open
        self._limit = limit
        self._limiter = trio.CapacityLimiter(most)
        self._idle: list[L] = []
        self._closed = False

    async def run(self, work: Callable[[L], T]) -> T:
        """What ``work`` gives, in a thread. Cancellation waits for its end: it is never left half-way.

        Raises ``Unavailable`` after the limit, and what ``work`` raises."""
        await trio.lowlevel.checkpoint_if_cancelled()
        held: list[L] = []
        with trio.move_on_after(self._limit, shield=True):
            return await trio.to_thread.run_sync(self._work, work, held, abandon_on_cancel=True, limiter=self._limiter)
        for link in held:
            link.cut()
        raise Unavailable("the state storage does not answer")

    async def aclose(self) -> None:
        """Close what is idle, and the rest when it is given back."""
        self._closed = True
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._close_idle)

    def _work(self, work: Callable[[L], T], held: list[L]) -> T:
        link = self._take(held)
        try:
            result = work(link)
        except (Changed, Unavailable):  # it is the connection that said so
            self._give_back(link)
            raise
        except BaseException:
            link.close()
            raise
        self._give_back(link)
        return result

    def _take(self, held: list[L]) -> L:
        if self._closed:
            raise Unavailable("the state storage is closed")
        while (link := self._idle_one()) is not None:
            if link.is_good():
                held.append(link)
                return link
            link.close()
        link = self._open()
        held.append(link)
        try:
            link.prepare()
        except BaseException:
            link.close()
            raise
        return link

    def _give_back(self, link: L) -> None:
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
