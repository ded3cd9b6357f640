"""Opens the HTTP API with its tables in the state storage."""

from functools import partial
from typing import TYPE_CHECKING

import trio

from gateway.config.settings import Config
from gateway.config.state_storage import KEEPING_KEYS
from gateway.features.admin.paths import routes_of
from gateway.seams.hooks import Hooks
from gateway.seams.identify import ClientSource
from gateway.seams.running import Ports, Running, running_tasks

if TYPE_CHECKING:
    from gateway.features.admin.followed_keys import FollowedKeys
    from gateway.features.admin.store import RightsStore


class Admin(Running):
    """The HTTP API of one configuration. ``keys`` are the stored clients, ``None`` under a server that reads none.

    ``store`` has raises and the audit; ``None`` if the configuration has no place or no need for it."""

    def __init__(self, config: Config, clients: ClientSource, store: "RightsStore | None") -> None:
        self._is_unread = config.stored_clients == "unread"
        self.store = store
        self.has_tasks = store is not None
        self.keys = _keys_of(clients)
        self.hooks = Hooks(routes=(partial(routes_of, config),))

    @property
    def lasting(self) -> object:
        return self.store or self

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        assert self.store is not None, "it has rows to delete"
        async with running_tasks(self.store.sweep_regularly):
            task_status.started()
            await ending.wait()

    @property
    def missing(self) -> str | None:
        return "stored_keys" if self._is_unread else None


def _keys_of(clients: ClientSource) -> "FollowedKeys | None":
    if type(clients) is ClientSource:
        return None
    from gateway.features.admin.followed_keys import FollowedKeys

    return clients if isinstance(clients, FollowedKeys) else None


def open_admin(config: Config, ports: Ports, before: Running | None) -> Admin:
    """Open the API. Raises ``ConfigError``."""
    store = before.store if isinstance(before, Admin) else None
    return Admin(config, ports.clients, store or _open_rights(config, ports))


def _open_rights(config: Config, ports: Ports) -> "RightsStore | None":
    storage, database = config.state_storage, ports.database
    if storage is None or storage.type not in KEEPING_KEYS or database is None:
        return None
    if not (config.rule_clients or config.stored_clients != "off"):
        return None
    from gateway.features.admin.store import RightsStore

    return RightsStore(database)
