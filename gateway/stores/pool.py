"""A bounded pool of blocking connections for trio, each used by one thread at a time."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Final, Generic, Protocol, TypeVar, cast

import attrs
import trio

from gateway.http.threads import call_in_thread
from gateway.stores.errors import Changed, InDoubt, Unavailable

SILENT: Final = "the state storage does not respond"
BUSY: Final = "the state storage is overloaded"

RETRY: Final = 1.0
"""Seconds until a thread without a connection tries to open one again."""


class BlockingConnection(Protocol):
    """A connection with blocking methods, for one thread at a time."""

    def prepare(self) -> None:
        """Prepare a new connection for its first use."""

    def is_good(self) -> bool:
        """Return whether an idle connection is still usable, without waiting."""

    def interrupt(self) -> bool:
        """Interrupt the operation of another thread on this connection, without waiting. Return whether its last step
        had begun, which may still succeed."""

    def close(self) -> None: ...


C = TypeVar("C", bound=BlockingConnection)
T = TypeVar("T")


class _Use(Generic[C]):
    """One use of a connection, shared by its thread and the waiting task.

    If the task stops waiting, the connection is interrupted, but only while that thread uses it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: C | None = None
        self._is_done = False
        self.is_admitted = self.given_up = False
        self.refusal: Exception | None = None  # of a connection, after which its thread waited for another one

    def begin(self, connection: C) -> None:
        with self._lock:
            self._connection = connection

    def end(self, *, is_done: bool = False) -> None:
        with self._lock:
            self._connection = None
            self._is_done = is_done

    def give_up(self) -> bool:
        """Interrupt the work, and return whether it may be done nevertheless."""
        with self._lock:
            self.given_up = True
            return self._is_done if self._connection is None else self._connection.interrupt()

    def check(self) -> None:
        """Raise ``Unavailable`` if no task waits any more: work reported as failed must not be done."""
        if self.given_up:
            raise Unavailable(SILENT)


@attrs.frozen
class _ShieldingLimiter:
    """A limiter for ``trio.to_thread`` that shields ``scope`` once a connection of the ``share`` is free.

    The wait for a connection can be cancelled; the work cannot. ``admit`` is called in between, and may raise. It
    returns whether to shield."""

    limiter: trio.CapacityLimiter
    scope: trio.CancelScope
    share: trio.CapacityLimiter | None
    admit: Callable[[], bool]

    async def acquire_on_behalf_of(self, borrower: object) -> None:
        if self.share is not None:
            try:
                self.share.acquire_on_behalf_of_nowait(borrower)  # without a checkpoint: one follows
            except trio.WouldBlock:
                await self.share.acquire_on_behalf_of(borrower)
        try:
            await self.limiter.acquire_on_behalf_of(borrower)
        except trio.Cancelled:
            if self.share is not None:
                self.share.release_on_behalf_of(borrower)
            raise
        try:
            self.scope.shield = self.admit()
        except BaseException:
            self.release_on_behalf_of(borrower)
            raise

    def release_on_behalf_of(self, borrower: object) -> None:
        self.limiter.release_on_behalf_of(borrower)
        if self.share is not None:
            self.share.release_on_behalf_of(borrower)


class ConnectionPool(Generic[C]):
    """A pool of at most ``most`` connections that ``open`` makes; a connection is reused unless it failed.

    ``limit`` is the number of seconds that work may take, including the wait for a connection. If the server accepts no
    more connections, work waits for one of the others."""

    def __init__(self, open: Callable[[], C], most: int, limit: float) -> None:
        self._open = open
        self._limit = limit
        self._limiter = trio.CapacityLimiter(most)
        self._idle: list[C] = []
        self._held = 0  # connections in use
        self._freed = threading.Condition()
        self._is_closed = False

    async def run(
        self,
        work: Callable[[C], T],
        limit: float | None = None,
        share: trio.CapacityLimiter | None = None,
        *,
        can_abandon: bool = False,
    ) -> T:
        """Return the result of ``work`` in a thread, within ``limit`` seconds instead of the pool's limit.

        ``share`` limits how many connections a group of callers uses.

        Cancellation ends the wait for a connection, but waits for the end of work in progress, which is never left
        incomplete, unless the caller ``can_abandon`` it. Raises ``Unavailable`` after the limit, and errors of
        ``work``. Work not begun by then never begins; a connection in use is interrupted, which only the last step of
        ``work`` can outrun: then ``InDoubt``."""
        use = _Use[C]()

        def admit() -> bool:
            self._check()
            use.is_admitted = True
            return not can_abandon

        try:
            with trio.move_on_after(self._limit if limit is None else limit) as scope:
                limiter = cast("trio.CapacityLimiter", _ShieldingLimiter(self._limiter, scope, share, admit))
                return await call_in_thread(partial(self._work, work, use), limiter=limiter, abandon_on_cancel=True)
        except trio.Cancelled:
            use.give_up()
            raise
        if use.give_up():
            raise InDoubt(SILENT)
        raise Unavailable(SILENT if use.is_admitted else BUSY) from use.refusal

    async def aclose(self) -> None:
        """Close idle connections now, and others when they are returned. Work in progress is completed."""
        self._is_closed = True
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._close_idle)

    def _check(self) -> None:
        """Raise ``Unavailable`` if the pool is closed. Called before the work's thread starts: a thread that starts
        later, after the process has begun to end, would fail work that its task cannot cancel any more."""
        if self._is_closed:
            raise Unavailable("the state storage is closed")

    def _work(self, work: Callable[[C], T], use: _Use[C]) -> T:
        connection = self._get_connection(use)
        try:
            use.check()
            result = work(connection)
        except (Changed, Unavailable):  # raised by the connection itself
            self._return(connection, use)
            raise
        except BaseException:
            use.end()
            connection.close()
            raise
        else:
            self._return(connection, use, is_done=True)
            return result
        finally:
            self._release()

    def _get_connection(self, use: _Use[C]) -> C:
        while True:
            with self._freed:
                connection = self._pop_idle()
                self._held += connection is not None
            if connection is None:
                try:
                    connection = self._open()
                    break
                except Exception as error:
                    if not self._wait_for_others():
                        raise
                    use.refusal = error.with_traceback(None)
                use.check()
            elif connection.is_good():
                use.begin(connection)
                return connection
            else:
                connection.close()
                self._release()
        with self._freed:
            self._held += 1
        use.begin(connection)
        try:
            use.check()
            connection.prepare()
        except BaseException:
            use.end()
            connection.close()
            self._release()
            raise
        return connection

    def _wait_for_others(self) -> bool:
        """Wait a moment until another thread may have returned a connection; false if none has one."""
        with self._freed:
            return bool(self._idle) or (self._held > 0 and (self._freed.wait(RETRY) or True))

    def _release(self) -> None:
        with self._freed:
            self._held -= 1
            self._freed.notify()

    def _return(self, connection: C, use: _Use[C], *, is_done: bool = False) -> None:
        use.end(is_done=is_done)
        if use.given_up:  # it may have been interrupted
            connection.close()
            return
        self._idle.append(connection)
        if self._is_closed:
            self._close_idle()

    def _close_idle(self) -> None:
        while (connection := self._pop_idle()) is not None:
            connection.close()

    def _pop_idle(self) -> C | None:
        try:
            return self._idle.pop()
        except IndexError:  # another thread may take it between a check and this
            return None
