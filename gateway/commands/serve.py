"""The commands that serve: ``serve``, with the demo and workers, and ``mock``."""

import contextlib
import ipaddress
import json
import logging
import os
import shlex
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click
import trio

import gateway
from gateway.app import create_app
from gateway.commands.check import load_or_explain, no_effect
from gateway.commands.terminal import columns, fold, say
from gateway.config.document import sentence
from gateway.config.loading import Config, ConfigError, from_mapping, load
from gateway.config.settings import Listener, LogLevel, ModelEntry, Remark
from gateway.endpoints.ui.workers import OtherWorkers
from gateway.logs.setup import Log, LogFormat
from gateway.open_service import open_service
from gateway.open_store import open_store, shared_by_workers
from gateway.reload import Copies, Original, Served
from gateway.routing.router import Router
from gateway.serving.garbage import settle
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.listeners import BindFailed, ListenerOptions, adopt, bind
from gateway.serving.shared_directory import SharedDirectory, shared_directory
from gateway.serving.supervisor import supervise
from gateway.serving.worker import serve
from gateway.telemetry.metrics import tell_reload
from gateway.telemetry.shared_metrics import shared_metrics
from providers.catalog.providers import CATALOG

T = TypeVar("T")

LOCAL = "127.0.0.1"
PORT = 12000
STAND_IN = "stand-in"  # the demo's provider of models that it does not list
SHOWN = 12  # models that the banner lists
LOOK = 1.0  # seconds between a worker's looks for its supervisor


@attrs.frozen
class Options:
    """The options of the command line that hold for every worker."""

    check_streams: bool = False
    record: Path | None = None
    log_level: LogLevel | None = None
    log_format: LogFormat = "auto"

    def log(self) -> Log:
        """Begin to log."""
        return Log(self.log_level, self.log_format)

    def flags(self) -> list[str]:
        """The options as the command of a worker has them."""
        given = {"--record": self.record, "--log-level": self.log_level, "--log-format": self.log_format}
        flags = ["--check-streams"] if self.check_streams else []
        return [*flags, *(word for flag, value in given.items() if value is not None for word in (flag, str(value)))]


def run(
    path: Path | None,
    options: Options,
    *,
    host: str | None,
    port: int | None,
    workers: int,
    fds: Sequence[int],
    copies: int | None = None,
    directory: Path | None = None,
) -> int:
    """``trigate serve``: the exit status."""
    log = options.log()
    if path is not None and copies is not None:  # a worker: the supervisor has bound, tried and said everything
        read = partial(Copies(copies).read, path, os.environ)
        _run(_work, read, [adopt(fd) for fd in fds], (host, port), options, log, directory)
        return 0
    config = load_or_explain(path)
    if config is None or not _can_record(options.record):
        return 1
    if config.path is None or not config.path.is_file():
        click.echo(f"{config.path}: serve reads it again on SIGHUP: give the path of a file, not a pipe", err=True)
        return 1
    log.follow(config)
    for kind, text in config.remarks:
        _say(log, kind, text)
    try:
        sockets = _bind(config, host, port)
    except BindFailed as error:
        return _refused(error)
    if (idle := no_effect(config)) is not None:
        _warn_loudly(log, idle)
    _warn_if_open(config, sockets, log)
    announce = partial(_announce, config, sockets)
    try:
        if workers == 1:
            _run(_serve, config, sockets, _options(config, host, port), announce, options, log)
            return 0
        return _supervise(config, sockets, workers, (host, port), announce, options, log)
    except ConfigError as error:  # of the store, which has been tried only now
        click.echo(str(error), err=True)
        return 1


def run_demo(host: str | None, port: int | None, pace: float, options: Options) -> int:
    """``trigate serve --demo``: the gateway and a stand-in provider in one process; the exit status."""
    log = options.log()
    if not _can_record(options.record):
        return 1
    try:
        sock, mock_sock = bind(host or LOCAL, PORT if port is None else port), bind(LOCAL, 0)
    except BindFailed as error:
        return _refused(error)
    _run(_demo, demo_config(_url(mock_sock)), sock, mock_sock, pace, options, log)
    return 0


