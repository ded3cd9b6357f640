"""A gateway in a thread of the test's process: what ``trigate serve`` serves, on a real socket, without a process.

For tests of what a gateway answers. Tests of signals, workers, memory, haste and crashes run ``harness.running``.
"""

import contextlib
import gc
import io
import logging
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import outcome
import trio
import yaml

from gateway.commands.listening import closed, open_listeners
from gateway.commands.serve import Options, serve_config
from gateway.config.loading import load
from gateway.logs.setup import Log
from gateway.serving.lifecycle import Lifecycle
from tests.support.harness import START_SECONDS, STOP_SECONDS, Gateway, eventually
from tests.support.own_log import kept_settings

_LINES: ContextVar["_Lines | None"] = ContextVar("_LINES", default=None)
"""The lines of the gateway in whose thread, or in one of whose threads, the code runs."""


class _Lines(io.TextIOBase):
    """A standard error of which each line is an item of ``lines`` as soon as it is written."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, text: str) -> int:
        self.lines += text.removesuffix("\n").split("\n")
        return len(text)


@contextlib.contextmanager
def gateway_thread(settings: Mapping[str, Any] | Path, port: int, **options: Any) -> Iterator[Gateway]:
    """Serve ``settings`` (a mapping or a file) with ``Options`` until the end of the block, then drain.

    ``Gateway.log`` has the lines that this gateway logs, as JSON.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = settings if isinstance(settings, Path) else Path(folder) / "config.yaml"
        if not isinstance(settings, Path):
            file.write_text(yaml.safe_dump(dict(settings), sort_keys=False))
        config = load(file, os.environ)
        listeners, lines, chosen = open_listeners(config, None, None), _Lines(), Options(**options)
        lifecycle, ready, ended = Lifecycle(), threading.Event(), list[outcome.Outcome[None]]()
        with closed(listeners), _logged(lines, chosen) as log:
            log.follow(config)
            token: list[trio.lowlevel.TrioToken] = []

            async def main() -> None:
                token.append(trio.lowlevel.current_trio_token())
                await serve_config(config, listeners, ready.set, chosen, log, lifecycle=lifecycle, signals=False)

            def run() -> None:
                _LINES.set(lines)
                ended.append(outcome.capture(trio.run, main))

            thread, collects = threading.Thread(target=run, daemon=True), gc.get_threshold()
            thread.start()
            try:
                eventually(lambda: ready.is_set() or ended, START_SECONDS, "a gateway that listens")
                gc.set_threshold(*collects)  # of this process, which has more to collect than a gateway
                if not ended:
                    yield Gateway(port, None, lines.lines)
            finally:
                with contextlib.suppress(trio.RunFinishedError):
                    token[0].run_sync_soon(lifecycle.stop)
                thread.join(STOP_SECONDS)
            assert ended, f"the gateway was still there {STOP_SECONDS} s after it was stopped"
            ended[0].unwrap()


@contextlib.contextmanager
def _logged(lines: _Lines, options: Options) -> Iterator[Log]:
    """Make the log of a gateway, which writes to ``lines`` what is logged in its thread."""
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
