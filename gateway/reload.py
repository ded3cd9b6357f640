"""Reloads: replaces the configuration of a running process, completely or not at all.

Each configuration has its own app, and a request stays with the app in which it started. The apps share everything that
outlives a configuration (``gateway.open_service``). Websockets could last for hours, so they are closed when their
current requests have ended; their clients connect again.
"""

import contextlib
import fcntl
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import attrs
import msgspec

from configfile.document import ConfigError
from configfile.secret_files import SecretFiles
from gateway.app import app_of, parts_of, whole_app
from gateway.config.settings import Config, Trust
from gateway.config_files.loading import load
from gateway.config_reports.changes import Change, changes, key_changes, without_restart_settings
from gateway.config_reports.warnings import warnings_of
from gateway.exchange.service import Service
from gateway.http.late_imports import import_all
from gateway.http.offload import read_in_thread, run_in_thread
from gateway.open_features import RunningFeatures
from gateway.open_service import prepare_service, service_of_clients, use_clients, use_service
from gateway.seams.secrets import FilesOf, SecretReader
from gateway.serving.asgi_extensions import AsgiReceive, AsgiScope, AsgiSend
from gateway.serving.http_app import App
from gateway.shared.memory import anonymous_file

log = logging.getLogger("trigate.reload")

UNCHANGED: Final = "the configuration was not reloaded; the previous one stays in use"

LogAuditEvent: TypeAlias = Callable[..., None]
"""Writes an event, given with its fields as keywords, to the audit log."""


class ReloadableApp:
    """An ASGI app that passes requests to the app of the current configuration. Used from the trio thread only."""

    def __init__(self, config: Config, service: Service, *, alone: bool = True) -> None:
        """Make the app; ``alone`` if no supervisor logs the changes of a reload for all its workers."""
        self._config = config
        self._service = service
        self._alone = alone
        self._running = RunningFeatures()
        self._first = whole_app(config, service, self._running)
        self._first.before_serving.append(self._follow_clients)
        self._app = self._first

    def __call__(self, scope: AsgiScope, receive: AsgiReceive, send: AsgiSend) -> Awaitable[None]:
        app = self._first if scope["type"] == "lifespan" else self._app
        return app(scope, receive, send)

    @property
    def current(self) -> tuple[Config, Service]:
        """The current configuration and its service."""
        return self._config, self._service

    def change(self, config: Config) -> tuple[Change, ...]:
        """Use ``config`` for new requests, without the settings that need a restart, and return its changes."""
        prepared = _prepare(self._config, config, self._service, lambda new: new)
        self._use(prepared)
        return prepared.changes

    def _use(self, prepared: "_PreparedConfig") -> None:
        config = prepared.config
        service = use_service(config, prepared.service, self._service)
        self._app = app_of(config, service)
        self._first.start_soon(partial(import_all, parts_of(config)))
        self._run_features(service)
        for kept in service.hooks.kept:
            self._first.start_soon(partial(kept.query_runs, service))
        self._service.replaced.set()
        self._config, self._service = config, service

    def _run_features(self, service: Service) -> None:
        """Run the new features of ``service``, and end those that are gone."""
        self._running.use(service.opened.features)
        self._first.start_soon(lambda: self._running.start(self._first.nursery))

    async def _follow_clients(self) -> None:
        """Start to apply changes of the stored clients, until the app ends."""
        clients, figures = self._service.opened.clients, self._service.ledger.figures
        clients.on_names = lambda names: self._service.replaced.set_for(names)
        self._first.nursery.start_soon(clients.follow, lambda: self._config, self.change_clients, figures)

    async def change_clients(self, with_clients: Callable[[Config], Config], by: tuple[str, ...] = ()) -> None:
        """Use the clients of ``with_clients(config)`` for new requests, which ``by`` changed.

        A thread prepares them: there may be thousands, and no stream waits for them. Websockets of unchanged clients
        stay open. Never raises."""
        while True:
            service = self._service
            try:
                made = await run_in_thread(_change_clients, with_clients, self._config, service)
                if self._service is not service:  # a reload came first
                    continue
                use_clients(made.config, made.service, service)
            except Exception:  # the boundary, as in ``reload``
                log.exception("the changed keys could not be applied; the previous ones stay in use")
                return
            break
        self._run_features(made.service)
        self._app, self._config, self._service = made.app, made.config, made.service
        found = made.changes
        service.replaced.set_for((*found["removed"], *found["changed"]))
        if any(found.values()):
            words = "; ".join(f"{what} {', '.join(names)}" for what, names in found.items() if names)
            log.info("the stored keys have changed: %s%s", words, f" (by {', '.join(by)})" if by else "")
            service.ledger.audit.log_event("keys_changed", **found, made_by=by)

    async def reload(
        self,
        read: Callable[[], Config],
        complete: Callable[[Config], Config] = lambda new: new,
        secrets: SecretReader | None = None,
        on_read: Callable[[Config], object] = lambda new: None,
    ) -> bool:
        """Use the configuration ``complete(read())``, with ``secrets`` in stores; return whether it is valid and used.

        A thread reads, completes, compares and prepares it, which may take seconds for thousands of keys: no stream
        waits for that. ``on_read(read())`` is called in the thread first. Never raises: an error is logged and changes
        nothing."""
        audit = self._service.ledger.audit
        try:
            read_config, warnings = await read_in_thread(partial(_read_with_warnings, read, self._alone, on_read))
            while True:
                old, service = self._config, self._service
                prepared = await run_in_thread(_prepare, old, read_config, service, complete, secrets)
                if self._service is service:  # no change of stored keys meanwhile
                    break
            if self._service.lifecycle.draining:  # the process has begun to stop meanwhile
                return False
            self._use(prepared)
        except (ConfigError, OSError) as error:
            report_failed_reload(error, audit.log_event)
            return False
        except Exception:  # the boundary: a bug must not end the streams of a working process
            log.exception(UNCHANGED)
            return False
        if self._alone:
            report_changes(prepared.changes, prepared.keys, warnings, audit.log_event)
        return True


