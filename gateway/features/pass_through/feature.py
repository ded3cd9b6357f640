"""The row of pass-through."""

from typing import Final

from gateway.config.model_entry import ModelEntry
from gateway.config.settings import Config
from gateway.features.pass_through.settings import PassThroughKeys, passes_through
from gateway.seams.feature import Feature, Keys

__all__ = ["FEATURE", "PassThroughKeys"]


def _has_entries(config: Config) -> bool:
    return any(map(passes_through, config.entries))


FEATURE: Final = Feature(
    "pass_through",
    "gateway.features.pass_through.routes:open_pass_through",
    _has_entries,
    keys=(Keys(ModelEntry, PassThroughKeys),),
)
