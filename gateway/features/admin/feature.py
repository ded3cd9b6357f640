"""The row of the HTTP API of keys, groups and people, and keys in the state storage."""

from typing import Final

from gateway.config.settings import Config
from gateway.config.state_storage import KEEPING_KEYS
from gateway.features.admin.settings import AdminKeys
from gateway.seams.feature import Feature, Keys


def _can_store_clients(config: Config) -> bool:
    return config.state_storage is not None and config.state_storage.type in KEEPING_KEYS


FEATURE: Final = Feature(
    "admin",
    "gateway.features.admin.opening:open_admin",
    keys=(Keys(Config, AdminKeys),),
    build="gateway.features.admin.settings:build_stored_keys",
    schema="gateway.features.admin.settings:add_storage_rule",
    find_client="gateway.features.admin.commands.finding:find_stored",
    client_source="gateway.features.admin.storage:open_keys",
    stores_clients=_can_store_clients,
)
