"""The texts of the secrets that a process keeps, which it reads again while it runs, and providers' keys from them.

A new text changes the configuration as a reload does: running requests keep the old one. While a store does not answer,
or after a secret was deleted, the last text stays in use.
"""

import logging
import math
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Final

import trio

from configfile.document import ConfigError
from configfile.keys import part_of
from configfile.secret_files import SecretFiles
from configfile.stored_secrets import StoredSecret, StoredText, UnreadText
from gateway.config.settings import Config
from gateway.features.secret_stores.feature import SecretStoreKeys
from gateway.features.secret_stores.stores import SecretReadings, SecretStores
from gateway.http.offload import read_in_thread
from gateway.seams.hooks import Hooks
from gateway.seams.running import Ports, Running
from gateway.seams.secrets import FilesOf, SecretReader, SecretSize
from gateway.upstream.request import CredentialSource
from providers.auth.signer import Credential
from streams.errors import GatewayError

log = logging.getLogger("trigate.secrets")

START_SECONDS: Final = 30.0
"""Seconds for which the start waits for stores that do not answer."""
RETRY_SECONDS: Final = 10.0
"""Seconds between two reads while a secret has never been read."""
PAUSE: Final = 10.0
"""Seconds between two reads of a secret because a provider rejected it."""
RENEWAL_SECONDS: Final = 10.0
"""Seconds that a rejected request waits for a new text. Other reads may come first, and each may wait for the store."""
_START_PAUSE: Final = 0.5