def run_mock(host: str, port: int, pace: float) -> int:
    """``trigate mock``: the exit status."""
    from gateway.mock.server import MODELS, create_mock

    Log()
    try:
        sock = bind(host, port)
    except BindFailed as error:
        return _refused(error)
    state = Lifecycle()
    app = create_mock(pace, state)
    settle()
    announce = partial(_banner, "trigate mock", [sock], MODELS, MODELS[0])
    _run(partial(serve, app, [sock], state=state, drain=1, ready=announce))
    return 0


def _run(main: Callable[..., Awaitable[T]], *args: Any) -> T:
    """``trio.run`` that a Ctrl-C ends without a traceback when nobody waits for one: before it serves, or behind the
    drain, where a worker may get the second signal. What has been opened is closed."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return trio.run(main, *args)
    except BaseExceptionGroup as error:
        if error.split(KeyboardInterrupt)[1] is not None:
            raise
    except KeyboardInterrupt:
        pass
    sys.exit(128 + signal.SIGINT)


def _refused(error: BindFailed) -> int:
    click.echo(f"{error} (--host and --port choose)", err=True)
    return 1


def _can_record(folder: Path | None) -> bool:
    """True if exchanges can be written there, or are not to be; if not the reason is printed."""
    if folder is None:
        return True
    from gateway.telemetry.recorded import Folder

    try:
        Folder(folder)
    except OSError as error:
        click.echo(f"--record {folder}: {error.strerror}: name a folder that can be written to", err=True)
        return False
    return True


def _bind(config: Config, host: str | None, port: int | None) -> list[socket.socket]:
    return [bind(*place, write_timeout=config.write_timeout) for place in _places(config, host, port)]


def _places(config: Config, host: str | None, port: int | None) -> dict[tuple[str, int], Listener]:
    """The addresses to listen on, each with the first listener there: ``port`` is for model requests."""
    places: dict[tuple[str, int], Listener] = {}
    for one in config.listeners:
        wanted = one.port if port is None or one.serves == "health" else port
        places.setdefault((host or one.address, wanted), one)
    return places


def _options(config: Config, host: str | None, port: int | None) -> list[ListenerOptions]:
    """How each of the sockets of ``_bind`` is served, in their order."""
    return [ListenerOptions(http2=one.http2, serves=one.serves) for one in _places(config, host, port).values()]


async def _work(
    read: Callable[[], Config],
    sockets: Sequence[socket.socket],
    place: tuple[str | None, int | None],
    options: Options,
    log: Log,
    directory: Path | None,
) -> None:
    """Serve as a worker, as long as there is somebody who would replace and stop it. ``directory`` is what it shares
    with the others."""
    lifecycle = Lifecycle()
    config = read()
    log.follow(config)
    with contextlib.ExitStack() as stack:
        if directory is not None:
            stack.callback(SharedDirectory.join(directory).leave)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_without_supervisor, lifecycle)
            others = None if directory is None else OtherWorkers(directory)
            await _serve(config, sockets, _options(config, *place), None, options, log, lifecycle, read, others)
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
    listeners: Sequence[ListenerOptions],
    announce: Callable[[], None] | None,
    options: Options,
    log: Log,
    lifecycle: Lifecycle | None = None,
    read: Callable[[], Config] | None = None,
    others: OtherWorkers | None = None,
) -> None:
    """``read`` is for the next configuration, by default from the file. ``others`` serve the same sockets. Raises
    ``ConfigError`` for a store that cannot be used."""
    assert config.path is not None
    read_anew = read or partial(load, config.path, os.environ)
    store, alone = await open_store(config), lifecycle is None
    lifecycle = lifecycle or Lifecycle()
    service = open_service(config, lifecycle, store, options.check_streams, options.record, log.readable)
    served = Served(config, attrs.evolve(service, others=others), alone=alone)

    def following() -> Config:
        config = read_anew()
        log.follow(config)
        return config

    def reload() -> None:
        good = served.reload(following)
        if alone:
            service.metrics.reloaded(good)

    settle()
    async with trio.open_nursery() as nursery:
        if others is not None:
            nursery.start_soon(others.answer, lambda: served.current)
        await serve(
            served,
            sockets,
            state=lifecycle,
            options=listeners,
            drain=config.drain,
            drain_delay=config.drain_delay,
            write_timeout=config.write_timeout,
            ready=announce,
            reload=reload,
        )
        nursery.cancel_scope.cancel()


def _supervise(
    config: Config,
    sockets: Sequence[socket.socket],
    workers: int,
    place: tuple[str | None, int | None],
    announce: Callable[[], None],
    options: Options,
    log: Log,
) -> int:
    """The exit status. Raises ``ConfigError`` as ``_serve`` does."""
    assert config.path is not None
    with shared_directory() as directory, Copies.of(config.path, os.environ) as copies:
        env, metrics = shared_by_workers(config, directory), shared_metrics(config, directory)
        _run(_try_store, config)
        settle()
        drain = config.drain + config.drain_delay
        shared = [] if directory is None else ["--directory", str(directory)]
        command = [*_worker(config, place, options), "--copies", str(copies.fd), *shared]
        original = Original(config, config.path, copies, os.environ, log.follow)

        def reload() -> bool:
            good = original.reload()
            if metrics.folder is not None:
                tell_reload(metrics.folder, good)
            return good

        env = {**env, **metrics.env}
        run_workers = partial(supervise, inherited=[copies.fd])
        return _run(run_workers, command, sockets, workers, drain, env, reload, announce, metrics.gone)


async def _try_store(config: Config) -> None:
    """Open the store once, so that what is wrong with it is said once, and not by every worker again and again."""
    if (store := await open_store(config)) is not None:
        await store.aclose()


def _worker(config: Config, place: tuple[str | None, int | None], options: Options) -> list[str]:
    """The command of one worker, which finds out from ``place`` which socket is which listener's. Python takes ``-m``
    from the current directory first, where a ``gateway`` of somebody else's may stand: ``-P`` keeps it out, unless ours
    is the one there."""
    installed = Path(gateway.__file__).parents[1] != Path.cwd()
    return [
        sys.executable,
        *(["-P"] if installed else []),
        "-m",
        "gateway",
        "serve",
        str(config.path),
        *(word for flag, value in zip(("--host", "--port"), place, strict=True) if value is not None
          for word in (flag, str(value))),
        *options.flags(),
    ]  # fmt: skip


# What is said


def _announce(config: Config, sockets: Sequence[socket.socket]) -> None:
    names = [model.id for model in Router(config).models()] or [entry.name for entry in config.entries]
    default = next((entry.name for entry in config.entries if entry.default), names[0])
    watch = _watch(config, sockets[0]) if config.ui else None
    _banner(f"trigate {gateway.__version__}", sockets, names, default.replace("*", "MODEL"), watch)


def _watch(config: Config, sock: socket.socket) -> str:
    """The live view's address, and what a browser needs to see it."""
    if config.ui_key is not None or config.client_keys:
        return f"{_url(sock)}/ui  (asks for a key)"
    here = _address(sock).is_loopback or _address(sock).is_unspecified
    return f"{_url(sock)}/ui" + ("" if here else "  (needs ui_key: this is no loopback address)")


