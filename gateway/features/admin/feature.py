"""The row of the HTTP API of keys, groups and people, and keys in the state storage."""

from typing import Final

from gateway.config.settings import Config
from gateway.config.state_storage import KEEPING_KEYS
from gateway.seams.feature import Feature


def _can_store_clients(config: Config) -> bool:
    return config.state_storage is not None and config.state_storage.type in KEEPING_KEYS


FEATURE: Final = Feature(
    "admin",
    "gateway.features.admin.opening:open_admin",
    client_source="gateway.features.admin.storage:open_keys",
    stores_clients=_can_store_clients,
)
