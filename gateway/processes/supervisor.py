"""Worker processes on shared sockets: starts, restarts, reloads, drains and kills them."""

import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

import trio

from gateway.serving.lifecycle import CUT_AFTER, DRAIN, KILL_AFTER, has_lost_terminal, has_terminal, release_reloads

log = logging.getLogger("trigate.server")

FD_FLAG: Final = "--fd"
READY_FLAG: Final = "--ready"


def report_ready(fd: int) -> None:
    """Report from a worker that it is ready, and drain it if its supervisor is gone. ``fd`` is the descriptor after
    ``READY_FLAG``."""
    try:
        os.write(fd, b".")
    except BrokenPipeError:
        log.error("the supervisor has exited; draining")
        signal.raise_signal(signal.SIGTERM)
    os.close(fd)


async def supervise(
    argv: Sequence[str],
    sockets: Sequence[socket.socket],
    workers: int,
    drain: float = DRAIN,
    env: Mapping[str, str] | None = None,
    reload: Callable[[], Awaitable[bool]] | None = None,
    ready: Callable[[], object] | None = None,
    on_worker_exit: Callable[[int], object] | None = None,
    inherited: Sequence[int] = (),
) -> int:
    """Keep ``workers`` processes of ``argv`` running on ``sockets`` until SIGTERM or SIGINT, and return the exit
    status.

    - Each worker gets ``--fd N`` per socket, for ``adopt``, ``--ready N`` for ``report_ready``, ``env`` in addition to
      this process's environment, and the files ``inherited`` under the same numbers.
    - ``ready()`` is called once, when the first worker has reported that it is ready.
    - A worker that dies is restarted after ``on_worker_exit`` was called with its process id; only its own streams are
      lost. (The first of Hypercorn's own workers that ends terminates the others in mid-stream.)
    - ``drain`` is the limit in seconds of a worker's drain, with its delay. A slower worker is killed, and the status
      is then 1, otherwise 0. A second stop signal is passed on, and the status is 128 + its number.
    - On SIGHUP ``reload()`` is awaited. If it returns true, each worker gets a SIGHUP, a starting one when it is
      ready."""
    longest, whole_env = drain + CUT_AFTER + KILL_AFTER, {**os.environ, **(env or {})}
    supervisor = Supervisor(argv, sockets, longest, whole_env, reload, ready, on_worker_exit, inherited)
    async with trio.open_nursery() as outer:
        await outer.start(supervisor.watch_signals)
        async with trio.open_nursery() as nursery:
            for _ in range(workers):
                nursery.start_soon(supervisor.run_worker)
        outer.cancel_scope.cancel()
    return supervisor.status


