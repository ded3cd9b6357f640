"""A new configuration for a running process: read and judged first, then taken over at once, or not at all.

A request belongs to the configuration that holds when it begins, to its end: every configuration has an app of its own,
and whatever outlives them is common to all (``gateway.open_service``). Websockets, which would go on for hours, are
closed once they have answered what they were asked, and their clients connect again.
"""

import contextlib
import fcntl
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import attrs
import msgspec
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from configfile.secret_files import SecretFiles
from gateway.app import app_of, parts_of, whole_app
from gateway.config.changes import Change, changes, kept, key_changes
from gateway.config.loading import Config, ConfigError, load
from gateway.config.settings import Trust
from gateway.exchange.service import Service
from gateway.http.imports import import_all
from gateway.open_service import next_service, service_of_clients
from gateway.shared.memory import anonymous_file

log = logging.getLogger("trigate.reload")

UNCHANGED: Final = "the configuration was not reloaded; the previous one stays in use"


class TellAudit(Protocol):
    """Writes a line of the audit."""

    def __call__(self, event: str, **fields: Any) -> None: ...


class Served:
    """The ASGI app that a server is given. Used from the trio thread only."""

    def __init__(self, config: Config, service: Service, *, alone: bool = True) -> None:
        """``alone``: there is no supervisor, which says for all its workers what is different."""
        self._config = config
        self._service = service
        self._alone = alone
        self._first = whole_app(config, service)
        self._app = self._first

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        app = self._first if scope["type"] == "lifespan" else self._app
        await app(scope, receive, send)

    @property
    def current(self) -> tuple[Config, Service]:
        return self._config, self._service

    def change(self, config: Config) -> tuple[Change, ...]:
        """Answer from now on by ``config``, but for what only a restart changes; what is different now."""
        found = changes(self._config, config)
        config = kept(self._config, config)
        service = next_service(config, self._service)
        self._app = app_of(config, service)
        self._first.start_soon(partial(import_all, parts_of(config)))
        self._service.replaced.set()
        self._config, self._service = config, service
        return found

    def change_clients(self, config: Config, by: tuple[str, ...] = ()) -> None:
        """Answer from now on by ``config``, which has other clients, and is else as before. Websockets of those who are
        as before go on. ``by`` are the people who have changed them. Never raises."""
        old = self._config
        try:
            service = service_of_clients(config, self._service)
            app = app_of(config, service)
        except Exception:  # the border, as in ``reload``
            log.exception("the changed keys could not be applied; the previous ones stay in use")
            return
        found = key_changes(old, config)
        self._app, self._config, self._service = app, config, service
        service.replaced.set_for((*found["removed"], *found["changed"]))
        if any(found.values()):
            words = "; ".join(f"{what} {', '.join(names)}" for what, names in found.items() if names)
            log.info("the stored keys have changed: %s%s", words, f" (by {', '.join(by)})" if by else "")
            service.ledger.audit.log_event("keys_changed", **found, made_by=by)

    def reload(self, read: Callable[[], Config]) -> bool:
        """``change`` to what ``read`` gives. It never raises: what is wrong is said in the log, and changes nothing."""
        old, audit = self._config, self._service.ledger.audit
        try:
            config = read()
            found = self.change(config)
        except (ConfigError, OSError) as error:
            tell_refused(error, audit.log_event)
            return False
        except Exception:  # the border: our own mistake must not end the streams of a process that works
            log.exception(UNCHANGED)
            return False
        if self._alone:
            tell(found, config)
            tell_auditor(found, key_changes(old, config), audit.log_event)
        return True


def tell(found: tuple[Change, ...], config: Config) -> None:
    """One line on what is different now, and one for each warning."""
    words = "; ".join(str(change) for change in found) or "no changes"
    log.info("the configuration was reloaded: %s", words)
    for warning in config.warnings:
        log.warning("%s", warning)


def tell_auditor(found: tuple[Change, ...], keys: Mapping[str, tuple[str, ...]], audit: TellAudit) -> None:
    """A line on the reload, and one on keys if any are other than before."""
    audit("reloaded", changes=tuple(str(change) for change in found))
    if any(keys.values()):
        audit("keys_changed", **keys)


