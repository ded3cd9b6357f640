"""Follows the clients in the state storage: a change by ``trigate keys`` applies in every process within half a second.

While the storage is unavailable, the last known clients stay valid. Before the first read, a key that is not in the
configuration gets a 503, because it may be valid. One read also follows other rows, those of people. Changes of these
do not wait while thousands of clients are applied."""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from configfile.document import ConfigError
from gateway.allowances.allowance import Holder
from gateway.allowances.budgets import PresentAmount
from gateway.config.allowances import SpendingBudget
from gateway.config.clients import ClientGroup, ClientKey
from gateway.config.settings import Config
from gateway.features.admin.followed_rights import FollowedRights, highest_amount, raised_amount
from gateway.features.admin.stored_clients import StoredClients, StoredReader, parse_stored, read_item
from gateway.ledger.figures import Figures
from gateway.seams.identify import ApplyClients, ClientSource
from gateway.stores.errors import Unavailable

if TYPE_CHECKING:
    from gateway.features.admin.key_store import KeyStore, KeyTable, StoredItem

log = logging.getLogger("trigate.keys")

POLL_SECONDS: Final = 0.25
"""Seconds between two reads of the storage. A change applies within half a second, including the time of the read."""


class SharedRead:
    """A read of the storage that simultaneous callers share."""

    def __init__(self, read: Callable[[], Awaitable[object]]) -> None:
        self._read = read
        self.lock: Final = trio.Lock()
        """Held during each read."""
        self._begun = 0  # reads
        self._finished = 0  # the number of the last read that has finished

    async def run(self) -> None:
        """Return after a read that began after this call. So no caller waits for more than two reads."""
        wanted = self._begun + 1
        async with self.lock:
            if self._finished >= wanted:
                return
            self._begun = number = self._begun + 1
            await self._read()
            self._finished = number