class Supervisor:
    """The parent process of the workers, which restarts them until a signal stops it."""

    PAUSES: Final = (0.1, 5.0)  # before a restart: the first one, and the longest
    STEADY: Final = 10.0  # seconds after which a worker counts as successful

    def __init__(
        self,
        argv: Sequence[str],
        sockets: Sequence[socket.socket],
        longest_drain: float,
        env: Mapping[str, str],
        reload: Callable[[], Awaitable[bool]] | None,
        ready: Callable[[], object] | None,
        on_worker_exit: Callable[[int], object] | None,
        inherited: Sequence[int],
    ) -> None:
        self._ready = ready
        self._on_worker_exit = on_worker_exit
        self._sockets = sockets
        self._fds = [sock.fileno() for sock in sockets]
        self._inherited = (*self._fds, *inherited)
        self._command = [*argv, *(part for fd in self._fds for part in (FD_FLAG, str(fd)))]
        self._longest_drain = longest_drain
        self._env = env
        self._reload = reload
        self._stopping = trio.Event()
        self._live: set[trio.Process] = set()
        self._starting: set[trio.Process] = set()
        self._to_reload: set[trio.Process] = set()  # workers that get a SIGHUP when they have started
        self.status = 0

    async def run_worker(self) -> None:
        """Run one worker, and restart it when it dies, until the supervisor stops."""
        pause, longest = self.PAUSES
        while not self._stopping.is_set():
            began = trio.current_time()
            ended = await self._run()
            if self._stopping.is_set():
                return
            pause = self.PAUSES[0] if trio.current_time() - began > self.STEADY else pause
            log.error("%s: a new one starts in %.1f s", ended, pause)
            with trio.move_on_after(pause):
                await self._stopping.wait()
            pause = min(2 * pause, longest)

    async def _run(self) -> str:
        """Run one worker to its end, and return a text about its end."""
        ready_pipe, ready_pipe_end = os.pipe()
        try:
            # Its own process group: Ctrl-C in a terminal signals the whole group, and with the SIGTERM from here would
            # be the worker's second signal.
            process = await trio.lowlevel.open_process(
                [*self._command, READY_FLAG, str(ready_pipe_end)],
                pass_fds=(*self._inherited, ready_pipe_end),
                process_group=0,
                env=self._env,
            )
        except OSError as error:  # no memory, or too many processes: the other workers continue
            os.close(ready_pipe)
            return f"could not start a worker: {error}"
        finally:
            os.close(ready_pipe_end)
        self._live.add(process)
        self._starting.add(process)
        try:
            if self._stopping.is_set():
                process.terminate()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._await_ready, process, ready_pipe)
                status = await process.wait()
                nursery.cancel_scope.cancel()
            return f"worker {process.pid} ended with status {status}"
        finally:
            for processes in (self._live, self._starting, self._to_reload):
                processes.discard(process)
            if process.returncode is None:
                process.kill()
            elif self._on_worker_exit is not None:
                self._on_worker_exit(process.pid)

    async def _await_ready(self, process: trio.Process, ready_pipe: int) -> None:
        """Wait until the worker reports that it is ready, then reload it if there was a reload meanwhile."""
        async with trio.lowlevel.FdStream(ready_pipe) as stream:
            if not await stream.receive_some(1):
                return  # it has ended
        self._starting.discard(process)
        if process in self._to_reload:
            self._to_reload.discard(process)
            process.send_signal(signal.SIGHUP)
        if self._ready is not None:
            self._ready()
            self._ready = None

    async def watch_signals(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Pass signals to the workers until cancelled or until all of them are killed."""
        more = () if self._reload is None else (signal.SIGHUP,)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, *more) as received:
            task_status.started()
            release_reloads()
            await self._wait_for_stop(received)
            self._stopping.set()
            self._signal(signal.SIGTERM)
            for sock in self._sockets:
                sock.close()  # otherwise connections would queue here forever
            with trio.move_on_after(self._longest_drain):
                self.status = 128 + await _not_hangup(received)
                # The kernel would merge a SIGTERM with one that a busy worker has not handled.
                self._signal(signal.SIGINT)
                await trio.sleep(KILL_AFTER)
            self.status = self.status or 1
            self._signal(signal.SIGKILL)

    async def _wait_for_stop(self, received: AsyncIterator[int]) -> None:
        """Wait for a stop signal, and handle reloads meanwhile.

        A stop waits for no reload, because its files may be on a file system that does not respond."""
        terminal = has_terminal()
        requested, requests = trio.open_memory_channel[None](1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._reload_workers, requests)
            while await anext(received) == signal.SIGHUP and not has_lost_terminal(terminal):
                with contextlib.suppress(trio.WouldBlock):  # the waiting one will read the same files
                    requested.send_nowait(None)
            nursery.cancel_scope.cancel()

    async def _reload_workers(self, requests: trio.MemoryReceiveChannel[None]) -> None:
        """Reload the workers for each of ``requests``, until cancelled."""
        async for _ in requests:
            if self._reload is not None and await self._reload():
                self._to_reload |= self._starting
                self._signal(signal.SIGHUP, self._live - self._starting)

    def _signal(self, number: int, processes: Iterable[trio.Process] | None = None) -> None:
        """Send a signal to ``processes``, by default to all workers."""
        for process in self._live if processes is None else processes:
            process.send_signal(number)


async def _not_hangup(received: AsyncIterator[int]) -> int:
    while (number := await anext(received)) == signal.SIGHUP:
        pass
    return number
