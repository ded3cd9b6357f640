"""``trigate serve``, with its workers."""

import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio

import gateway
from configfile.document import ConfigError
from configfile.secret_files import SecretFiles
from gateway.commands import listening
from gateway.commands import serve_messages as messages
from gateway.commands.check import load_to_serve
from gateway.commands.judging import judge_features, try_features
from gateway.commands.registry import own_command, registered
from gateway.commands.served_config import ServedConfig, read_new_secrets
from gateway.commands.terminal import say
from gateway.config.settings import Config, LogLevel
from gateway.config_reports.warnings import remarks_on
from gateway.http.offload import read_in_thread
from gateway.log_output.setup import Log, LogFormat
from gateway.logs.audit import Audit, OnEvent
from gateway.open_features import check_option, check_secrets, open_client_source, open_supervised, read_secrets
from gateway.open_service import open_service
from gateway.open_store import open_store, shared_by_workers
from gateway.processes.binding import BindFailed
from gateway.processes.descriptors import raise_descriptor_limit
from gateway.processes.huge_pages import use_huge_pages_soon
from gateway.processes.tls import CertificateFailed
from gateway.reload import ConfigCopies, ConfigFile, ReloadableApp
from gateway.seams.running import Running
from gateway.serving.lifecycle import Lifecycle
from gateway.serving.worker import serve
from streams.garbage import collect_startup_garbage, freeze_startup_objects

if TYPE_CHECKING:
    from gateway.shared.tables import SharedTables

T = TypeVar("T")

INTERVAL = 1.0  # seconds between a worker's checks for its supervisor


@attrs.frozen(eq=False, repr=False)
class Options:
    """The command-line options that apply to every worker."""

    check_streams: bool = False
    record: Path | str | None = None
    log_level: LogLevel | None = None
    log_format: LogFormat = "auto"

    def log(self) -> Log:
        """Start logging."""
        return Log(self.log_level, self.log_format)

    def flags(self) -> list[str]:
        """Return the options as flags for the command of a worker."""
        values = {"--record": self.record, "--log-level": self.log_level, "--log-format": self.log_format}
        flags = ["--check-streams"] if self.check_streams else []
        return [*flags, *(word for flag, value in values.items() if value is not None for word in (flag, str(value)))]


def run(
    path: Path | None,
    options: Options,
    *,
    host: str | None,
    port: int | None,
    workers: int,
    is_open: bool,
    fds: Sequence[int],
    copies: int | None = None,
    directory: Path | None = None,
    memory: int | None = None,
    ready: int | None = None,
) -> int:
    """Run ``trigate serve`` and return its exit status."""
    raise_descriptor_limit()
    log = options.log()
    if path is not None and copies is not None:  # a worker; the supervisor has done the rest
        from gateway.processes.supervisor import report_ready

        source = ConfigCopies(copies, path, os.environ)
        adopt = partial(listening.adopt_listeners, host=host, port=port, fds=fds)
        try:
            announce = None if ready is None else partial(report_ready, ready)
            run_trio(_serve_as_worker, source, adopt, options, log, directory, memory, announce)
        except (CertificateFailed, ConfigError) as error:
            # A file was valid when the supervisor started, or has a secret that only workers read.
            messages.print_or_log(log, "warning", str(error))
            return 1
        return 0
    config = load_to_serve(path, may_be_exposed=is_open or host is not None)  # another host is checked below
    if config is None or not can_record(options.record) or not _can_audit(config, log):
        return 1
    if config.path is None or not config.path.is_file():
        say(f"{config.path}: expected a regular file, because serve reads it again on SIGHUP")
        return 1
    for kind, text in remarks_on(config):
        messages.print_or_log(log, kind, text)
    try:
        for remark in listening.certificate_remarks(config):
            messages.warn_loudly(log, remark)
        listeners = listening.open_listeners(config, host, port)
    except BindFailed as error:
        return report_bind_failure(error)
    except CertificateFailed as error:
        say(f"{config.path}: {error}")
        return 1
    with listening.unlink_sockets_on_exit(listeners):
        try:
            judge = partial(listening.refuse_exposed, listeners=listeners, meant=is_open)
            judge(config)
            messages.warn_of_settings(config, log)
            messages.warn_if_open(config, listeners, log)
            announce = partial(messages.announce_listeners, config, listeners)
            urls = [one.place for one in listeners]
            with registered(config, urls, workers) as registration, _record_in_audit(config, listeners):
                if workers == 1:
                    run_trio(serve_config, config, listeners, announce, options, log, judge, registration.note_event)
                    return 0
                command = _worker_command(config, (host, port), options)
                return _supervise(config, listeners, workers, announce, command, log, judge, registration.note_event)
        except ConfigError as error:  # also for the store, which was opened only now
            say(str(error))
            return 1


