"""Opens what the gateway knows of the objects that providers store for clients."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from configfile.keys import part_of
from gateway.access.shares import storage_limits
from gateway.config.settings import Config
from gateway.config.state_storage import StateStorage
from gateway.conversations.recorder import TurnRecorder
from gateway.exchange.context import ExchangeContext
from gateway.exchange.service import Service
from gateway.features.files.feature import FileRights
from gateway.features.files.kept_ids import (
    SEARCHED,
    LocatedRequest,
    client_id_replacer,
    may_refer_to_objects,
    request_id_replacer,
    with_native_ids,
)
from gateway.features.files.routes import ROUTES
from gateway.http.late_imports import load_module
from gateway.http.offload import offload
from gateway.http.response import Response
from gateway.kept_objects.inventory import MAX_BYTES, Inventory, MemoryInventory
from gateway.kept_objects.owned_ids import AccountDirectory
from gateway.kept_objects.pending import PendingBatches
from gateway.relay.routes import relayed_routes
from gateway.request.parse import Incoming
from gateway.seams.hooks import Hooks
from gateway.seams.kept import ReplaceIds
from gateway.seams.running import Ports, Running, running_tasks
from providers.apis import CODECS
from providers.endpoints.endpoint import EndpointName
from streams.events import Api

if TYPE_CHECKING:
    from gateway.stores.database import Database

_BATCHES: Final[tuple[EndpointName, ...]] = ("batches", "message_batches")
_RUNS: Final = "gateway.features.files.provider_runs"


class FilesRunning(Running):
    """The objects of one configuration, ``stored``, and the tasks of the process for all."""

    has_tasks = True

    def __init__(self, config: Config, stored: "StoredObjects") -> None:
        self.stored = stored
        self._limits = storage_limits(config)
        routes = partial(relayed_routes, "gateway.features.files", ROUTES)
        self.hooks = Hooks(routes=(routes,), kept=(stored,))

    @property
    def lasting(self) -> PendingBatches:
        return self.stored.pending

    def use(self) -> None:
        if self.stored.inventory is not None:
            self.stored.inventory.limit_owners(self._limits)

    async def run(self, ending: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        pending = self.stored.pending
        await pending.read()
        async with running_tasks(pending.run):
            task_status.started()
            await ending.wait()


class StoredObjects:
    """The objects of the clients of one configuration: a ``KeptObjects``.

    ``inventory`` lists those that were created through the gateway; ``None`` without storage. ``pending`` are the
    expected costs of running batches. Both outlive configurations; ``accounts`` do not."""

    def __init__(self, config: Config, inventory: Inventory | None, pending: PendingBatches) -> None:
        self.accounts = AccountDirectory(
            config, frozenset(key.name for key in config.client_keys if part_of(key, FileRights).foreign_ids)
        )
        self._limits = config.limits
        self.inventory = inventory
        self.pending = pending

    # Ids

    def refuses_native_ids(self, client: str | None) -> bool:
        return self.accounts.refuses_native_ids(client)

    async def locate(self, owner: str, client: str | None, incoming: Incoming) -> LocatedRequest | None:
        if not self.accounts.changes_ids:
            return None
        size = len(incoming.body) // SEARCHED
        if not await offload(size, may_refer_to_objects, self.accounts, client, incoming):
            return None
        return await with_native_ids(self.accounts, owner, client, incoming)

    async def response_ids(self, owner: str, client: str | None, incoming: Incoming) -> ReplaceIds | None:
        if not self.accounts.changes_ids:
            return None
        size = len(incoming.body) // SEARCHED
        return await offload(size, request_id_replacer, self.accounts, self._limits, owner, client, incoming)

    def all_ids(self, owner: str, client: str | None) -> ReplaceIds | None:
        accounts = self.accounts
        return client_id_replacer(accounts, self._limits, owner, client) if accounts.changes_ids else None

    # Background answers

    @property
    def bills_runs(self) -> bool:
        return self.inventory is not None

    def has_runs(self, service: Service) -> bool:
        """Return whether providers may continue answers in the background whose ends the gateway bills."""
        routed = service.router
        has_batches = any(routed.entries_with(endpoint) for endpoint in _BATCHES)
        return self.bills_runs and (
            has_batches or any(codec.wire.running and routed.storing_targets(api) for api, codec in CODECS.items())
        )

    async def record_run(self, inner: TurnRecorder, context: ExchangeContext, owner: str) -> TurnRecorder:
        code = await load_module(_RUNS)
        run: TurnRecorder = code.StartedRun(inner, context, owner, code.runs_of(context.service))
        return run

    async def send_about_run(
        self, service: Service, api: Api, run: tuple[str, str], planned: Any, send: Callable[[Any], Awaitable[Response]]
    ) -> Response:
        response: Response = await (await load_module(_RUNS)).send_about_run(service, api, run, planned, send)
        return response

    async def query_runs(self, service: Service) -> None:
        if self.has_runs(service):
            await (await load_module(_RUNS)).query_runs(service)


def stored_objects_of(service: Service) -> StoredObjects:
    """Return the objects of the configuration of ``service``, which has this feature."""
    found = service.opened.features["files"]
    assert isinstance(found, FilesRunning)
    return found.stored


def open_files(config: Config, ports: Ports, before: Running | None) -> Running:
    if isinstance(before, FilesRunning):
        inventory, pending = before.stored.inventory, before.stored.pending
    else:
        inventory = _open_inventory(config, ports.database)
        pending = PendingBatches(inventory, ports.allowances.batch_reserves)
    return FilesRunning(config, StoredObjects(config, inventory, pending))


def _open_inventory(config: Config, database: "Database | None") -> Inventory | None:
    """Return the inventory of objects that providers store for clients. Raises ``ImportError`` for a missing
    package."""
    storage = config.state_storage or StateStorage()
    if storage.type == "none":
        return None
    if database is None:
        return MemoryInventory(max_bytes=storage.max_bytes or MAX_BYTES)
    from gateway.kept_objects.inventory_table import InventoryTable, cipher_for

    return InventoryTable(database, cipher_for(storage.encryption_key))