def _read_with_warnings(
    read: Callable[[], Config], reports: bool, on_read: Callable[[Config], object]
) -> tuple[Config, Sequence[str]]:
    """Return the configuration of a file, and its warnings if the process ``reports`` them, after ``on_read``. They do
    not concern stored clients, which are added later."""
    config = read()
    warnings = warnings_of(config) if reports else ()
    on_read(config)
    return config, warnings


@attrs.frozen(eq=False, repr=False)
class _PreparedConfig:
    """The ``changes`` to a new configuration, and those of its ``keys``. ``config`` is its usable form, with the old
    values of settings that need a restart, and ``service`` the one prepared for it."""

    changes: tuple[Change, ...]
    keys: Mapping[str, tuple[str, ...]]
    config: Config
    service: Service


def _prepare(
    old: Config,
    new: Config,
    service: Service,
    complete: Callable[[Config], Config],
    secrets: SecretReader | None = None,
) -> _PreparedConfig:
    """Prepare the use of ``complete(new)`` after ``old``. From now on the log of ``service`` masks its credentials."""
    new = complete(new)
    usable = without_restart_settings(old, new)
    service.ledger.mask.apply_config(usable)
    made = prepare_service(usable, service, secrets)
    return _PreparedConfig(changes(old, new), key_changes(old, new), usable, made)


@attrs.frozen(eq=False, repr=False)
class _ChangedClients:
    """A configuration with other clients, its service and app, and the names of the changed clients."""

    config: Config
    service: Service
    app: App
    changes: Mapping[str, tuple[str, ...]]


def _change_clients(with_clients: Callable[[Config], Config], old: Config, service: Service) -> _ChangedClients:
    config = with_clients(old)
    new = service_of_clients(config, service)
    return _ChangedClients(config, new, app_of(config, new), key_changes(old, config))


