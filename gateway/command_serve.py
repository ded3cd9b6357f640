"""The commands that serve: ``serve``, with the demo and workers, and ``mock``."""

import gc
import ipaddress
import json
import logging
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
import msgspec
import trio

import gateway
from gateway.app import create_app, open_service
from gateway.commands import load_or_explain
from gateway.config import Config, ConfigError, from_mapping, load
from gateway.mock import MODELS, create_mock
from gateway.reload import Copies, Original, Served
from gateway.routing import Router
from gateway.server import BindFailed, Lifecycle, adopt, bind, serve, supervise
from gateway.shared_metrics import shared_metrics
from gateway.state.opening import open_store, shared_by_workers

LOCAL = "127.0.0.1"
PORT = 12000
SHOWN = 12  # models that the banner lists
LOOK = 1.0  # seconds between a worker's looks for its supervisor


def run(
    path: Path | None,
    *,
    host: str | None,
    port: int | None,
    workers: int,
    fds: Sequence[int],
    copies: Path | None = None,
    check_streams: bool = False,
) -> int:
    """``trigate serve``: the exit status."""
    log_to_stderr()
    if path is not None and copies is not None:  # a worker: the supervisor has bound, tried and said everything
        read = partial(Copies(copies).read, path, os.environ)
        trio.run(_work, read, [adopt(fd) for fd in fds], check_streams)
        return 0
    config = load_or_explain(path)
    if config is None:
        return 1
    for kind, texts in (("warning", config.warnings), ("note", config.notes)):
        for text in texts:
            click.echo(f"{kind}: {text}", err=True)
    try:
        sockets = _bind(config, host, port)
    except BindFailed as error:
        return _refused(error)
    _warn_if_open(config, sockets)
    _warn_if_apart(config, workers)
    announce = partial(_announce, config, sockets)
    try:
        if workers == 1:
            trio.run(_serve, config, sockets, announce, check_streams)
            return 0
        return _supervise(config, sockets, workers, announce, check_streams)
    except ConfigError as error:  # of the store, which has been tried only now
        click.echo(str(error), err=True)
        return 1


def run_demo(host: str | None, port: int | None, pace: float, check_streams: bool = False) -> int:
    """``trigate serve --demo``: the gateway and a stand-in provider in one process; the exit status."""
    log_to_stderr()
    try:
        sock, mock_sock = bind(host or LOCAL, PORT if port is None else port), bind(LOCAL, 0)
    except BindFailed as error:
        return _refused(error)
    trio.run(_demo, demo_config(_url(mock_sock)), sock, mock_sock, pace, check_streams)
    return 0


def run_mock(host: str, port: int, pace: float) -> int:
    """``trigate mock``: the exit status."""
    log_to_stderr()
    try:
        sock = bind(host, port)
    except BindFailed as error:
        return _refused(error)
    state = Lifecycle()
    app = create_mock(pace, state)
    _settle_memory()
    announce = partial(_banner, "trigate mock", [sock], MODELS, MODELS[0])
    trio.run(partial(serve, app, [sock], state=state, drain=1, ready=announce))
    return 0


def _refused(error: BindFailed) -> int:
    click.echo(f"{error} (--host and --port choose)", err=True)
    return 1


def _bind(config: Config, host: str | None, port: int | None) -> list[socket.socket]:
    places = [(host or one.address, one.port if port is None else port) for one in config.listeners]
    return [bind(*place, write_timeout=config.write_timeout) for place in dict.fromkeys(places)]


async def _work(read: Callable[[], Config], sockets: Sequence[socket.socket], check_streams: bool) -> None:
    """Serve as a worker, as long as there is somebody who would replace and stop it."""
    lifecycle = Lifecycle()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_without_supervisor, lifecycle)
        await _serve(read(), sockets, None, check_streams, lifecycle, read)
        nursery.cancel_scope.cancel()


async def _stop_without_supervisor(lifecycle: Lifecycle) -> None:
    supervisor = os.getppid()
    while os.getppid() == supervisor:  # noqa: ASYNC110  # of another process
        await trio.sleep(LOOK)
    logging.getLogger("trigate").error("the supervisor is gone: draining")
    lifecycle.stop()


async def _serve(
    config: Config,
    sockets: Sequence[socket.socket],
    announce: Callable[[], None] | None,
    check_streams: bool,
    lifecycle: Lifecycle | None = None,
    read: Callable[[], Config] | None = None,
) -> None:
    """``read`` is for the next configuration, by default from the file. Raises ``ConfigError`` for a store that cannot
    be used."""
    lifecycle = lifecycle or Lifecycle()
    assert config.path is not None
    served = Served(config, open_service(config, lifecycle, await open_store(config), check_streams))
    _settle_memory()
    await serve(
        served,
        sockets,
        state=lifecycle,
        drain=config.drain,
        drain_delay=config.drain_delay,
        write_timeout=config.write_timeout,
        ready=announce,
        reload=partial(served.reload, read or partial(load, config.path, os.environ)),
    )


def _supervise(
    config: Config, sockets: Sequence[socket.socket], workers: int, announce: Callable[[], None], check_streams: bool
) -> int:
    """The exit status. Raises ``ConfigError`` as ``_serve`` does."""
    assert config.path is not None
    with shared_by_workers(config) as env, shared_metrics(config) as metrics, Copies.of(config.path) as copies:
        trio.run(_try_store, config)
        _settle_memory()
        drain = config.drain + config.drain_delay
        command = [*_worker(config, check_streams), "--copies", str(copies.folder)]
        reload = Original(config, config.path, copies, os.environ).reload
        return trio.run(
            supervise, command, sockets, workers, drain, {**env, **metrics.env}, reload, announce, metrics.gone
        )


