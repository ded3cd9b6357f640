"""The life of a server process: serving, draining, the signals that it obeys, and what is cut in the end."""

import contextlib
import logging
import os
import signal
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

import trio

from gateway.serving.registry import ConnectionRegistry

log = logging.getLogger("trigate.server")

STDERR: Final = 2
DRAIN: Final = 25.0
CUT_AFTER: Final = 2.0  # seconds between cancelling the pumps and cutting what is left
KILL_AFTER: Final = 5.0  # seconds that a worker gets beyond that


class Lifecycle(ConnectionRegistry):
    """The state of a server process: serving or draining, with what is open. Used from the trio thread only."""

    def __init__(self) -> None:
        super().__init__()
        self.stopping = trio.Event()
        self.closing = trio.Event()
        """New connections are refused from here on, and idle ones closed."""
        self._pumps: set[trio.CancelScope] = set()
        self._pumps_cancelled = False
        self._flushes: list[Callable[[], object]] = []

    def stop(self) -> None:
        """Begin to drain, as the first signal does. May be called again, to no effect."""
        self.draining = True
        self.stopping.set()

    @contextlib.contextmanager
    def pump(self, scope: trio.CancelScope) -> Iterator[None]:
        """Keep ``scope``, a live pump's own, among those that are cancelled at the end of the drain."""
        if self._pumps_cancelled:
            scope.cancel()
        self._pumps.add(scope)
        try:
            yield
        finally:
            self._pumps.discard(scope)

    def cancel_pumps(self) -> None:
        """Cancel every live pump, and every one that starts from now on."""
        self._pumps_cancelled = True
        for scope in self._pumps:
            scope.cancel()

    def on_flush(self, callback: Callable[[], object]) -> None:
        """Call ``callback()`` before the process exits on a second signal."""
        self._flushes.append(callback)

    def flush(self) -> None:
        """Run the ``on_flush`` callbacks; what one raises is logged and does not stop the others."""
        for callback in self._flushes:
            try:
                callback()
            except Exception:  # the process is about to exit: what can still be saved is saved
                log.exception("flushing data before the exit failed")

    async def stop_in_order(self, delay: float, drain: float) -> None:
        """Wait for ``stop()``; then end what is still served, step by step."""
        await self.stopping.wait()
        await trio.sleep(delay)  # readiness is off, balancers look elsewhere
        self.closing.set()
        await trio.sleep(drain)
        self.cancel_pumps()
        await trio.sleep(CUT_AFTER)
        self.flush()  # before the cut, which would look like the clients' own leaving
        self.cut_connections()


async def watch_signals(
    state: Lifecycle, reload: Callable[[], object] | None, *, task_status: trio.TaskStatus[None]
) -> None:
    """Drain on the first SIGTERM or SIGINT, exit on the second, and ``reload`` on SIGHUP; until cancelled."""
    more = () if reload is None else (signal.SIGHUP,)
    terminal = on_terminal()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, *more) as received:
        task_status.started()
        release_reloads()
        async for number in received:
            if number == signal.SIGHUP and reload is not None and not has_closed(terminal):
                reload()
            elif not state.draining:
                log.warning("%s: draining; a second signal exits immediately", signal.Signals(number).name)
                state.stop()
            elif number != signal.SIGHUP:
                _exit_now(state, number)


def release_reloads() -> None:
    """Accept SIGHUP from now on. The command line blocks it at the start, so that one that comes before anybody waits
    for it reloads the process instead of ending it."""
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def on_terminal() -> bool:
    """Return true if the process has a terminal."""
    return os.isatty(STDERR)


def has_closed(terminal: bool) -> bool:
    """Return true if there was a terminal and is none any more: SIGHUP then has its first meaning."""
    return terminal and not on_terminal()


def _exit_now(state: Lifecycle, number: int) -> NoReturn:
    state.flush()
    os._exit(128 + number)
