"""The configuration of a serving process while it runs: reloads, and new values of secrets in stores."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import trio

from configfile.document import ConfigError
from configfile.secret_files import SecretFiles
from configfile.stored_secrets import STORES
from gateway.commands.listening import OpenListener, reload_certificates
from gateway.config.settings import Config
from gateway.http.offload import read_in_thread
from gateway.log_output.setup import Log
from gateway.open_features import can_read_secrets, check_secrets, open_secrets
from gateway.reload import ConfigCopies, ConfigFile, ConfigSource, OwnFile, ReloadableApp, load_with_snapshot
from gateway.seams.identify import ClientSource
from gateway.seams.secrets import FilesOf, SecretReader

_OLD_CERTIFICATE: Final = ("The configuration is in use, but a new certificate is not: the log has the reason.",)


class ServedConfig(trio.abc.AsyncResource):
    """The configuration of one process. ``config`` is the first one, ``worker`` the file of a worker.

    ``judge`` raises ``ConfigError`` to reject a new one."""

    def __init__(self, config: Config, worker: ConfigCopies | None, judge: Callable[[Config], None], log: Log) -> None:
        assert config.path is not None
        self._first = config
        self._source: ConfigSource = worker or OwnFile(config.path, os.environ, config.trust)
        self._alone = worker is None
        self._judge = judge
        self._log = log
        self.secrets: SecretReader | None = None
        self._reloading = trio.Lock()

    async def read_secrets(self) -> Config:
        """Return the first configuration with its secrets in stores. Raises ``ConfigError`` for secrets other than
        keys of providers that cannot be read."""
        if not self._first.stored_secrets:
            return self._first
        self.secrets = open_secrets(self._first, self._source.stored)
        await self.secrets.read_first(self._first)
        config = self._source.read_again(self.secrets.files)
        self._source.accept()
        return config

    def serve(
        self, app: ReloadableApp, clients: ClientSource, listeners: Sequence[OpenListener], nursery: trio.Nursery
    ) -> None:
        """Apply later configurations to ``app``; the tasks for it run in ``nursery``."""
        self._app, self._clients, self._listeners, self._nursery = app, clients, listeners, nursery
        if self.secrets is not None:
            self._follow(self.secrets)

    def reload(self) -> None:
        """Start to reload the configuration, after reading its new secrets in stores, if it has any. Never raises."""
        self._nursery.start_soon(self._reload)

    async def aclose(self) -> None:
        if self.secrets is not None:
            await self.secrets.aclose()

    async def _reload(self) -> None:
        async with self._reloading:
            may_have_secrets = partial(_may_have_secrets, lambda: self._source.data)
            if self.secrets is not None or await read_in_thread(may_have_secrets):
                await self._read_secrets()
            if good := await self._apply(self._source.read_again):
                self._source.accept()
        if good and not await read_in_thread(partial(reload_certificates, self._listeners)):
            good = False
            self._app.current[1].ledger.audit.on_event("reload_refused", {"reason": _OLD_CERTIFICATE})
        if self._alone:
            self._app.current[1].ledger.figures.add("trigate_config_reloads_total", "accepted" if good else "refused")

    async def _read_secrets(self) -> None:
        """Read the new secrets in stores of the configuration's next version."""
        if self.secrets is None:
            self.secrets = open_secrets(self._app.current[0], self._source.stored)
            self._follow(self.secrets)
        await self.secrets.read_new(self._source.read_again)

    async def _apply(self, read: Callable[[FilesOf | None], Config]) -> bool:
        """Use the configuration that ``read`` returns, and return whether it is valid. Never raises."""
        files = None if self.secrets is None else self.secrets.files

        def read_usable() -> Config:
            config = read(files)
            check_secrets(config)
            self._judge(config)
            self._log.mask.apply_config(config)
            return config

        return await self._app.reload(read_usable, self._clients.complete, self.secrets, self._log.apply_config)

    async def _apply_secrets(self, applied: trio.Event) -> None:
        """Use the same configuration with the present secrets, then set ``applied``."""
        async with self._reloading:
            await self._apply(self._source.read_same)
        applied.set()

    def _follow(self, secrets: SecretReader) -> None:
        async def apply() -> None:
            applied = trio.Event()
            self._nursery.start_soon(self._apply_secrets, applied)  # also if the client that waits for it leaves
            await applied.wait()

        secrets.apply = apply
        report = partial(self._app.current[1].ledger.figures.set, "trigate_secret_stale_seconds")
        follow = partial(secrets.follow, lambda: self._app.current[0], report, at_once=not self._alone)
        self._nursery.start_soon(follow)


async def read_new_secrets(file: ConfigFile) -> SecretFiles:
    """Return the secrets in stores for a reload of a supervisor's ``file``."""
    known, (path, env, trust) = file.secrets, file.place
    if not await read_in_thread(partial(_may_have_secrets, path.read_bytes)):
        return known
    try:
        config, _ = await read_in_thread(partial(load_with_snapshot, path, env, trust, known))
    except (ConfigError, OSError):
        return known  # the reload reports it
    async with open_secrets(config, known.stored) as secrets:
        await secrets.read_new(lambda _: config)
        return secrets.files()


def _may_have_secrets(data: Callable[[], bytes]) -> bool:
    """Return whether the content of a configuration, ``data()``, may name secrets in stores."""
    try:
        content = data() if can_read_secrets() else b""
    except OSError:
        return False  # the reload reports it
    return any(store.encode() in content for store in STORES)