def report_changes(
    found: tuple[Change, ...], keys: Mapping[str, tuple[str, ...]], warnings: Sequence[str], audit: LogAuditEvent
) -> None:
    """Write the changes of a reload to the log and to the audit log, and the ``warnings`` of the new configuration.

    The changed ``keys`` are a second event of the audit log."""
    changed = tuple(map(str, found))
    log.info("the configuration was reloaded: %s", "; ".join(changed) or "no changes")
    for warning in warnings:
        log.warning("%s", warning)
    audit("reloaded", changes=changed)
    if any(keys.values()):
        audit("keys_changed", **keys)


def report_failed_reload(error: ConfigError | OSError, audit: LogAuditEvent) -> None:
    """Write the reasons of a failed reload to the audit log and to the log, one record for each line."""
    found = f"{error.filename}: {(error.strerror or 'unreadable').lower()}" if isinstance(error, OSError) else error
    audit("reload_refused", reason=tuple(str(found).splitlines()))
    for part in f"{UNCHANGED}: {found}".splitlines():
        log.error("%s", part.strip())


# Workers


class ConfigSource(Protocol):
    """The configuration of a serving process, which it reads more than once. Its methods raise ``ConfigError`` and
    ``OSError``."""

    def read_again(self, files: FilesOf | None) -> Config:
        """Return the configuration after a SIGHUP."""

    def read_same(self, files: FilesOf | None) -> Config:
        """Return the configuration in use, with the secrets of ``files``."""

    def accept(self) -> None:
        """Note that the configuration of the last ``read_again`` is in use."""

    @property
    def data(self) -> bytes:
        """The file's content for the next ``read_again``. Raises ``OSError``."""

    @property
    def stored(self) -> Mapping[str, str]:
        """The secrets in stores that another process has read."""


@attrs.frozen(eq=False)
class Snapshot:
    """The contents of a configuration file and of its secret files at one time. ``stored`` are its secrets in stores
    that the supervisor had read by then."""

    data: bytes = attrs.field(repr=False)
    secrets: Mapping[str, str] = attrs.field(repr=False)
    stored: Mapping[str, str] = attrs.field(repr=False, factory=dict)

    def read(self, path: Path, env: Mapping[str, str], files: FilesOf | None = None) -> Config:
        """Return the configuration. ``path`` is its file's name for messages. Raises ``ConfigError``."""
        found = SecretFiles(self.secrets, self.stored) if files is None else files(self.secrets)
        return load(path, env, self.data, found)


@attrs.frozen(eq=False, repr=False)
class _CopiedSnapshots:
    first: Snapshot
    latest: Snapshot


@attrs.frozen(eq=False, repr=False)
class ConfigCopies(ConfigSource):
    """Copies of the configuration that workers read instead of the real files: the first one, and the last valid one.

    ``path`` is the file's name for messages, ``env`` has the variables for it.

    When a worker is restarted, the real files may be invalid, or changed and not reloaded. The copies are in the
    unnamed file ``fd``, which workers inherit. No other process can open it, and it disappears with the last worker."""

    fd: int
    path: Path
    env: Mapping[str, str]

    @classmethod
    @contextlib.contextmanager
    def of(
        cls, path: Path, env: Mapping[str, str], trust: Trust, files: SecretFiles | None = None
    ) -> Iterator["ConfigCopies"]:
        """Copy the configuration in ``path`` for the duration of the block. Raises ``ConfigError`` and ``OSError``."""
        with anonymous_file() as file:
            copies = cls(file.fileno(), path, env)
            copies.write(load_with_snapshot(path, env, trust, files)[1], first=True)
            yield copies

    def read_again(self, files: FilesOf | None) -> Config:
        """Return the last valid configuration, with the first one's settings that need a restart."""
        copied, place = self._snapshots(), (self.path, self.env)
        return without_restart_settings(copied.first.read(*place), copied.latest.read(*place, files))

    def read_same(self, files: FilesOf | None) -> Config:
        return self.read_again(files)

    def accept(self) -> None:
        pass

    @property
    def data(self) -> bytes:
        return self._snapshots().latest.data

    @property
    def stored(self) -> Mapping[str, str]:
        return self._snapshots().latest.stored

    def write(self, snapshot: Snapshot, *, first: bool = False) -> None:
        """Store ``snapshot`` as the last valid one, or with ``first`` as both. Raises ``OSError``."""
        data = msgspec.json.encode(_CopiedSnapshots(snapshot if first else self._snapshots().first, snapshot))
        with self._lock(fcntl.LOCK_EX):
            os.ftruncate(self.fd, 0)
            while data:
                data = data[os.pwrite(self.fd, data, os.fstat(self.fd).st_size) :]

    def _snapshots(self) -> _CopiedSnapshots:
        with self._lock(fcntl.LOCK_SH):
            data = os.pread(self.fd, os.fstat(self.fd).st_size, 0)
        return msgspec.json.decode(data, type=_CopiedSnapshots)

    @contextlib.contextmanager
    def _lock(self, how: int) -> Iterator[None]:
        fcntl.lockf(self.fd, how)  # flock's locks would be shared by all processes that inherited the file
        try:
            yield
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN)


