"""The row of clients of other servers."""

from typing import Final

from gateway.config.settings import Config
from gateway.features.compatible_clients.settings import CompatibilityKeys, compatibility_of
from gateway.seams.feature import Feature, Keys


def _is_wanted(config: Config) -> bool:
    return bool(compatibility_of(config))


FEATURE: Final = Feature(
    "compatible_clients",
    "gateway.features.compatible_clients.opening:open_compatible_clients",
    _is_wanted,
    keys=(Keys(Config, CompatibilityKeys),),
)
