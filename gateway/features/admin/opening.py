"""Opens the tables that the HTTP API writes, and ends them with the process."""

import contextlib
from functools import partial
from typing import TYPE_CHECKING

import trio

from gateway.config.settings import Config
from gateway.features.admin.paths import routes_of
from gateway.seams.hooks import Hooks
from gateway.seams.identify import ClientSource
from gateway.seams.running import Ports, Running
from gateway.stores.store import Unavailable

if TYPE_CHECKING:
    from gateway.features.admin.followed_keys import FollowedKeys
    from gateway.features.admin.store import RightsStore


class OpenTables:
    """The ``store`` of raises and of the audit, across configurations."""

    def __init__(self, store: "RightsStore") -> None:
        self.store = store

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Create the tables soon, so that their rows can be followed, and close the store at the end."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._create)
            task_status.started()
            await ending.wait()
            nursery.cancel_scope.cancel()
        with trio.CancelScope(shield=True):
            await self.store.aclose()

    async def _create(self) -> None:
        with contextlib.suppress(Unavailable):
            await self.store.open()


class Admin(Running):
    """The HTTP API of one configuration. ``keys`` are the stored clients, ``None`` under a server that reads none."""

    def __init__(self, config: Config, clients: ClientSource, tables: OpenTables | None) -> None:
        self._is_unread = config.stored_clients == "unread"
        self._tables = tables
        self.keys = _keys_of(clients)
        self.has_tasks = tables is not None
        self.hooks = Hooks(routes=(partial(routes_of, config),))

    @property
    def lasting(self) -> object:
        return self if self._tables is None else self._tables

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:  # noqa: ASYNC128 -- the tables call it
        assert self._tables is not None, "it has tasks"
        await self._tables.run(ending, task_status=task_status)

    @property
    def missing(self) -> str | None:
        return "stored_keys" if self._is_unread else None

    @property
    def store(self) -> "RightsStore | None":
        """The store of raises and of the audit, ``None`` if the configuration has no place or no need for it."""
        return None if self._tables is None else self._tables.store


def _keys_of(clients: ClientSource) -> "FollowedKeys | None":
    if type(clients) is ClientSource:
        return None
    from gateway.features.admin.followed_keys import FollowedKeys

    return clients if isinstance(clients, FollowedKeys) else None


def open_admin(config: Config, ports: Ports, before: Running | None) -> Admin:
    """Open the API. Raises ``ConfigError``."""
    lasting = None if before is None else before.lasting
    tables = lasting if isinstance(lasting, OpenTables) else _open_tables(config)
    return Admin(config, ports.clients, tables)


def _open_tables(config: Config) -> OpenTables | None:
    if config.state_storage is None:
        return None
    from gateway.features.admin.storage import open_rights_store

    store = open_rights_store(config)
    return None if store is None else OpenTables(store)