async def _try_store(config: Config) -> None:
    """So that what is wrong with it is said once, and not by every worker again and again."""
    if (store := await open_store(config)) is not None:
        await store.aclose()


def _worker(config: Config, check_streams: bool) -> list[str]:
    """The command of one worker. Python takes ``-m`` from the current directory first, where a ``gateway`` of somebody
    else's may stand: ``-P`` keeps it out, unless ours is the one there."""
    flags = ["--check-streams"] if check_streams else []
    installed = Path(gateway.__file__).parents[1] != Path.cwd()
    return [sys.executable, *(["-P"] if installed else []), "-m", "gateway", "serve", str(config.path), *flags]


def _settle_memory() -> None:
    """What start-up has made lives as long as the process: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 2)  # the oldest generation often: 20 let a busy worker grow by 20 MiB
    gc.enable()


# What is said


class _JsonLines(logging.Formatter):
    """Every line on a standard error that is no terminal is one JSON object; exchanges come as such already."""

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if text.startswith('{"event":'):
            return text
        line = {
            "event": "log",
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "message": text,
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def log_to_stderr() -> None:
    """Log lines for people on a terminal, for programs elsewhere."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s") if sys.stderr.isatty() else _JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _announce(config: Config, sockets: Sequence[socket.socket]) -> None:
    names = [model.id for model in Router(config).models()] or [entry.name for entry in config.entries]
    default = next((entry.name for entry in config.entries if entry.default), names[0])
    _banner(f"trigate {gateway.__version__}", sockets, names, default.replace("*", "MODEL"))


def _banner(who: str, sockets: Sequence[socket.socket], names: Sequence[str], model: str) -> None:
    """Where it listens, what can be asked for, and one line to try. Whoever reads that may be gone (``| head -1``): it
    serves all the same."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    lines = (
        f"{click.style(who, bold=True)} is listening on {', '.join(_place(sock) for sock in sockets)}",
        f"{click.style('models', dim=True)}  {', '.join(names[:SHOWN])}{more}",
        f"{click.style('try', dim=True)}     curl -N {_url(sockets[0])}/v1/chat/completions -d "
        f"{shlex.quote(json.dumps(body))}",
    )
    try:
        click.echo("\n".join(lines), color=False if os.environ.get("NO_COLOR") else None)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor may the flush at the exit fail


def _address(sock: socket.socket) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(sock.getsockname()[0].partition("%")[0])


def _url(sock: socket.socket) -> str:
    """One that can be asked on this machine; nobody can connect to 0.0.0.0."""
    host, port = sock.getsockname()[:2]
    if _address(sock).is_unspecified:
        host = LOCAL
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _place(sock: socket.socket) -> str:
    everywhere = " (and all other addresses of this machine)" if _address(sock).is_unspecified else ""
    return f"{click.style(_url(sock), fg='cyan')}{everywhere}"


def _warn_if_open(config: Config, sockets: Sequence[socket.socket]) -> None:
    if config.client_keys or all(_address(sock).is_loopback for sock in sockets):
        return
    text = (
        "WARNING: there are no client_keys: every machine that can connect here can use the keys in this config. "
        "Set client_keys, or listen on 127.0.0.1 only."
    )
    click.secho(text, fg="red", bold=True, err=True, color=False if os.environ.get("NO_COLOR") else None)


def _warn_if_apart(config: Config, workers: int) -> None:
    if workers > 1 and config.state_storage is not None and config.state_storage.type == "memory":
        text = "state_storage.type memory: each worker has its own, and does not know what another has stored"
        click.echo(f"warning: {text}; sqlite and postgres are shared", err=True)


# The demo


def demo_config(upstream: str) -> Config:
    """A provider for each API, all of them the mock at ``upstream``: every pair of APIs can be tried, and every fault
    of the mock as ``fault/NAME``, or as ``fault-chat/NAME`` and so on where only that API is spoken."""
    provider = {"provider_interface": "openai", "base_url": f"{upstream}/v1", "access_key": "demo"}
    apis = ["chat", "messages", "responses"]
    return from_mapping(
        {
            "version": "v0.3.0",
            "listeners": [{"type": "model", "name": "demo", "port": PORT}],
            "model_providers": [
                {**provider, "model": "demo/mock-large", "name": "demo", "default": True,
                 "speaks": apis},
                {**provider, "model": "chat-only/mock-large", "name": "demo-chat", "speaks": ["chat"]},
                {**provider, "model": "messages-only/mock-large", "name": "demo-messages", "speaks": ["messages"]},
                {**provider, "model": "responses-only/mock-large", "name": "demo-responses", "speaks": ["responses"]},
                {**provider, "model": "fault/*", "speaks": apis},
                *({**provider, "model": f"fault-{api}/*", "speaks": [api]} for api in apis),
            ],
        }
    )  # fmt: skip


async def _demo(
    config: Config, sock: socket.socket, mock_sock: socket.socket, pace: float, check_streams: bool
) -> None:
    lifecycle, mock_state = Lifecycle(), Lifecycle()
    app = create_app(config, lifecycle, await open_store(config), check_streams=check_streams)
    mock = create_mock(pace, mock_state)
    _settle_memory()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(serve, mock, [mock_sock], state=mock_state, signals=False))
        announce = partial(_announce, config, [sock])
        await serve(app, [sock], state=lifecycle, drain=config.drain, ready=announce)
        nursery.cancel_scope.cancel()
