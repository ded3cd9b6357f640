"""The row of clients of other servers."""

from typing import Final

from gateway.config.settings import Config
from gateway.seams.feature import Feature


def _is_wanted(config: Config) -> bool:
    return bool(config.compatibility)


FEATURE: Final = Feature(
    "compatible_clients",
    "gateway.features.compatible_clients.opening:open_compatible_clients",
    _is_wanted,
)
