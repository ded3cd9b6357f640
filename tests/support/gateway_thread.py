"""A gateway in a thread of the test's process, on a real socket: it serves as ``trigate serve`` does.

For tests of responses. Tests of signals, workers, memory, speed and crashes run ``harness.running``.
"""

import contextlib
import gc
import inspect
import io
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import attrs
import outcome
import pytest
import trio

from gateway.app import create_app
from gateway.commands.demo import demo_config
from gateway.commands.listening import LOCAL, open_listener, open_listeners, unlink_sockets_on_exit
from gateway.commands.serve import Options, serve_config
from gateway.config_files.loading import load
from gateway.log_output.setup import Log
from gateway.mock.prompt_cache import SharedPrefixes
from gateway.mock.server import create_mock
from gateway.open_store import open_store
from gateway.processes.binding import bind
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.worker import serve
from tests.support.harness import START_SECONDS, STOP_SECONDS, Gateway, config_file, eventually
from tests.support.imitated_caches import ImitatedCaches
from tests.support.own_log import kept_settings

_LINES: ContextVar["_Lines | None"] = ContextVar("_LINES", default=None)
"""The lines of the gateway in whose thread, or in one of whose threads, the code runs."""


@attrs.frozen
class ThreadGateway(Gateway):
    """A gateway in a thread of the test."""

    thread: threading.Thread
    lifecycle: Lifecycle
    token: trio.lowlevel.TrioToken

    def stop(self) -> None:
        """Begin the drain, as the first signal does."""
        self.token.run_sync_soon(self.lifecycle.stop)
        eventually(lambda: self.lifecycle.draining, what="the drain")

    def has_ended(self) -> bool:
        """Return true once the gateway has drained."""
        return not self.thread.is_alive()


class _Lines(io.TextIOBase):
    """A standard error stream that appends each line to ``lines`` as soon as it is written."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, text: str) -> int:
        self.lines += text.removesuffix("\n").split("\n")
        return len(text)


@contextlib.contextmanager
def gateway_thread(
    settings: Mapping[str, Any] | Path, port: int = 0, *, env: Mapping[str, str] | None = None, **options: Any
) -> Iterator[Gateway]:
    """Serve ``settings`` (a mapping or a file) with ``Options`` until the end of the block, then drain.

    ``port`` is that of a file. ``env`` has variables that the settings name. ``Gateway.log`` has the lines that this
    gateway logs, as JSON.
    """
    with config_file(settings, port) as (file, port):
        config, chosen = load(file, {**os.environ, **(env or {})}), Options(**options)
        listeners, lines, lifecycle = open_listeners(config, None, None), _Lines(), Lifecycle()
        with contextlib.ExitStack() as sockets, unlink_sockets_on_exit(listeners), _make_log(lines, chosen) as log:
            for one in listeners:
                sockets.enter_context(one.sock)  # which stay open if it does not begin to serve
            log.apply_config(config)

            async def main(ready: Callable[[], None]) -> None:
                await serve_config(config, listeners, ready, chosen, log, lifecycle=lifecycle, owns_process=False)

            with _run_in_thread(main, lifecycle, lines, port) as served:
                yield served


def serve_module(settings: Callable[..., Mapping[str, Any] | Path]) -> Callable[..., Iterator[Gateway]]:
    """Return a fixture with a gateway for a whole module, which serves what ``settings`` returns.

    The parameters of ``settings`` are fixtures. No request may end in an exception of the gateway itself.
    """

    def serve(**fixtures: Any) -> Iterator[Gateway]:
        with gateway_thread(settings(**fixtures)) as process:
            yield process
            assert "Traceback" not in "\n".join(process.log)

    serve.__name__, serve.__doc__ = settings.__name__, settings.__doc__
    serve.__signature__ = inspect.signature(settings)  # type: ignore[attr-defined]
    return pytest.fixture(scope="module")(serve)


@contextlib.contextmanager
def demo_thread(record: Path | None = None) -> Iterator[Gateway]:
    """Serve as ``trigate serve --demo --record RECORD`` does, without pauses between words."""
    mock = Lifecycle()
    with app_thread(create_mock(0, mock, SharedPrefixes()), mock) as port:
        config, listener = demo_config(f"http://127.0.0.1:{port}"), open_listener(LOCAL, 0)
        lines, lifecycle = _Lines(), Lifecycle()
        with _make_log(lines, Options()) as log:
            log.apply_config(config)

            async def main(ready: Callable[[], None]) -> None:
                app = create_app(config, lifecycle, await open_store(config), record=record)
                await serve(app, [listener.sock], state=lifecycle, drain=config.drain, ready=ready, signals=False)

            with _run_in_thread(main, lifecycle, lines, listener.sock.getsockname()[1]) as served:
                yield served


@contextlib.contextmanager
def mock_thread() -> Iterator[Gateway]:
    """Serve as ``trigate mock`` does, without pauses between words."""
    lifecycle, caches = Lifecycle(), ImitatedCaches()
    app = create_mock(0, lifecycle, caches)
    caches.add_routes(app.routes)
    with app_thread(app, lifecycle) as port:
        yield Gateway(port, None, [])


@contextlib.contextmanager
def app_thread(app: Any, lifecycle: Lifecycle) -> Iterator[int]:
    """Serve ``app`` in a thread until the end of the block, on the port that this yields."""
    sock = bind(LOCAL, 0)
    port: int = sock.getsockname()[1]

    async def main(ready: Callable[[], None]) -> None:
        await serve(app, [sock], state=lifecycle, drain=1, ready=ready, signals=False)

    with _run_in_thread(main, lifecycle, _Lines(), port):
        yield port


@contextlib.contextmanager
def _run_in_thread(
    main: Callable[[Callable[[], None]], Awaitable[None]], lifecycle: Lifecycle, lines: _Lines, port: int
) -> Iterator[ThreadGateway]:
    """Run ``main`` in a thread, from the moment that it calls its argument to the end of the block, and raise what it
    raises."""
    ready, ended = threading.Event(), list[outcome.Outcome[None]]()
    token: list[trio.lowlevel.TrioToken] = []

    async def until_stopped() -> None:
        token.append(trio.lowlevel.current_trio_token())
        await main(ready.set)

    def run() -> None:
        _LINES.set(lines)
        ended.append(outcome.capture(trio.run, until_stopped))

    thread, collects = threading.Thread(target=run, daemon=True), gc.get_threshold()
    thread.start()
    try:
        eventually(lambda: ready.is_set() or ended, START_SECONDS, "a server that listens")
        gc.set_threshold(*collects)  # of this process, which has more to collect than a gateway
        if not ended:
            yield ThreadGateway(port, None, lines.lines, thread, lifecycle, token[0])
    finally:
        with contextlib.suppress(trio.RunFinishedError):
            token[0].run_sync_soon(lifecycle.stop)
        thread.join(STOP_SECONDS)
    assert ended, f"the server was still there {STOP_SECONDS} s after it was stopped"
    ended[0].unwrap()


@contextlib.contextmanager
def _make_log(lines: _Lines, options: Options) -> Iterator[Log]:
    """Make the log of a gateway, which writes the records of its thread to ``lines``."""
    root = logging.getLogger()
    with kept_settings():
        others, root.handlers[:] = root.handlers[:], []
        with contextlib.redirect_stderr(lines):
            log = Log(options.log_level, "json", alone=False)
        (handler,) = root.handlers
        handler.addFilter(lambda _: _LINES.get() is lines)
        root.handlers[:] = [*others, handler]
        try:
            yield log
        finally:
            root.removeHandler(handler)