def tell_refused(error: ConfigError | OSError, audit: TellAudit) -> None:
    """A record of the log for each line, so that none is without its time and level."""
    found = f"{error.filename}: {(error.strerror or 'unreadable').lower()}" if isinstance(error, OSError) else error
    audit("reload_refused", reason=tuple(str(found).splitlines()))
    for part in f"{UNCHANGED}: {found}".splitlines():
        log.error("%s", part.strip())


# Workers


@attrs.frozen(eq=False)
class Snapshot:
    """A configuration as it stood at one time: its file, and what the files of secrets held that it names."""

    data: bytes = attrs.field(repr=False)
    secrets: Mapping[str, str] = attrs.field(repr=False)

    def read(self, path: Path, env: Mapping[str, str]) -> Config:
        """The configuration of ``path``. Raises ``ConfigError``."""
        return load(path, env, self.data, SecretFiles(self.secrets))


@attrs.frozen(eq=False, repr=False)
class _Held:
    first: Snapshot
    latest: Snapshot


@attrs.frozen(eq=False, repr=False)
class Copies:
    """Copies of the configuration that workers read in place of the real files, which may be broken, or different and
    not reloaded yet, when one of them has to be replaced: as the supervisor was started with it, and as it was good
    last. They are in a file without a name, ``fd``, which workers inherit: they go with the last process that has it,
    however that ends, and nobody else can open them."""

    fd: int

    @classmethod
    @contextlib.contextmanager
    def of(cls, path: Path, env: Mapping[str, str], trust: Trust) -> Iterator["Copies"]:
        """For as long as the block. Raises ``ConfigError`` and ``OSError``."""
        with anonymous_file() as file:
            copies = cls(file.fileno())
            copies.write(take(path, env, trust)[1], first=True)
            yield copies

    def read(self, path: Path, env: Mapping[str, str]) -> Config:
        """The configuration of ``path`` that holds. Raises ``ConfigError``."""
        held = self._held()
        return kept(held.first.read(path, env), held.latest.read(path, env))

    def write(self, snapshot: Snapshot, *, first: bool = False) -> None:
        """Hand ``snapshot`` to every worker that reads from now on. Raises ``OSError``."""
        data = msgspec.json.encode(_Held(snapshot if first else self._held().first, snapshot))
        with self._locked(fcntl.LOCK_EX):
            os.ftruncate(self.fd, 0)
            while data:
                data = data[os.pwrite(self.fd, data, os.fstat(self.fd).st_size) :]

    def _held(self) -> _Held:
        with self._locked(fcntl.LOCK_SH):
            data = os.pread(self.fd, os.fstat(self.fd).st_size, 0)
        return msgspec.json.decode(data, type=_Held)

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        fcntl.lockf(self.fd, how)  # a lock of the process: flock's would be shared by all that inherited the file
        try:
            yield
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN)


def take(path: Path, env: Mapping[str, str], trust: Trust) -> tuple[Config, Snapshot]:
    """The configuration in ``path`` and what it was read from. Raises ``ConfigError`` and ``OSError``."""
    data, files = path.read_bytes(), SecretFiles()
    config = load(path, env, data, files, trust)
    return config, Snapshot(data, files.texts)


class Original:
    """The real file, which a supervisor judges before any worker hears of it. Its own log is to ``follow``, and the
    ``audit`` is told; ``judge`` raises ``ConfigError`` for what may not hold though it is well written."""

    def __init__(
        self,
        config: Config,
        path: Path,
        copies: Copies,
        env: Mapping[str, str],
        follow: Callable[[Config], object],
        audit: TellAudit,
        judge: Callable[[Config], object] = lambda _: None,
    ) -> None:
        self._config = config
        self._audit = audit
        self._follow = follow
        self._judge = judge
        self._path = path
        self._copies = copies
        self._env = env

    def reload(self) -> bool:
        """True if workers should read anew. Never raises: what is wrong is said in the log, and changes nothing."""
        try:
            config, snapshot = take(self._path, self._env, self._config.trust)
            self._judge(config)
            self._follow(config)
            self._copies.write(snapshot)
        except (ConfigError, OSError) as error:
            tell_refused(error, self._audit)
            return False
        found = changes(self._config, config)
        tell(found, config)
        tell_auditor(found, key_changes(self._config, config), self._audit)
        self._config = kept(self._config, config)
        return True
