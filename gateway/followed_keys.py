"""The clients of the state storage, as this process knows them: looked for again and again, so that a key that
``trigate keys`` makes, rotates or revokes is so in every process within a second.

While the storage is away those that were read last go on; before they were read once, a key that the file does not have
is answered with a 503, for nobody knows whether it is good."""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import attrs
import trio

from configfile.document import ConfigError
from gateway.config.clients import ClientKey
from gateway.config.settings import Config
from gateway.config.stored_keys import StoredClients, StoredReader, kept_of, read_item
from gateway.stores.store import Unavailable

if TYPE_CHECKING:
    from gateway.stores.key_store import KeyStore, KeyTable, StoredItem

log = logging.getLogger("trigate.keys")

LOOK: Final = 0.4
"""Seconds between two looks."""


class FollowedKeys:
    """What is in ``store``, which is ``None`` where the configuration has no place for keys. ``clock`` is monotonic."""

    def __init__(self, store: "KeyStore | None", clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._table: KeyTable | None = None
        self._known: dict[StoredItem, ClientKey | str] = {}
        self._reader: StoredReader | None = None
        self._told: dict[str, str] = {}
        self._since: float | None = None

    @property
    def stale(self) -> float:
        """The seconds since when they cannot be read; 0 while they can."""
        return 0.0 if self._since is None else self._clock() - self._since

    def beside(self, config: Config) -> Config:
        """``config`` with the clients that were read last, where it takes any."""
        if config.stored_keys == "off" or self._table is None:
            return config
        found = self._stored(config, self._table)
        self._tell(found)
        return found.beside(config)

    async def first(self, config: Config) -> Config:
        """``beside``, after the first look. Never raises: a storage that is away may come back."""
        if config.stored_keys != "off":
            await self.look()
        return self.beside(config)

    async def follow(
        self,
        current: Callable[[], Config],
        take: Callable[[Config, tuple[str, ...]], object],
        tell: Callable[[float], object] = lambda _: None,
    ) -> None:
        """Look again and again, as long as the ``current`` configuration wants it, and have the next one ``take`` the
        place of it, with who has changed the keys. ``tell`` is told of ``stale``."""
        while self._store is not None:
            await trio.sleep(LOOK)
            if current().stored_keys == "off":
                continue
            before = None if self._table is None else self._table.last
            is_new = await self.look()
            tell(self.stale)
            if is_new and self._table is not None:
                made = [change.by for change in self._table.changes if before is not None]
                take(self.beside(current()), tuple(dict.fromkeys(made)))

    async def look(self) -> bool:
        """Read what is there, if it is other than before: true if so. Never raises, but says once that it fails."""
        try:
            return self._store is not None and await self._look(self._store)
        except Unavailable as error:
            if self._since is None:
                self._since = self._clock()
                known = "unknown keys get 503" if self._table is None else "the last known keys stay valid"
                log.warning("the stored keys cannot be read; %s: %s", known, error)
            return False

    async def _look(self, store: "KeyStore") -> bool:
        if self._table is not None and await store.mark() == self._table.mark:
            self._well()
            return False
        self._table = await store.read(None if self._table is None else self._table.last)
        self._well()
        return True

    def _well(self) -> None:
        if self._since is not None:
            log.info("the stored keys can be read again")
        self._since = None

    def _stored(self, config: Config, table: "KeyTable") -> StoredClients:
        self._known = {item: self._known.get(item) or _read(item) for item in table.clients}
        if self._reader is None or not self._reader.fits(config):
            self._reader = StoredReader(config)
        found = self._reader.read([raw for raw in self._known.values() if not isinstance(raw, str)])
        unreadable = {item.name: raw for item, raw in self._known.items() if isinstance(raw, str)}
        return attrs.evolve(found, refused={**unreadable, **found.refused})

    def _tell(self, found: StoredClients) -> None:
        for name, why in found.refused.items():
            if self._told.get(name) != why:
                log.warning("the stored client %s is refused: %s", name, why)
        self._told = dict(found.refused)


def _read(item: "StoredItem") -> ClientKey | str:
    """What an item says, or why it cannot be understood."""
    try:
        return read_item(item.name, kept_of(item.name, item.item)["client"])
    except ConfigError as error:
        return "; ".join(f"{one.path}: {one.found}" for one in error.mistakes)
