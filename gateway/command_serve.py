"""The commands that serve: ``serve``, with the demo and workers, and ``mock``."""

import gc
import json
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
import trio

from gateway import __version__
from gateway.app import create_app
from gateway.commands import load_or_explain
from gateway.config import Config, from_mapping
from gateway.mock import MODELS, create_mock
from gateway.routing import Router
from gateway.server import BindFailed, Lifecycle, adopt, bind, serve, supervise


def run(
    path: Path | None, *, host: str | None, port: int | None, workers: int, demo: bool, pace: float, fds: Sequence[int]
) -> int:
    """``trigate serve``: the exit status."""
    _log_to_stderr()
    if demo:
        return _run_demo(host or "127.0.0.1", 12000 if port is None else port, pace)
    config = load_or_explain(path)
    if config is None:
        return 1
    if fds:  # a worker: the supervisor has bound and said everything
        return _serve(config, [adopt(fd) for fd in fds], announce=None)
    for text in (*config.warnings, *config.notes):
        click.echo(f"warning: {text}", err=True)
    try:
        sockets = _bind(config, host, port)
    except BindFailed as error:
        click.echo(str(error), err=True)
        return 1
    announce = partial(_announce, config, [_url(sock) for sock in sockets])
    if workers == 1:
        return _serve(config, sockets, announce)
    announce()
    argv = [sys.executable, "-m", "gateway", "serve", str(config.path)]
    return trio.run(partial(supervise, argv, sockets, workers, config.drain + config.drain_delay))


def run_mock(host: str, port: int, pace: float) -> int:
    """``trigate mock``: the exit status."""
    _log_to_stderr()
    try:
        sock = bind(host, port)
    except BindFailed as error:
        click.echo(str(error), err=True)
        return 1
    click.echo(f"mock provider on {_url(sock)}: chat, messages and responses; models {', '.join(MODELS)}")
    trio.run(partial(serve, create_mock(pace), [sock], state=Lifecycle(), drain=1))
    return 0


def _log_to_stderr() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")


def _bind(config: Config, host: str | None, port: int | None) -> list[socket.socket]:
    places = [(host or one.address, one.port if port is None else port) for one in config.listeners]
    return [bind(*place) for place in dict.fromkeys(places)]


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _serve(config: Config, sockets: Sequence[socket.socket], announce: Callable[[], None] | None) -> int:
    lifecycle = Lifecycle()
    app = create_app(config, lifecycle)
    _settle_memory()
    trio.run(
        partial(
            serve, app, sockets, state=lifecycle, drain=config.drain, drain_delay=config.drain_delay, ready=announce
        )
    )
    return 0


def _settle_memory() -> None:
    """What start-up has made lives as long as the process: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _announce(config: Config, urls: Sequence[str]) -> None:
    names = [model.id for model in Router(config).models()]
    click.echo(f"trigate {__version__} on {', '.join(urls)}")
    click.echo(f"models: {', '.join(names[:12])}{' …' if len(names) > 12 else ''}")
    if names:
        body = {"model": names[0], "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
        click.echo(f"try:   curl -N {urls[0]}/v1/chat/completions -d '{json.dumps(body)}'")


# The demo


def demo_config(upstream: str) -> Config:
    """A provider for each API, all of them the mock at ``upstream``: every pair of APIs can be tried."""
    provider = {"provider_interface": "openai", "base_url": f"{upstream}/v1", "access_key": "demo"}
    return from_mapping(
        {
            "version": "v0.3.0",
            "listeners": [{"type": "model", "name": "demo", "port": 12000}],
            "model_providers": [
                {**provider, "model": "demo/mock-large", "name": "demo", "default": True,
                 "speaks": ["chat", "messages", "responses"]},
                {**provider, "model": "chat-only/mock-large", "name": "demo-chat", "speaks": ["chat"]},
                {**provider, "model": "messages-only/mock-large", "name": "demo-messages", "speaks": ["messages"]},
                {**provider, "model": "responses-only/mock-large", "name": "demo-responses", "speaks": ["responses"]},
            ],
        }
    )  # fmt: skip


def _run_demo(host: str, port: int, pace: float) -> int:
    try:
        sock, mock_sock = bind(host, port), bind("127.0.0.1", 0)
    except BindFailed as error:
        click.echo(str(error), err=True)
        return 1
    config = demo_config(_url(mock_sock))
    trio.run(_demo, config, sock, mock_sock, pace)
    return 0


async def _demo(config: Config, sock: socket.socket, mock_sock: socket.socket, pace: float) -> None:
    lifecycle = Lifecycle()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(serve, create_mock(pace), [mock_sock], state=Lifecycle(), signals=False))
        announce = partial(_announce, config, [_url(sock)])
        await serve(create_app(config, lifecycle), [sock], state=lifecycle, drain=config.drain, ready=announce)
        nursery.cancel_scope.cancel()
