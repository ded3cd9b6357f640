"""Worker processes on shared sockets: started, replaced, told to reload, drained and killed."""

import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final

import trio

from gateway.serving.lifecycle import CUT_AFTER, DRAIN, KILL_AFTER
from gateway.serving.signals import has_closed, on_terminal

log = logging.getLogger("trigate.server")

FD_FLAG: Final = "--fd"


async def supervise(
    argv: Sequence[str],
    sockets: Sequence[socket.socket],
    workers: int,
    drain: float = DRAIN,
    env: Mapping[str, str] | None = None,
    reload: Callable[[], bool] | None = None,
    ready: Callable[[], object] | None = None,
    gone: Callable[[int], object] | None = None,
    inherited: Sequence[int] = (),
) -> int:
    """Keep ``workers`` processes of ``argv`` running on ``sockets`` until SIGTERM or SIGINT; return the exit status.

    ``ready()`` is called once signals are obeyed. Each gets ``--fd N`` per socket, for ``adopt``, ``env`` on top of
    this process's environment, and the files ``inherited`` under the same numbers. One that dies is started again,
    costing only its own streams, once ``gone`` was called with its process id.
    ``drain`` is all the seconds that a worker may take to drain (with its delay); one that takes longer is killed, and
    the status is then 1, else 0. On SIGHUP ``reload()`` is called, and if it is true the workers get a SIGHUP each: one
    that has not come up yet dies of it, and the next one starts with what is new. A second signal to stop is passed on
    too: 128 + its number. (Hypercorn's own workers do neither: the first that ends makes it terminate the others, in
    mid-stream.)
    """
    longest, whole_env = drain + CUT_AFTER + KILL_AFTER, {**os.environ, **(env or {})}
    supervisor = Supervisor(argv, sockets, longest, whole_env, reload, gone, inherited)
    async with trio.open_nursery() as outer:
        await outer.start(supervisor.watch_signals)
        if ready is not None:
            ready()
        async with trio.open_nursery() as nursery:
            for _ in range(workers):
                nursery.start_soon(supervisor.run_worker)
        outer.cancel_scope.cancel()
    return supervisor.status


class Supervisor:
    """Keeps workers running until it is told to stop."""

    PAUSES: Final = (0.1, 5.0)  # before a restart: at first, and at most
    STEADY: Final = 10.0  # seconds after which a worker counts as having worked

    def __init__(
        self,
        argv: Sequence[str],
        sockets: Sequence[socket.socket],
        longest_drain: float,
        env: Mapping[str, str],
        reload: Callable[[], bool] | None,
        gone: Callable[[int], object] | None,
        inherited: Sequence[int],
    ) -> None:
        self._gone = gone
        self._sockets = sockets
        self._fds = [sock.fileno() for sock in sockets]
        self._inherited = (*self._fds, *inherited)
        self._command = [*argv, *(part for fd in self._fds for part in (FD_FLAG, str(fd)))]
        self._longest_drain = longest_drain
        self._env = env
        self._reload = reload
        self._stopping = trio.Event()
        self._live: set[trio.Process] = set()
        self.status = 0

    async def run_worker(self) -> None:
        """Run one worker, again and again, until told to stop."""
        pause, longest = self.PAUSES
        while not self._stopping.is_set():
            begun = trio.current_time()
            ended = await self._run()
            if self._stopping.is_set():
                return
            pause = self.PAUSES[0] if trio.current_time() - begun > self.STEADY else pause
            log.error("%s: a new one starts in %.1f s", ended, pause)
            with trio.move_on_after(pause):
                await self._stopping.wait()
            pause = min(2 * pause, longest)

    async def _run(self) -> str:
        """Run one worker to its end, and say what became of it."""
        try:
            # A process group of its own: Ctrl-C in a terminal goes to the whole group, and with the SIGTERM from here
            # would be the worker's second signal.
            process = await trio.lowlevel.open_process(
                self._command, pass_fds=self._inherited, process_group=0, env=self._env
            )
        except OSError as error:  # no memory, or too many processes: the other workers go on
            return f"a worker could not be started: {error}"
        self._live.add(process)
        try:
            if self._stopping.is_set():
                process.terminate()
            return f"worker {process.pid} ended with status {await process.wait()}"
        finally:
            self._live.discard(process)
            if process.returncode is None:
                process.kill()
            elif self._gone is not None:
                self._gone(process.pid)

    async def watch_signals(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Pass signals on to the workers; until cancelled, or all of them are killed."""
        more = () if self._reload is None else (signal.SIGHUP,)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, *more) as received:
            task_status.started()
            await self._wait_for_stop(received)
            self._stopping.set()
            self._signal(signal.SIGTERM)
            for sock in self._sockets:
                sock.close()  # else connections queue here, and nobody takes them
            with trio.move_on_after(self._longest_drain):
                self.status = 128 + await _not_hangup(received)
                # The kernel would merge a SIGTERM with one that a busy worker has not taken.
                self._signal(signal.SIGINT)
                await trio.sleep(KILL_AFTER)
            self.status = self.status or 1
            self._signal(signal.SIGKILL)

    async def _wait_for_stop(self, received: AsyncIterator[int]) -> None:
        """Wait for a signal to stop, and reload on the way."""
        terminal = on_terminal()
        while await anext(received) == signal.SIGHUP and not has_closed(terminal):
            if self._reload is not None and self._reload():
                self._signal(signal.SIGHUP)

    def _signal(self, number: int) -> None:
        for process in self._live:
            process.send_signal(number)


async def _not_hangup(received: AsyncIterator[int]) -> int:
    """Wait for the next signal that is no SIGHUP."""
    while (number := await anext(received)) == signal.SIGHUP:
        pass
    return number
