"""The signals that a server process obeys."""

import logging
import os
import signal
from collections.abc import Callable
from typing import Final, NoReturn

import trio

from gateway.serving.lifecycle import Lifecycle

log = logging.getLogger("trigate.server")

STDERR: Final = 2


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
                log.warning("%s: draining; a second signal exits at once", signal.Signals(number).name)
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