class SecretKeeper(SecretReader):
    """The texts of secrets in stores, by ``str`` of the secret. ``clock`` is monotonic."""

    def __init__(
        self, config: Config, texts: Mapping[str, str] | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.texts: dict[str, str] = dict(texts or {})
        self.apply: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint
        self._stores = SecretStores(config)
        self._clock = clock
        self._reasons: dict[str, str] = {}
        self._failed_since: dict[str, float] = {}
        self._asked_at: dict[str, float] = {}
        self._reading = trio.Lock()
        self._renewing = trio.Lock()

    async def aclose(self) -> None:
        await self._stores.aclose()

    def files(self, given: Mapping[str, str] | None = None) -> SecretFiles:
        """Return the secrets for loading a configuration; ``given`` are the texts of files by their paths."""
        return SecretFiles(given, self.texts, self._reasons)

    def unread(self, config: Config) -> tuple[StoredSecret, ...]:
        """Return the secrets of ``config`` that have never been read."""
        return tuple(secret for secret in config.stored_secrets if str(secret) not in self.texts)

    @property
    def stale(self) -> float:
        """The longest time in seconds for which a secret has been unreadable; 0 if all can be read."""
        return max((self._clock() - since for since in self._failed_since.values()), default=0.0)

    async def read_first(self, config: Config, patience: float = START_SECONDS) -> None:
        """Read the secrets of ``config`` that have never been read; wait for stores that do not answer, at most for
        ``patience`` seconds."""
        with trio.move_on_after(patience):
            while missing := self.unread(config):
                found = await self.read(missing)
                if not any(one.temporary for one in found.reasons.values()):
                    return
                await trio.sleep(_START_PAUSE)

    async def read_new(self, load: Callable[[FilesOf], Config]) -> None:
        try:
            missing = self.unread(await read_in_thread(partial(load, self.files)))
        except (ConfigError, OSError):
            return  # the reload reports it
        if missing:
            await self.read(missing)

    async def read(self, secrets: Collection[StoredSecret]) -> SecretReadings:
        """Read ``secrets``, keep their texts, and log what has changed."""
        async with self._reading:
            found = await self._stores.read(secrets)
        now = self._clock()
        for secret, version in found.versions.items():
            name = str(secret)
            self._reasons.pop(name, None)
            if self._failed_since.pop(name, None) is not None:
                log.info("the secret %s can be read again", name)
            if name in self.texts and self.texts[name] != version.text:
                log.info("the secret %s has a new value", name)
            self.texts[name] = version.text
        for secret, reason in found.reasons.items():
            name = str(secret)
            if name not in self._failed_since:
                kept = "; the last value stays in use" if name in self.texts else ""
                log.warning("the secret %s cannot be read%s: %s", name, kept, reason)
            self._failed_since.setdefault(name, now)
            self._reasons[name] = str(reason)
        return found

    async def follow(
        self, current: Callable[[], Config], report_stale: Callable[[float], object], *, at_once: bool = False
    ) -> None:
        # ``at_once``: the texts of a restarted worker may be old
        while True:
            config = current()
            if not at_once:
                refresh = part_of(config, SecretStoreKeys).secret_stores.refresh
                await trio.sleep(min(RETRY_SECONDS, refresh) if self.unread(config) else refresh)
            at_once = False
            secrets = current().stored_secrets
            self._forget(secrets)
            before = dict(self.texts)
            await self.read(secrets)
            report_stale(self.stale)
            if self.texts != before:
                await self.apply()

    async def measure(self, secrets: Collection[StoredSecret]) -> Mapping[StoredSecret, SecretSize | str]:
        found = await self._stores.read(secrets)
        sizes = {secret: SecretSize(len(one.text), one.created) for secret, one in found.versions.items()}
        return {**sizes, **{secret: str(reason) for secret, reason in found.reasons.items()}}

    async def renew(self, secret: StoredSecret, refused: str) -> str | None:
        """Return the new text in place of ``refused``, which a provider rejected; ``None`` if the store has none."""
        name = str(secret)
        is_read = False
        with trio.move_on_after(RENEWAL_SECONDS):
            async with self._renewing:  # the other rejected requests wait for the same text
                last = self._asked_at.get(name, -math.inf)
                if self._is_unchanged(name, refused) and self._clock() - last >= PAUSE:
                    await self.read((secret,))
                    self._asked_at[name] = self._clock()
                    is_read = not self._is_unchanged(name, refused)
            if is_read:
                await self.apply()
        return None if self._is_unchanged(name, refused) else self.texts[name].strip()

    def _is_unchanged(self, name: str, refused: str) -> bool:
        return name not in self.texts or self.texts[name].strip() == refused

    def _forget(self, secrets: Collection[StoredSecret]) -> None:
        """Forget secrets that the configuration does not use any more."""
        used = {str(secret) for secret in secrets}
        for table in (self.texts, self._reasons, self._failed_since, self._asked_at):
            for name in [*table]:
                if name not in used:
                    del table[name]


UNREAD: Final = "the gateway could not read the provider's key from its secret store: see the gateway's log"


class StoredKey(CredentialSource):
    """The key of one entry, ``text``, which ``keeper`` reads once more if the provider rejects it."""

    def __init__(self, text: StoredText | UnreadText, keeper: SecretKeeper) -> None:
        self._text = text
        self._keeper = keeper

    async def credential(self) -> Credential | None:
        if isinstance(self._text, UnreadText):
            raise GatewayError("upstream", UNREAD, reason="credential", wait=RETRY_SECONDS, concerns_all=True)
        return self._text

    async def renew(self, refused: Credential) -> Credential | None:
        found = await self._keeper.renew(self._text.secret, refused) if isinstance(refused, str) else None
        return found if found is not None and found.isascii() and found.isprintable() else None


class StoredKeys(Running):
    """The sources of all keys of ``config`` from stores, which ``keeper`` reads."""

    def __init__(self, config: Config, keeper: SecretKeeper) -> None:
        self.keeper = keeper
        self.hooks = Hooks(
            credentials=tuple(
                (entry.name, StoredKey(entry.key, keeper))
                for entry in config.all_entries
                if entry.sign_in is None and isinstance(entry.key, StoredText | UnreadText)
            )
        )


def open_stored_keys(config: Config, ports: Ports, before: Running | None) -> StoredKeys:
    """Return the keys of ``config``; those of a changed client continue with the keeper of ``before``."""
    keeper = before.keeper if ports.secrets is None and isinstance(before, StoredKeys) else ports.secrets
    assert isinstance(keeper, SecretKeeper)
    return StoredKeys(config, keeper)
