"""The row of pass-through."""

from typing import Final

from gateway.config.settings import Config
from gateway.seams.feature import Feature


def _has_entries(config: Config) -> bool:
    return any(entry.passthrough for entry in config.entries)


FEATURE: Final = Feature(
    "pass_through",
    "gateway.features.pass_through.routes:open_pass_through",
    _has_entries,
)