class FollowedKeys(ClientSource):
    """The clients in ``store``, as last read.

    ``clock`` is monotonic. ``rows_for`` returns the other rows that a configuration needs."""

    def __init__(
        self,
        store: "KeyStore",
        clock: Callable[[], float] = time.monotonic,
        rows_for: Callable[[Config], FollowedRights | None] = lambda config: None,
    ) -> None:
        self.store: Final = store
        self._rows_for = rows_for
        self._clock = clock
        self._table: KeyTable | None = None
        self._texts: dict[str, str] | None = None
        self._known: dict[StoredItem, _KnownItem] = {}
        self._reader: StoredReader | None = None
        self._logged: dict[str, str] = {}
        self._since: float | None = None
        self._all_read = SharedRead(self._read_and_apply)
        self._others_read = SharedRead(self._read_others_alone)
        self._is_applying = False
        self._current: Callable[[], Config] | None = None
        self._apply: ApplyClients | None = None
        self._applied: KeyTable | None = None
        self.other_rows: Any = None
        """``FollowedRights`` that are read with each read of the clients, also without stored clients; or ``None``."""
        self._has_read_others = False
        self._unread = ""

    @property
    def rows(self) -> object:
        return self.other_rows

    def amount_of(
        self, holder: Holder, settings: ClientKey | ClientGroup, budget: SpendingBudget
    ) -> PresentAmount | None:
        most = highest_amount(settings, budget)
        return None if most is None else lambda: raised_amount(self.other_rows, holder, budget, most)

    @property
    def config(self) -> Config | None:
        """The configuration of new requests with the last known clients, ``None`` before ``follow``."""
        return None if self._current is None else self._current()

    @property
    def texts(self) -> Mapping[str, str]:
        """The stored texts of the last known clients by name."""
        if self._texts is None:
            self._texts = {} if self._table is None else {item.name: item.item for item in self._table.clients}
        return self._texts

    @property
    def creations(self) -> Mapping[str, tuple[str, str]]:
        """When the last known clients were added, and by whom, by name; empty texts if that is not known."""
        return {item.name: (known.added, known.by) for item, known in self._known.items()}

    @property
    def stale(self) -> float:
        """The seconds since the storage became unreadable; 0 while it is readable."""
        return 0.0 if self._since is None else self._clock() - self._since

    def with_clients(self, config: Config) -> Config:
        """Return ``config`` with the last known clients, unless it allows no stored keys."""
        if config.stored_clients == "off" or self._table is None:
            return config
        found = self._stored(config, self._table)
        for name, why in found.refused.items():
            if self._logged.get(name) != why:
                log.warning("the stored client %s is refused: %s", name, why)
        self._logged = dict(found.refused)
        return found.beside(config)

    def complete(self, config: Config) -> Config:
        self._follow_rows_for(config)
        return self.with_clients(config)

    def _follow_rows_for(self, config: Config) -> None:
        if self.other_rows is None:
            rows = self._rows_for(config)
            if rows is not None:
                rows.on_change(lambda names: self.on_names(names))
            self.other_rows = rows  # last: ``complete`` runs in a thread

    async def read(self, config: Config) -> Config:
        self._follow_rows_for(config)
        if self._is_followed(config):
            await self.poll(config.stored_clients != "off")
        self._applied = self._table
        return self.with_clients(config)

    def _is_followed(self, config: Config) -> bool:
        return config.stored_clients != "off" or self.other_rows is not None

    async def follow(
        self,
        current: Callable[[], Config],
        apply: ApplyClients,
        figures: Figures | None = None,
    ) -> None:
        self._current, self._apply = current, apply
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow_others_meanwhile)
            while True:
                await trio.sleep(POLL_SECONDS)
                if not self._is_followed(current()):
                    continue
                await self.apply_changes()
                if figures is not None:
                    figures.set("trigate_stored_keys_stale_seconds", self.stale)

    async def _follow_others_meanwhile(self) -> None:
        """Poll the other rows while changed clients are applied, which may take longer than a poll."""
        while True:
            await trio.sleep(POLL_SECONDS)
            if self._is_applying:
                await self.apply_other_changes()

    async def apply_changes(self) -> None:
        """Read the storage now, and apply its changes as ``follow`` does, for a change by this process. Never
        raises."""
        await self._all_read.run()

    async def apply_other_changes(self) -> None:
        """Read and apply the other rows now, for a change of these by this process. Never raises."""
        if self.other_rows is not None:
            await self._others_read.run()

    async def _read_and_apply(self) -> None:
        """Read the storage, and apply its changes. Never raises."""
        with_clients = self._current is None or self._current().stored_clients != "off"
        await self.poll(with_clients)
        table = self._table
        if not with_clients or table is None or table is self._applied or self._apply is None:
            return
        people = [change.by for change in table.changes if self._applied is not None]
        self._is_applying = True
        try:
            await self._apply(self.with_clients, tuple(dict.fromkeys(people)))
        finally:
            self._is_applying = False
        self._applied = table

    async def poll(self, with_clients: bool = True) -> bool:
        """Read the clients if they have changed, and return whether they had. Never raises; logs its first failure.

        Other followed rows are read too, and only those unless ``with_clients``."""
        try:
            return await self._read_changes(with_clients)
        except Unavailable as error:
            self._note_failure(error, with_clients)
            return False

    async def _read_changes(self, with_clients: bool) -> bool:
        if self.other_rows is None:
            mark = await self.store.mark()
        else:
            async with self._others_read.lock:
                mark = await self._read_others(self.other_rows)
        if not with_clients or (self._table is not None and mark == self._table.mark):
            self._note_success()
            return False
        self._table = await self.store.read(None if self._table is None else self._table.last)
        self._texts = None
        self._note_success()
        return True

    async def _read_others_alone(self) -> None:
        """Read and apply the other rows. Never raises."""
        if self.other_rows is None:
            return
        try:
            await self._read_others(self.other_rows)
        except Unavailable as error:
            self._note_failure(error, with_clients=False)

    async def _read_others(self, others: FollowedRights) -> str:
        """Read and apply the other rows, and return the mark of the clients. The caller holds the lock, so that no
        older read is applied after a newer one."""
        mark, news = await self.store.poll(others.read)
        others.apply(news)
        self._has_read_others = True
        return mark

    def _note_failure(self, error: Unavailable, with_clients: bool) -> None:
        if self._since is not None:
            return
        self._since = self._clock()
        self._unread = "stored keys" if with_clients else "blocks, sessions and keys of people"
        is_known = self._table is not None if with_clients else self._has_read_others
        known = "the last known ones stay in effect" if is_known else "unknown credentials get 503"
        log.warning("the %s cannot be read; %s: %s", self._unread, known, error.with_cause())

    def _note_success(self) -> None:
        if self._since is not None:
            log.info("the %s can be read again", self._unread)
        self._since = None

    def _stored(self, config: Config, table: "KeyTable") -> StoredClients:
        """Return the clients of ``table``. A reload and a change of clients may call this at the same time, in threads
        of their own."""
        before = self._known
        self._known = known = {item: before.get(item) or _KnownItem.read(item) for item in table.clients}
        reader = self._reader
        if reader is None or not reader.fits(config):
            reader = self._reader = StoredReader(config)
        found = reader.read([one.client for one in known.values() if not isinstance(one.client, str)])
        unreadable = {item.name: one.client for item, one in known.items() if isinstance(one.client, str)}
        return attrs.evolve(found, refused={**unreadable, **found.refused})


@attrs.frozen(eq=False, repr=False)
class _KnownItem:
    """A stored ``client``, or the reason why it is invalid, and the texts of when and by whom it was added."""

    client: ClientKey | str
    added: str = ""
    by: str = ""

    @classmethod
    def read(cls, item: "StoredItem") -> "_KnownItem":
        kept: Mapping[str, Any] = {}
        client: ClientKey | str
        try:
            kept = parse_stored(item.name, item.item)
            client = read_item(item.name, kept["client"])
        except ConfigError as error:
            client = "; ".join(f"{one.path}: {one.found}" for one in error.mistakes)
        return cls(client, str(kept.get("added") or ""), str(kept.get("by") or ""))
