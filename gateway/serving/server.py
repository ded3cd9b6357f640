"""Listening sockets, drain, workers.

How a server stops, after the first SIGTERM or SIGINT: readiness goes off; ``drain_delay`` later the listeners and idle
connections close while requests go on; ``drain`` seconds after that each live pump is cancelled, so that its client
still gets an error event and the end of its stream; two seconds later what is left is cut. A second signal ends the
process at once.
"""

import contextlib
import errno
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Final, NoReturn

import trio
from hypercorn.typing import ASGIFramework

from gateway.serving.garbage import tidy
from gateway.serving.registry import ConnectionRegistry
from gateway.serving.server_config import WRITE_TIMEOUT, ServerConfig
from gateway.serving.worker import accept_until

log = logging.getLogger("trigate.server")

DRAIN: Final = 25.0
CUT_AFTER: Final = 2.0  # seconds between cancelling the pumps and cutting what is left
KILL_AFTER: Final = 5.0  # seconds that a worker gets beyond that
BACKLOG: Final = 1024
KEEP_ALIVE: Final = 75.0
FD_FLAG: Final = "--fd"
STDERR: Final = 2


# Sockets


class BindFailed(OSError):
    """An address cannot be listened on. The message says which, why, and what to do."""


_ADVICE: Final = {
    errno.EADDRINUSE: "another process listens there: stop it or choose another port",
    errno.EACCES: "ports below 1024 need privileges: choose a higher port",
    errno.EADDRNOTAVAIL: "this machine has no such address: use one of its own, or 0.0.0.0 for all",
}


def bind(host: str, port: int, *, write_timeout: float = WRITE_TIMEOUT) -> socket.socket:
    """A listening socket on ``host`` (a name, IPv4 or IPv6; ``::`` takes IPv4 too) and ``port`` (0: any free one).

    ``write_timeout`` is how many seconds a client may leave what it was sent unacknowledged before it is cut. Raises
    ``BindFailed``.
    """
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise BindFailed(f"cannot listen on {where}: {error.strerror}: check the host's spelling") from error
    sock = socket.socket(family, kind, protocol)
    try:
        _set_options(sock, write_timeout)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        advice = _ADVICE.get(error.errno or 0, "choose another address")
        raise BindFailed(f"cannot listen on {where}: {error.strerror}: {advice}") from error
    return sock