def _banner(
    who: str, sockets: Sequence[socket.socket], names: Sequence[str], model: str, watch: str | None = None
) -> None:
    """Print where it listens, what can be asked for, one line to try, and where to ``watch``. Whoever reads that may be
    gone (``| head -1``): it serves all the same."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Hello"}]}
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    models = f"models  {', '.join(names[:SHOWN])}{more}"
    if (width := columns(sys.stdout)) is not None:
        models = fold(models, width, " " * len("models  "))
    lines = [
        f"{click.style(who, bold=True)} is listening on {', '.join(_place(sock) for sock in sockets)}",
        models.replace("models", click.style("models", dim=True), 1),
        f"{click.style('try', dim=True)}     curl -N {_url(sockets[0])}/v1/chat/completions -d "
        f"{shlex.quote(json.dumps(body))}",
        *([f"{click.style('watch', dim=True)}   {watch}"] if watch else []),
    ]
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


def _say(log: Log, kind: Remark, text: str, **style: Any) -> None:
    """Say what somebody who starts the gateway should know: a line of the log where programs read that."""
    if log.readable:
        say(sentence(f"{'WARNING' if style else kind}: {text}"), **style)
    else:
        log.say(kind, text)


def _warn_loudly(log: Log, text: str) -> None:
    _say(log, "warning", text, fg="red", bold=True)


def _warn_if_open(config: Config, sockets: Sequence[socket.socket], log: Log) -> None:
    if config.client_keys or all(_address(sock).is_loopback for sock in sockets):
        return
    _warn_loudly(
        log,
        "there are no client_keys: every machine that can connect here can use the keys in this config. "
        "Set client_keys, or listen on 127.0.0.1 only.",
    )


# The demo


def demo_config(upstream: str) -> Config:
    """A provider for each API, all of them the mock at ``upstream``: every pair of APIs can be tried, and every fault
    of the mock as ``fault/NAME``, or as ``fault-chat/NAME`` and so on where only that API is spoken. A program that
    knows only its maker's names (Claude Code without settings but the address) is answered by the stand-in, too."""
    # A key that no answer holds: it is masked wherever it is seen.
    provider = {"provider_interface": "openai", "base_url": f"{upstream}/v1", "access_key": "unneeded-by-a-stand-in"}
    apis = ["chat", "messages", "responses"]
    config = from_mapping(
        {
            "version": "v0.3.0",
            "listeners": [{"type": "model", "name": "demo", "port": PORT}],
            "model_providers": [
                {**provider, "model": "demo/mock-large", "name": "demo", "default": True,
                 "speaks": apis},
                {**provider, "model": "chat-only/mock-large", "name": "demo-chat", "speaks": ["chat"]},
                {**provider, "model": "messages-only/mock-large", "name": "demo-messages", "speaks": ["messages"]},
                {**provider, "model": "responses-only/mock-large", "name": "demo-responses", "speaks": ["responses"]},
                {**provider, "model": f"{STAND_IN}/*", "speaks": apis},
                {**provider, "model": "fault/*", "speaks": apis},
                *({**provider, "model": f"fault-{api}/*", "speaks": [api]} for api in apis),
            ],
        }
    )  # fmt: skip
    families = tuple(dict.fromkeys(family for row in CATALOG.values() for family in row.families))
    return attrs.evolve(config, entries=tuple(_of_all(entry, families) for entry in config.entries))


def _of_all(entry: ModelEntry, families: tuple[str, ...]) -> ModelEntry:
    """The stand-in's own entry takes every name that a known family has."""
    if entry.provider.id != STAND_IN:
        return entry
    return attrs.evolve(entry, provider=attrs.evolve(entry.provider, families=families))


async def _demo(
    config: Config, sock: socket.socket, mock_sock: socket.socket, pace: float, options: Options, log: Log
) -> None:
    from gateway.mock.server import create_mock  # with the faults on tap, which no other way of serving needs

    lifecycle, mock_state = Lifecycle(), Lifecycle()
    app = create_app(
        config, lifecycle, await open_store(config),
        check_streams=options.check_streams, record=options.record, readable=log.readable,
    )  # fmt: skip
    mock = create_mock(pace, mock_state)
    settle()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(serve, mock, [mock_sock], state=mock_state, signals=False))
        announce = partial(_announce, config, [sock])
        await serve(app, [sock], state=lifecycle, drain=config.drain, ready=announce)
        nursery.cancel_scope.cancel()
