"""The configuration of a serving process while it runs: reloads, and new values of secrets in stores."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import trio

from configfile.secret_files import SecretFiles
from configfile.stored_secrets import STORES
from gateway.commands.listening import OpenListener, reload_certificates
from gateway.config.loading import Config, ConfigError
from gateway.followed_keys import FollowedKeys
from gateway.logs.setup import Log
from gateway.open_store import follow_people
from gateway.reload import ConfigFile, ConfigSource, FilesOf, OwnFile, ReloadableApp, WorkerFile, load_with_snapshot

if TYPE_CHECKING:
    from gateway.secret_stores.keeping import SecretKeeper


class ServedConfig(trio.abc.AsyncResource):
    """The configuration of one process. ``config`` is the first one, ``worker`` the file of a worker.

    ``judge`` raises ``ConfigError`` to reject a new one."""

    def __init__(self, config: Config, worker: WorkerFile | None, judge: Callable[[Config], None], log: Log) -> None:
        assert config.path is not None
        self._first = config
        self._source: ConfigSource = worker or OwnFile(config.path, os.environ, config.trust)
        self._alone = worker is None
        self._judge = judge
        self._log = log
        self.secrets: SecretKeeper | None = None

    async def read_secrets(self) -> Config:
        """Return the first configuration with its secrets in stores. Raises ``ConfigError`` for secrets other than
        keys of providers that cannot be read."""
        if not self._first.stored_secrets:
            return self._first
        self.secrets = open_secrets(self._first, self._source)
        await self.secrets.read_first(self._first)
        config = self._source.read_again(self.secrets.files)
        self._source.accept()
        return config

    def serve(
        self, app: ReloadableApp, keys: FollowedKeys, listeners: Sequence[OpenListener], nursery: trio.Nursery
    ) -> None:
        """Apply later configurations to ``app``; the tasks for it run in ``nursery``."""
        self._app, self._keys, self._listeners, self._nursery = app, keys, listeners, nursery
        if self.secrets is not None:
            self._follow(self.secrets)

    def reload(self) -> None:
        """Reload the configuration, after reading its new secrets in stores, if it has any. Never raises."""
        if self.secrets is not None or _may_have_secrets(lambda: self._source.data):
            self._nursery.start_soon(self._reload_with_secrets)
        else:
            self._reload_now()

    async def aclose(self) -> None:
        if self.secrets is not None:
            await self.secrets.aclose()

    async def _reload_with_secrets(self) -> None:
        if self.secrets is None:
            self.secrets = open_secrets(self._app.current[0], self._source)
            self._app.use_secrets(self.secrets)
            self._follow(self.secrets)
        await self.secrets.read_new(self._source.read_again)
        self._reload_now()

    def _reload_now(self) -> None:
        good = self._app.reload(partial(self._read, self._source.read_again))
        if good:
            self._source.accept()
        good = good and reload_certificates(self._listeners)
        if self._alone:
            self._app.current[1].metrics.reloaded(good)

    def _read(self, read: Callable[[FilesOf | None], Config]) -> Config:
        config = read(None if self.secrets is None else self.secrets.files)
        self._judge(config)
        self._log.apply_config(config)
        follow_people(config, self._keys)
        return self._keys.with_clients(config)

    def _follow(self, secrets: "SecretKeeper") -> None:
        def apply() -> None:
            self._app.reload(partial(self._read, self._source.read_same))

        secrets.apply = apply
        report = self._app.current[1].metrics.report_stale_secrets
        follow = partial(secrets.follow, lambda: self._app.current[0], report, at_once=not self._alone)
        self._nursery.start_soon(follow)


async def read_new_secrets(file: ConfigFile) -> SecretFiles:
    """Return the secrets in stores for a reload of a supervisor's ``file``."""
    known, (path, env, trust) = file.secrets, file.place
    if not _may_have_secrets(path.read_bytes):
        return known
    from gateway.secret_stores.keeping import SecretKeeper

    try:
        config = load_with_snapshot(path, env, trust, known)[0]
    except (ConfigError, OSError):
        return known  # the reload reports it
    async with SecretKeeper(config, known.stored) as secrets:
        await secrets.read(secrets.unread(config))
        return secrets.files()


def _may_have_secrets(data: Callable[[], bytes]) -> bool:
    """Return whether the content of a configuration, ``data()``, may name secrets in stores."""
    try:
        return any(store.encode() in data() for store in STORES)
    except OSError:
        return False  # the reload reports it


def open_secrets(config: Config, source: ConfigSource) -> "SecretKeeper":
    """Return the keeper of the secrets of ``config`` in stores, with those that ``source`` has."""
    from gateway.secret_stores.keeping import SecretKeeper  # imported only where it is needed

    return SecretKeeper(config, source.stored)