def _set_options(sock: socket.socket, write_timeout: float) -> None:
    """Accepted connections inherit all but the first."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        # Hypercorn shields its writes, so a client that stops reading defeats every timeout of ours.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(write_timeout * 1000))
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)


def adopt(fd: int) -> socket.socket:
    """The listening socket that ``supervise`` handed over as file descriptor ``fd``."""
    return socket.socket(fileno=fd)


# The life of the process


class Lifecycle(ConnectionRegistry):
    """How far a server is in stopping, and what it has in flight. One per process, used from the trio thread only."""

    def __init__(self) -> None:
        super().__init__()
        self.draining = False
        """Readiness answers 503 from here on."""
        self.stopping = trio.Event()
        self.closing = trio.Event()
        """Nobody new is let in from here on, and who is idle is sent away."""
        self._pumps: set[trio.CancelScope] = set()
        self._pumps_cancelled = False
        self._flushes: list[Callable[[], object]] = []

    def stop(self) -> None:
        """Begin to drain; what the first signal does. May be called again, to no effect."""
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
                log.exception("a flush failed before the exit")


# Serving


async def serve(
    app: ASGIFramework,
    sockets: Sequence[socket.socket],
    *,
    state: Lifecycle,
    drain: float = DRAIN,
    drain_delay: float = 0,
    keep_alive: float = KEEP_ALIVE,
    write_timeout: float = WRITE_TIMEOUT,
    ready: Callable[[], object] | None = None,
    reload: Callable[[], object] | None = None,
    signals: bool = True,
) -> None:
    """Serve ``app`` on listening ``sockets``, which it closes, until ``state.stop()`` or a signal; return when drained.

    Times are in seconds. ``keep_alive`` limits idle connections and the arrival of a request's head. ``ready()`` is
    called once connections are accepted, ``reload()`` on SIGHUP. ``signals`` takes SIGTERM, SIGINT and, with
    ``reload``, SIGHUP (main thread only). The app's failure to start is raised in an exception group. Cancelling cuts
    every connection.
    """
    config = ServerConfig()
    config.write_timeout = write_timeout
    config.keep_alive_timeout = keep_alive
    # The accept loop's own end, which a blocked write outlives, comes behind ours.
    config.graceful_timeout = drain + CUT_AFTER + 1
    config.shutdown_timeout = drain + CUT_AFTER + KILL_AFTER  # turns in the background end with the drain, too
    close = trio.Event()
    async with trio.open_nursery() as nursery:
        if signals:
            await nursery.start(_watch_signals, state, reload)
        nursery.start_soon(_stop_in_order, state, close, drain_delay, drain)
        nursery.start_soon(tidy, state)
        async with trio.open_nursery() as serving:
            await serving.start(accept_until, close, app, sockets, config, state)
            if ready is not None:
                ready()
        nursery.cancel_scope.cancel()


async def _stop_in_order(state: Lifecycle, close: trio.Event, delay: float, drain: float) -> None:
    await state.stopping.wait()
    await trio.sleep(delay)  # readiness is off, balancers look elsewhere
    close.set()
    state.closing.set()
    await trio.sleep(drain)
    state.cancel_pumps()
    await trio.sleep(CUT_AFTER)
    state.flush()  # before the cut, which would look like the clients' own leaving
    state.cut_connections()


async def _watch_signals(
    state: Lifecycle, reload: Callable[[], object] | None, *, task_status: trio.TaskStatus[None]
) -> None:
    more = () if reload is None else (signal.SIGHUP,)
    terminal = os.isatty(STDERR)
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, *more) as received:
        task_status.started()
        async for number in received:
            if number == signal.SIGHUP and reload is not None and not _is_closed(terminal):
                reload()
            elif not state.draining:
                log.warning("%s: draining; a second signal exits at once", signal.Signals(number).name)
                state.stop()
            elif number != signal.SIGHUP:
                _exit_now(state, number)


def _is_closed(terminal: bool) -> bool:
    """Whether there was a terminal and is none any more: SIGHUP then has its first meaning."""
    return terminal and not os.isatty(STDERR)


def _exit_now(state: Lifecycle, number: int) -> NoReturn:
    state.flush()
    os._exit(128 + number)


# Workers


async def supervise(
    argv: Sequence[str],
    sockets: Sequence[socket.socket],
    workers: int,
    drain: float = DRAIN,
    env: Mapping[str, str] | None = None,
    reload: Callable[[], bool] | None = None,
    ready: Callable[[], object] | None = None,
    gone: Callable[[int], object] | None = None,
) -> int:
    """Keep ``workers`` processes of ``argv`` running on ``sockets`` until SIGTERM or SIGINT; return the exit status.

    ``ready()`` is called once signals are obeyed. Each gets ``--fd N`` per socket, for ``adopt``, and ``env`` on top of
    this process's environment. One that dies is started again, costing only its own streams, once ``gone`` was called
    with its process id.
    ``drain`` is all the seconds that a worker may take to drain (with its delay); one that takes longer is killed, and
    the status is then 1, else 0. On SIGHUP ``reload()`` is called, and if it is true the workers get a SIGHUP each: one
    that has not come up yet dies of it, and the next one starts with what is new. A second signal to stop is passed on
    too: 128 + its number. (Hypercorn's own workers do neither: the first that ends makes it terminate the others, in
    mid-stream.)
    """
    crew = _Crew(argv, sockets, drain + CUT_AFTER + KILL_AFTER, {**os.environ, **(env or {})}, reload, gone)
    async with trio.open_nursery() as outer:
        await outer.start(crew.obey)
        if ready is not None:
            ready()
        async with trio.open_nursery() as nursery:
            for _ in range(workers):
                nursery.start_soon(crew.keep)
        outer.cancel_scope.cancel()
    return crew.status


class _Crew:
    PAUSES: Final = (0.1, 5.0)  # before a restart: at first, and at most
    STEADY: Final = 10.0  # seconds after which a worker counts as having worked

    def __init__(
        self,
        argv: Sequence[str],
        sockets: Sequence[socket.socket],
        patience: float,
        env: Mapping[str, str],
        reload: Callable[[], bool] | None,
        gone: Callable[[int], object] | None,
    ) -> None:
        self._gone = gone
        self._sockets = sockets
        self._fds = [sock.fileno() for sock in sockets]
        self._command = [*argv, *(part for fd in self._fds for part in (FD_FLAG, str(fd)))]
        self._patience = patience
        self._env = env
        self._reload = reload
        self._stopping = trio.Event()
        self._live: set[trio.Process] = set()
        self.status = 0

    async def keep(self) -> None:
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
        """One worker to its end: what became of it."""
        try:
            # A process group of its own: Ctrl-C in a terminal goes to the whole group, and with the SIGTERM from here
            # would be the worker's second signal.
            process = await trio.lowlevel.open_process(
                self._command, pass_fds=self._fds, process_group=0, env=self._env
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

    async def obey(self, *, task_status: trio.TaskStatus[None]) -> None:
        more = () if self._reload is None else (signal.SIGHUP,)
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, *more) as received:
            task_status.started()
            await self._ended(received)
            self._stopping.set()
            self._tell(signal.SIGTERM)
            for sock in self._sockets:
                sock.close()  # else connections queue here, and nobody takes them
            with trio.move_on_after(self._patience):
                self.status = 128 + await _not_hangup(received)
                self._tell(signal.SIGINT)  # the kernel would merge a SIGTERM with one that a busy worker has not taken
                await trio.sleep(KILL_AFTER)
            self.status = self.status or 1
            self._tell(signal.SIGKILL)

    async def _ended(self, received: AsyncIterator[int]) -> None:
        """Until there is a signal to stop; on the way, reload."""
        terminal = os.isatty(STDERR)
        while await anext(received) == signal.SIGHUP and not _is_closed(terminal):
            if self._reload is not None and self._reload():
                self._tell(signal.SIGHUP)

    def _tell(self, number: int) -> None:
        for process in self._live:
            process.send_signal(number)


async def _not_hangup(received: AsyncIterator[int]) -> int:
    """The next signal that is no SIGHUP."""
    while (number := await anext(received)) == signal.SIGHUP:
        pass
    return number