def load_with_snapshot(
    path: Path, env: Mapping[str, str], trust: Trust, files: SecretFiles | None = None
) -> tuple[Config, Snapshot]:
    """Return the configuration in ``path`` and a snapshot of its files. ``files`` has its secrets in stores. Raises
    ``ConfigError`` and ``OSError``."""
    data, files = path.read_bytes(), files or SecretFiles()
    config = load(path, env, data, files, trust)
    return config, Snapshot(data, files.texts, files.stored)


class OwnFile(ConfigSource):
    """The file of a process without a supervisor."""

    def __init__(self, path: Path, env: Mapping[str, str], trust: Trust) -> None:
        self._place = path, env, trust
        self._used: Snapshot | None = None
        self._latest: Snapshot | None = None

    def read_again(self, files: FilesOf | None) -> Config:
        try:
            config, self._latest = load_with_snapshot(*self._place, None if files is None else files({}))
        except OSError:
            path, env, trust = self._place
            return load(path, env, trust=trust)  # its error has the reason
        return config

    def read_same(self, files: FilesOf | None) -> Config:
        assert self._used is not None
        return self._used.read(*self._place[:2], files)

    def accept(self) -> None:
        self._used = self._latest

    @property
    def data(self) -> bytes:
        return self._place[0].read_bytes()

    @property
    def stored(self) -> Mapping[str, str]:
        return {}


class ConfigFile:
    """The configuration file of a supervisor, which checks each new version before its workers read it.

    ``check`` raises ``ConfigError`` for a valid configuration that cannot be used, and ``apply`` uses a new one in the
    supervisor itself."""

    def __init__(
        self,
        config: Config,
        copies: ConfigCopies,
        apply: Callable[[Config], object],
        audit: LogAuditEvent,
        check: Callable[[Config], object] = lambda _: None,
        secrets: SecretFiles | None = None,
    ) -> None:
        self._config = config
        self._secrets = secrets or SecretFiles()
        self._audit = audit
        self._apply = apply
        self._check = check
        self._copies = copies

    @property
    def place(self) -> tuple[Path, Mapping[str, str], Trust]:
        """The file, the variables for it, and the trust in it."""
        return self._copies.path, self._copies.env, self._config.trust

    @property
    def secrets(self) -> SecretFiles:
        """The secrets in stores for the next ``reload``."""
        return SecretFiles(None, self._secrets.stored, self._secrets.unreadable)

    def reload(self, secrets: SecretFiles) -> bool:
        """Copy a new version for the workers, and return whether they should read it. ``secrets`` are those in stores.

        Never raises: an error is logged and changes nothing."""
        self._secrets = secrets
        try:
            config, snapshot = load_with_snapshot(*self.place, self.secrets)
            self._check(config)
            self._apply(config)
            self._copies.write(snapshot)
        except (ConfigError, OSError) as error:
            report_failed_reload(error, self._audit)
            return False
        found = changes(self._config, config)
        report_changes(found, key_changes(self._config, config), warnings_of(config), self._audit)
        self._config = without_restart_settings(self._config, config)
        return True
