"""The lifecycle of a server process: serving, draining, its signals, and the final cut."""

import logging
import os
import signal
from collections.abc import Callable
from typing import Final

import trio

from gateway.serving.registry import ConnectionRegistry

log = logging.getLogger("trigate.server")

STDERR: Final = 2
DRAIN: Final = 25.0
CUT_AFTER: Final = 2.0  # seconds between the cancellation of pumps and the cut of everything else
KILL_AFTER: Final = 5.0  # more seconds before a worker is killed


class RunningPump:
    """A registered pump. A class, because each request enters one, and a generator costs three times as much."""

    __slots__ = ("_pumps", "_scope")

    def __init__(self, pumps: set[trio.CancelScope], scope: trio.CancelScope) -> None:
        self._pumps = pumps
        self._scope = scope

    def __enter__(self) -> None:
        self._pumps.add(self._scope)

    def __exit__(self, *_: object) -> None:
        self._pumps.discard(self._scope)


class Lifecycle(ConnectionRegistry):
    """The state of a server process: serving or draining, with its open connections. Used from the trio thread only."""

    def __init__(self) -> None:
        super().__init__()
        self.stopping = trio.Event()
        self.closing = trio.Event()
        """Set when new connections are rejected and idle ones closed."""
        self._pumps: set[trio.CancelScope] = set()
        self.is_cut = False
        """The drain has used all its time."""
        self._flushes: list[Callable[[], object]] = []

    def stop(self) -> None:
        """Start to drain, as the first signal does. Idempotent."""
        self.draining = True
        self.stopping.set()

    def track_pump(self, scope: trio.CancelScope) -> "RunningPump":
        """Register ``scope``, the scope of a running pump, to be cancelled at the end of the drain, until the returned
        context manager exits."""
        if self.is_cut:
            scope.cancel()
        return RunningPump(self._pumps, scope)

    def cancel_pumps(self) -> None:
        """Cancel every running pump, and every one that starts later."""
        self.is_cut = True
        for scope in self._pumps:
            scope.cancel()

    def on_flush(self, callback: Callable[[], object]) -> None:
        """Call ``callback()`` before the process exits on a second signal."""
        self._flushes.append(callback)

    def flush(self) -> None:
        """Run the ``on_flush`` callbacks. An exception in one is logged and does not stop the others."""
        for callback in self._flushes:
            try:
                callback()
            except Exception:  # the process is about to exit: save what can be saved
                log.exception("flushing data before the exit failed")

    async def stop_in_order(self, delay: float, drain: float) -> None:
        """Wait for ``stop()``, then end everything step by step."""
        await self.stopping.wait()
        await trio.sleep(delay)  # readiness is off, so balancers go elsewhere
        self.closing.set()
        await trio.sleep(drain)
        self.cancel_pumps()
        await trio.sleep(CUT_AFTER)
        self.flush()  # before the cut, which would look like disconnects
        self.cut_connections()


async def watch_signals(
    lifecycle: Lifecycle, reload: Callable[[], object] | None, *, task_status: trio.TaskStatus[None]
) -> None:
    """Drain on the first SIGTERM or SIGINT, exit on the second, and ``reload`` on SIGHUP; until cancelled."""
    more = () if reload is None else (signal.SIGHUP,)
    terminal = has_terminal()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, *more) as received:
        task_status.started()
        release_reloads()
        async for number in received:
            if number == signal.SIGHUP and reload is not None and not has_lost_terminal(terminal):
                reload()
            elif not lifecycle.draining:
                log.warning("%s: draining; a second signal exits immediately", signal.Signals(number).name)
                lifecycle.stop()
            elif number != signal.SIGHUP:
                lifecycle.flush()
                os._exit(128 + number)


def release_reloads() -> None:
    """Accept SIGHUP from now on. The command line blocks it at the start, so that an early one causes a reload instead
    of the end."""
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})


def has_terminal() -> bool:
    """Return whether standard error is a terminal."""
    return os.isatty(STDERR)


def has_lost_terminal(terminal: bool) -> bool:
    """Return whether the terminal was closed: SIGHUP then has its original meaning."""
    return terminal and not has_terminal()