def run_trio(main: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run ``main`` with trio; exit without a traceback on Ctrl-C before it serves or after the drain.

    A worker may get a second signal after the drain. Opened resources are closed."""
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


def report_bind_failure(error: BindFailed) -> int:
    say(f"{error} (set another address with --host or --port)")
    return 1


def can_record(folder: Path | str | None) -> bool:
    """Return whether ``folder``, or bucket, is None or writable; otherwise print the reason."""
    if folder is None:
        return True
    try:
        check_option("record", folder)
    except OSError as error:
        say(f"--record {folder}: {error.strerror}: give a writable directory or bucket")
        return False
    except LookupError as error:
        say(f"--record: {error}")
        return False
    return True


def _can_audit(config: Config, log: Log) -> bool:
    """Apply the log settings of ``config``. Return whether the audit file is writable; otherwise print the reason."""
    try:
        log.apply_config(config)
    except OSError as error:
        say(f"audit: {config.audit}: {error.strerror}: give a writable file")
        return False
    return True


@contextlib.contextmanager
def _record_in_audit(config: Config, listeners: Sequence[listening.OpenListener]) -> Iterator[None]:
    """Record the start and the end of the block in the audit."""
    audit, names = Audit(), tuple(key.name for key in config.client_keys)
    places = tuple(one.place for one in listeners)
    audit.log_event("started", version=gateway.__version__, listeners=places, clients=names)
    try:
        yield
    finally:
        audit.log_event("stopped")


async def _serve_as_worker(
    source: ConfigCopies,
    adopt: Callable[[Config], Sequence[listening.OpenListener]],
    options: Options,
    log: Log,
    directory: Path | None,
    memory: int | None,
    announce: Callable[[], None] | None,
) -> None:
    """Serve as a worker while its supervisor exists.

    ``directory`` and ``memory``, a descriptor, are shared by all workers."""
    from gateway.processes.shared_directory import SharedDirectory
    from gateway.shared.tables import SharedTables

    lifecycle = Lifecycle()
    config = source.read_same(None)
    log.apply_config(config)
    listeners = adopt(config)
    with contextlib.ExitStack() as stack:
        if directory is not None:
            stack.callback(SharedDirectory.join(directory).leave)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_stop_without_supervisor, lifecycle)
            shared = None if memory is None else SharedTables.join(memory)
            await serve_config(
                config, listeners, announce, options, log,
                lifecycle=lifecycle, worker=source, directory=directory, shared=shared,
            )  # fmt: skip
            nursery.cancel_scope.cancel()


async def _stop_without_supervisor(lifecycle: Lifecycle) -> None:
    supervisor = os.getppid()
    while os.getppid() == supervisor:  # noqa: ASYNC110  # of another process
        await trio.sleep(INTERVAL)
    logging.getLogger("trigate").error("the supervisor has exited; draining")
    lifecycle.stop()


async def serve_config(
    config: Config,
    listeners: Sequence[listening.OpenListener],
    announce: Callable[[], None] | None,
    options: Options,
    log: Log,
    judge: Callable[[Config], None] = lambda _: None,
    on_event: OnEvent | None = None,
    *,
    lifecycle: Lifecycle | None = None,
    worker: ConfigCopies | None = None,
    directory: Path | None = None,
    shared: "SharedTables | None" = None,
    owns_process: bool = True,
) -> None:
    """Serve ``config`` until a signal or ``lifecycle.stop()``. Raises ``ConfigError`` for an unusable store.

    ``judge`` raises ``ConfigError`` to reject a reload. ``on_event`` gets the events of the audit. ``worker`` is the
    file of a worker, ``directory`` is that of all workers, and ``shared`` their memory. With ``owns_process``, which
    needs the main thread, this handles signals and arranges the memory of the process."""
    async with ServedConfig(config, worker, judge, log) as served_config:
        config = await served_config.read_secrets()
        store, alone = await open_store(config), worker is None
        lifecycle = lifecycle or Lifecycle()
        clients = open_client_source(config, None if store is None else store.database)
        config = await clients.read(config)
        ports = (one.sock.getsockname()[1] for one in listeners if one.listener.socket is None)
        given = {"record": options.record, "workers": directory, "port": next(ports, None)}
        flags = options.check_streams, {name: one for name, one in given.items() if one is not None}, log.readable
        service = open_service(config, lifecycle, store, *flags, shared, served_config.secrets, clients)
        service.ledger.audit.on_event = on_event or service.ledger.audit.on_event
        for running in service.opened.features.values() if alone else ():
            messages.warn_of(running.remarks, log)
        served = ReloadableApp(config, service, alone=alone)
        freeze_startup_objects(collects=not owns_process)
        async with _raise_start_errors(service.opened.features.values()), trio.open_nursery() as nursery:
            served_config.serve(served, clients, listeners, nursery)
            if owns_process:
                nursery.start_soon(collect_startup_garbage, lifecycle)
                nursery.start_soon(use_huge_pages_soon)
            await serve(
                served,
                [one.sock for one in listeners],
                options=[one.options for one in listeners],
                state=lifecycle,
                drain=config.drain,
                drain_delay=config.drain_delay,
                write_timeout=config.write_timeout,
                ready=announce,
                reload=served_config.reload,
                signals=owns_process,
            )
            nursery.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def _raise_start_errors(features: Collection[Running]) -> AsyncIterator[None]:
    """Raise the ``ConfigError`` of a feature that could not start, instead of the server's error about its app."""
    try:
        yield
    except BaseExceptionGroup:
        for error in filter(None, (running.start_error for running in features)):
            raise error from None
        raise


def _supervise(
    config: Config,
    listeners: Sequence[listening.OpenListener],
    workers: int,
    announce: Callable[[], None],
    command: Sequence[str],
    log: Log,
    judge: Callable[[Config], None],
    on_event: OnEvent,
) -> int:
    """Run a supervisor with ``workers``, and return the exit status. Raises ``ConfigError`` like ``serve_config``."""
    from gateway.processes.shared_directory import shared_directory
    from gateway.processes.supervisor import supervise
    from gateway.shared.tables import SharedTables

    path = config.path
    assert path is not None
    secrets = SecretFiles()
    if config.stored_secrets:
        secrets = run_trio(read_secrets, config)
    with (
        shared_directory() as directory,
        ConfigCopies.of(path, os.environ, config.trust, secrets) as copies,
        SharedTables.make(workers) as tables,
    ):
        if config.stored_secrets:
            config = copies.read_again(None)
        env, supervised = shared_by_workers(config, directory), open_supervised(config, directory)
        run_trio(_check_parts, config, log)
        freeze_startup_objects()
        drain = config.drain + config.drain_delay
        inherited = [copies.fd] if tables is None else [copies.fd, tables.memory.fd]
        command = [*command, "--copies", str(copies.fd)]
        command += [] if directory is None else ["--directory", str(directory)]
        command += [] if tables is None else ["--memory", str(tables.memory.fd)]
        audit = Audit(on_event=on_event)

        def check(config: Config) -> None:
            judge(config)
            check_secrets(config)
            judge_features(config)  # a worker could not start with a copy whose code cannot be loaded

        config_file = ConfigFile(config, copies, log.apply_config, audit.log_event, check, secrets)

        async def reload() -> bool:
            secrets = await read_new_secrets(config_file)
            good = await read_in_thread(partial(config_file.reload, secrets))
            for one in supervised:
                one.note_reload(good)
            return good

        def release_worker(pid: int) -> None:
            for one in supervised:
                one.note_dead_worker(pid)
            if tables is not None:
                tables.memory.release_dead()

        sockets = [one.sock for one in listeners]
        env = {**env, **{name: value for one in supervised for name, value in one.env.items()}}
        run_workers = partial(supervise, inherited=inherited)
        return run_trio(run_workers, command, sockets, workers, drain, env, reload, announce, release_worker)


async def _check_parts(config: Config, log: Log) -> None:
    """Open the store and the features once, so that the supervisor reports their problems, and not each worker."""
    if (store := await open_store(config)) is not None:
        await store.aclose()
    messages.warn_of(await try_features(config), log)


def _worker_command(config: Config, place: tuple[str | None, int | None], options: Options) -> list[str]:
    """Return the command of a worker; ``place`` has the overridden host and port."""
    return [
        *own_command(),
        "serve",
        str(config.path),
        *(word for flag, value in zip(("--host", "--port"), place, strict=True) if value is not None
          for word in (flag, str(value))),
        *options.flags(),
    ]  # fmt: skip
